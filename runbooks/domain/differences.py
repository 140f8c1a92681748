"""What changed between two texts, line by line, with a little of what is around it."""

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher

AROUND = 3


@dataclass(frozen=True)
class Line:
    """A line of a comparison: `mark` is `+`, `-`, or empty; `gap` stands for lines that are left out."""

    mark: str
    text: str = ""
    before: int | None = None
    after: int | None = None
    gap: bool = False


def compare(old: str, new: str) -> list[Line]:
    """Return the lines that differ, each group with some lines around it."""
    matcher = SequenceMatcher(None, old.splitlines(), new.splitlines(), autojunk=False)
    found: list[Line] = []
    for number, group in enumerate(matcher.get_grouped_opcodes(AROUND)):
        if number:
            found.append(Line("", gap=True))
        for operation in group:
            found += _lines(operation, old.splitlines(), new.splitlines())
    return found


def _lines(operation: tuple[str, int, int, int, int], old: list[str], new: list[str]) -> Iterator[Line]:
    tag, old_start, old_end, new_start, new_end = operation
    if tag == "equal":
        for shift in range(old_end - old_start):
            yield Line("", old[old_start + shift], old_start + shift + 1, new_start + shift + 1)
        return
    for position in range(old_start, old_end):
        yield Line("-", old[position], before=position + 1)
    for position in range(new_start, new_end):
        yield Line("+", new[position], after=position + 1)
