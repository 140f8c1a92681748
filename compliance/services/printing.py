"""Reports as PDF, and tables as CSV."""

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from django.template.loader import render_to_string

from core.lists import csv_text


def as_pdf(template: str, context: dict[str, Any]) -> bytes:
    """Return a template as PDF. Nothing is fetched from anywhere."""
    from weasyprint import HTML  # noqa: PLC0415 costs every process a second and 60 MB at its start

    def refuse(url: str, *_: Any, **__: Any) -> Any:
        raise ValueError(f"a report fetches nothing: {url}")

    content: bytes = HTML(string=render_to_string(template, context), url_fetcher=refuse).write_pdf()
    return content


def as_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, header: bool = True) -> bytes:
    """Return a table as CSV; text that a spreadsheet would run as a formula is defused."""
    text = io.StringIO()
    writer = csv.writer(text)
    if header:
        writer.writerow(columns)
    for row in rows:
        writer.writerow([_written(value) for value in row])
    return text.getvalue().encode()


def _written(value: Any) -> Any:
    if isinstance(value, list):
        return csv_text(" ".join(map(str, value)))
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds")
    return csv_text("" if value is None else value)
