"""How the REST API reads a body."""

from typing import IO, Any

from django.conf import settings
from rest_framework.parsers import BaseParser

from core.parsing import load_json


class StrictJSONParser(BaseParser):
    """JSON as RFC 8259 has it: no NaN, no half surrogate pair, no nesting that a program cannot follow.

    Raises InputRefusedError with line and column.
    """

    media_type = "application/json"

    def parse(self, stream: IO[Any], media_type: str | None = None, parser_context: Any = None) -> Any:  # noqa: ARG002 the base class's signature
        limit: int = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        return load_json(stream.read(limit + 1), source="body", max_bytes=limit)
