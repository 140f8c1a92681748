"""Addresses of other rooms' pages."""

import re
from functools import cache

from django.urls import NoReverseMatch, reverse

# A list of ten thousand rows asks for as many addresses that differ in one word: that one is put in its place.
PLAIN = re.compile(r"[A-Za-z0-9-]+")
PLACE = "the-place-of-a-slug"


def page(name: str, *arguments: object) -> str:
    """Return the address of a page, or nothing when no room serves it: then the text stays without a link."""
    if len(arguments) == 1 and isinstance(arguments[0], str) and PLAIN.fullmatch(arguments[0]):
        before, found, after = _around(name)
        if found:
            return f"{before}{arguments[0]}{after}"
    try:
        return reverse(name, args=arguments)
    except NoReverseMatch:
        return ""


@cache
def _around(name: str) -> tuple[str, str, str]:
    """Return what stands before and after the argument in the address; empty where a plain word is not enough."""
    try:
        return reverse(name, args=[PLACE]).partition(PLACE)
    except NoReverseMatch:
        return "", "", ""
