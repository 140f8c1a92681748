"""Who a reference means, for rooms that stand below the one that knows people.

The log keeps who acted as a reference ("user:3", "system:alert-router"). The room that knows people says how they are
called by `set_names`; without it a reference is shown as it is.
"""

from collections.abc import Callable, Iterable

Names = Callable[[Iterable[str]], dict[str, str]]

_known: list[Names] = []


def set_names(names: Names) -> None:
    """Say how references are called; `names` gets any number of them and answers for each."""
    _known[:] = [names]


def names_of(references: Iterable[str]) -> dict[str, str]:
    """Return what each reference is called, in a fixed number of queries."""
    wanted = set(references)
    found = _known[0](wanted) if _known else {}
    return {reference: found.get(reference, reference) for reference in wanted}
