"""REST plumbing that every room shares."""

from typing import Any

from django.core.exceptions import PermissionDenied
from rest_framework.pagination import PageNumberPagination
from rest_framework.response import Response
from rest_framework.views import exception_handler

from core.parsing import InputRefusedError


class BoundedPagination(PageNumberPagination):
    """Pages of 50, up to 500 on request (`?page_size=`)."""

    page_size_query_param = "page_size"
    max_page_size = 500


def answer_exception(error: Exception, context: dict[str, Any]) -> Response | None:
    """Answer a refused document with 400 and its problems, a missing right with 403; leave the rest to DRF."""
    if isinstance(error, InputRefusedError):
        problems = [{"where": p.where, "found": p.found, "allowed": p.allowed} for p in error.problems]
        return Response({"detail": "The document was refused; nothing was applied.", "problems": problems}, status=400)
    if isinstance(error, PermissionDenied):
        return Response({"detail": str(error) or "Not allowed."}, status=403)
    return exception_handler(error, context)
