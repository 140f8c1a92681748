"""Choices of a field out of an enumeration."""

from enum import StrEnum


def choices_of(values: type[StrEnum]) -> list[tuple[str, str]]:
    """Return each value with itself as its label."""
    return [(value.value, value.value) for value in values]
