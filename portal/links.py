"""Addresses of other rooms' pages."""

from django.urls import NoReverseMatch, reverse


def page(name: str, *arguments: object) -> str:
    """Return the address of a page, or nothing when no room serves it: then the text stays without a link."""
    try:
        return reverse(name, args=arguments)
    except NoReverseMatch:
        return ""
