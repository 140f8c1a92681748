"""What the demo gives to the rooms below: the maker of a large site."""

from collections.abc import Callable

from core.generating import Generated, register_generator


@register_generator
def make_large_site(scale: float, seed: int, say: Callable[[str], None]) -> Generated:
    """Make a large site. Read from here only when asked for: no other process needs it."""
    from demo.services.generating import generate_site  # noqa: PLC0415 as said above

    return generate_site(scale=scale, seed=seed, say=say)
