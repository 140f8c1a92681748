"""Who makes a large site out of nothing: the top room registers it, and `manage.py site generate` calls it."""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Generated:
    """How much was made, and how long each step took."""

    counts: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


# Called with the scale, the seed, and what to tell of each step.
Generator = Callable[[float, int, Callable[[str], None]], Generated]

_registered: list[Generator] = []


def register_generator(generator: Generator) -> Generator:
    """Make this the one that makes a large site. Raises ValueError when there is one."""
    if _registered:
        raise ValueError("a generator is registered already")
    _registered.append(generator)
    return generator


def generator() -> Generator | None:
    """Return the registered generator, or None."""
    return _registered[0] if _registered else None
