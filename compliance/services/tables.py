"""Read a CSV table that a person hands in: the columns it must have, each row whole, or nothing."""

import csv
import io
from collections.abc import Sequence

from core.parsing import InputRefusedError, Problem, refuse

MAX_BYTES = 20 * 1024 * 1024
MAX_ROWS = 200_000


def read_csv(raw: bytes, *, source: str, columns: Sequence[str], optional: Sequence[str] = ()) -> list[dict[str, str]]:
    """Return the rows of a table. Raises InputRefusedError naming line, column, what was found and what is allowed."""
    if len(raw) > MAX_BYTES:
        raise refuse(source, found=f"{len(raw)} bytes", allowed=f"at most {MAX_BYTES} bytes are allowed")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise refuse(source, found="text that is not UTF-8", allowed="CSV in UTF-8 is allowed") from None
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        _check_header(header, source=source, columns=columns, optional=optional)
        rows, problems = [], []
        for values in reader:
            if not any(value.strip() for value in values):
                continue
            if len(values) != len(header):
                found = f"{len(values)} values"
                problems.append(Problem(f"{source}:{reader.line_num}", found, f"{len(header)} values are expected"))
            rows.append(dict(zip(header, (value.strip() for value in values), strict=False)))
            if len(rows) > MAX_ROWS:
                raise refuse(source, found="more rows", allowed=f"at most {MAX_ROWS} rows are allowed")
    except csv.Error as error:
        raise refuse(f"{source}:{reader.line_num}", found=str(error), allowed="well-formed CSV is allowed") from None
    if problems:
        raise InputRefusedError(problems)
    return rows


def _check_header(header: Sequence[str], *, source: str, columns: Sequence[str], optional: Sequence[str]) -> None:
    allowed = f"the columns {', '.join(columns)}" + (f" and {', '.join(optional)}" if optional else "") + " are allowed"
    if len(set(header)) != len(header):
        raise refuse(f"{source}:1", found="a column twice", allowed=allowed)
    missing, unknown = set(columns) - set(header), set(header) - set(columns) - set(optional)
    if missing or unknown:
        found = ", ".join(sorted(unknown) or [f"no column {one}" for one in sorted(missing)])
        raise refuse(f"{source}:1", found=found, allowed=allowed)
