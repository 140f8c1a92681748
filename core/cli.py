"""What every management command shares: output as text or JSON, and exit codes that scripts can rely on.

0: good. 1: the answer is no. 2: wrong use or refused input. 3: could not tell (database or source unreachable).
"""

import contextlib
import functools
import inspect
import io
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import IntEnum, StrEnum
from types import TracebackType
from typing import Annotated, Any, NoReturn, ParamSpec, TypeVar, cast

import orjson
import typer
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError
from django_typer.management import TyperCommand
from typer._click.exceptions import UsageError

from core.parsing import InputRefusedError


class ExitCode(IntEnum):
    """What a command's exit code means."""

    GOOD = 0
    NO = 1
    WRONG_USE = 2
    UNKNOWN = 3


class OutputFormat(StrEnum):
    """How a command prints."""

    TEXT = "text"
    JSON = "json"


FormatOption = Annotated[OutputFormat, typer.Option("--format", help="text for people, json for scripts.")]

Parameters = ParamSpec("Parameters")
Answer = TypeVar("Answer")


class RoomCommand(TyperCommand):
    """A room's command: a wrong argument is said in one line on standard error, with exit code 2.

    It starts without the system checks: those import every view, and `manage.py check` runs them.
    """

    requires_system_checks = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let `--help` begin with what the command says of itself: the library looks for a docstring first."""
        super().__init_subclass__(**kwargs)  # type: ignore[no-untyped-call]
        own = vars(cls).get("help")
        if isinstance(own, str) and cls.__doc__ is None:
            cls.__doc__ = own

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        called_from_shell = getattr(self, "_called_from_command_line", False)
        if isinstance(error, UsageError) and called_from_shell and not self._traceback:
            context = error.ctx
            path = context.command_path if context is not None else f"manage.py {self._name}"
            self.stderr.write(f"{error.format_message()}\nWhat is allowed: {path} --help")
            sys.exit(ExitCode.WRONG_USE)
        if isinstance(error, typer.Abort) and called_from_shell:
            self.stderr.write("Stopped; nothing was changed. In a script, give what is asked for as options.")
            sys.exit(ExitCode.WRONG_USE)
        handled: bool | None = super().__exit__(kind, error, trace)  # type: ignore[no-untyped-call]
        return handled


def fail(message: str, code: ExitCode = ExitCode.WRONG_USE) -> NoReturn:
    """Print to standard error and exit."""
    sys.stderr.write(f"{message}\n")
    raise typer.Exit(code)


def print_json(value: object) -> None:
    """Print one JSON document."""
    raw = orjson.dumps(value, default=str, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS)
    sys.stdout.write(raw.decode() + "\n")


def print_answer(answer: Mapping[str, Any], *, output: OutputFormat, text: str) -> None:
    """Print what a command did: a sentence for people, or one JSON object."""
    if output is OutputFormat.JSON:
        print_json(dict(answer))
    else:
        sys.stdout.write(f"{text}\n")


def print_rows(rows: Iterable[Mapping[str, Any]], *, columns: Sequence[str], output: OutputFormat, empty: str) -> None:
    """Print records as an aligned table or as a JSON list. `empty` is said when there are none (text only)."""
    rows = list(rows)
    if output is OutputFormat.JSON:
        print_json(rows)
        return
    if not rows:
        sys.stdout.write(f"{empty}\n")
        return
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(title), *(len(line[i]) for line in cells)) for i, title in enumerate(columns)]
    for line in ([title.upper() for title in columns], *cells):
        sys.stdout.write("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() + "\n")


def expecting_errors(function: Callable[Parameters, Answer]) -> Callable[Parameters, Answer]:
    """Turn expected errors into one line on standard error and the right exit code."""

    @functools.wraps(function)
    def wrapper(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Answer:
        try:
            return function(*args, **kwargs)
        except InputRefusedError as error:
            fail(f"Refused; nothing was applied.\n{error}", ExitCode.WRONG_USE)
        except PermissionDenied as error:
            fail(str(error) or "Not allowed.", ExitCode.WRONG_USE)
        except DatabaseError as error:
            fail(f"The database did not answer: {error}", ExitCode.UNKNOWN)

    return wrapper


def answering(function: Callable[Parameters, Answer]) -> Callable[Parameters, Answer]:
    """Do what `expecting_errors` does, and give every command `--format`.

    A command with an `output` parameter prints JSON itself. One without, which only does something and says so, prints
    `{"said": [...]}` with the lines that a person would read.
    """
    guarded = expecting_errors(function)
    signature = inspect.signature(function)
    if "output" in signature.parameters:
        return guarded

    @functools.wraps(function)
    def wrapper(*args: Any, output: OutputFormat = OutputFormat.TEXT, **kwargs: Any) -> Any:
        if output is OutputFormat.TEXT:
            return guarded(*args, **kwargs)
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            answer = guarded(*args, **kwargs)
        print_json({"said": said.getvalue().splitlines()})
        return answer

    option = inspect.Parameter(
        "output", inspect.Parameter.KEYWORD_ONLY, default=OutputFormat.TEXT, annotation=FormatOption
    )
    wrapper.__signature__ = signature.replace(parameters=[*signature.parameters.values(), option])  # type: ignore[attr-defined]  # what inspect.signature reads
    wrapper.__annotations__ = {**function.__annotations__, "output": FormatOption}
    return cast("Callable[Parameters, Answer]", wrapper)


def _cell(value: object) -> str:
    return "—" if value is None or value == "" else str(value)
