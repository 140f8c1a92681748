"""A runbook's file: CommonMark with YAML front matter and typed fenced blocks."""

import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Any, Literal

from markdown_it import MarkdownIt
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

EXECUTABLE = ("check", "step", "confirm", "approve")
_INFO = re.compile(r"(?P<kind>check|step|confirm|approve) id=(?P<id>[a-z0-9][a-z0-9-]{0,39})")
_DURATION = re.compile(r"([1-9][0-9]{0,4})([smh])")
_SECONDS = {"s": 1, "m": 60, "h": 3600}


def _duration(value: object) -> object:
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    return timedelta(seconds=int(match[1]) * _SECONDS[match[2]]) if match else value


Duration = Annotated[timedelta, BeforeValidator(_duration)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class InputSpec(_Strict):
    """A value that a run is given."""

    type: Literal["string", "integer"] = "string"
    pattern: str = "^[A-Za-z0-9_.:-]{1,120}$"
    default: str | int | None = None
    required: bool = False


class FrontMatter(_Strict):
    """What stands before the text."""

    runbook: str = Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
    title: str = Field(max_length=160)
    owner: str = Field(default="", description="Slug of the team that keeps it up to date.")
    review_by: str = Field(default="", pattern=r"^(\d{4}-\d{2}-\d{2})?$")
    services: list[str] = []
    inputs: dict[str, InputSpec] = {}


class Expectation(_Strict):
    """What a check's value must be; every bound that is given must hold."""

    eq: int | float | str | None = None
    gt: float | None = None
    lt: float | None = None

    def holds(self, value: Any) -> bool:
        """Say whether a value meets every bound. A value that is missing meets none."""
        if value is None:
            return False
        if self.eq is not None and value != self.eq:
            return False
        if self.gt is not None and not float(value) > self.gt:
            return False
        return self.lt is None or float(value) < self.lt


class Poll(_Strict):
    """Ask again until the expectation holds."""

    every: Duration = timedelta(seconds=5)
    for_: Duration = Field(alias="for", le=timedelta(minutes=30))


class CheckBlock(_Strict):
    """Looks, changes nothing."""

    action: str
    with_: dict[str, Any] = Field(alias="with", default={})
    expect: Expectation = Expectation()
    poll: Poll | None = None
    timeout: Duration = Field(le=timedelta(hours=1))
    # A check that fails ends the run, unless it only informs.
    informs: bool = False


class StepBlock(_Strict):
    """Changes something."""

    action: str
    with_: dict[str, Any] = Field(alias="with", default={})
    timeout: Duration = Field(le=timedelta(hours=1))
    verify: str = ""
    rollback: str = ""


class ConfirmBlock(_Strict):
    """Asks a person."""

    ask: str = Field(max_length=500)
    answers: list[str] = Field(default=["yes", "no"], min_length=2, max_length=5)
    go_on: list[str] = ["yes"]
    timeout: Duration = Field(default=timedelta(hours=2), le=timedelta(days=2))


class ApproveBlock(_Strict):
    """Somebody else than who runs it must agree before the named steps."""

    before: list[str] = Field(min_length=1)
    expires: Duration = Field(default=timedelta(minutes=30), le=timedelta(days=1))


BLOCKS: dict[str, type[CheckBlock | StepBlock | ConfirmBlock | ApproveBlock]] = {
    "check": CheckBlock,
    "step": StepBlock,
    "confirm": ConfirmBlock,
    "approve": ApproveBlock,
}


@dataclass(frozen=True)
class RawBlock:
    """A fenced block as found: its kind and id, its text, and the line it starts on."""

    kind: str
    id: str
    text: str
    line: int


@dataclass
class RawDocument:
    """A file split into front matter, text and executable blocks; `problems` are (line, what, how to mend)."""

    front_matter: str
    body: str
    body_line: int
    blocks: list[RawBlock] = field(default_factory=list)
    problems: list[tuple[int, str, str]] = field(default_factory=list)


def split_document(text: str) -> RawDocument:
    """Split a runbook's file. Fences of any other kind are documentation."""
    match = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    if match is None:
        found = RawDocument("", text, 1)
        found.problems.append((1, "no front matter", "begin the file with `---`, YAML, `---`"))
        return found
    found = RawDocument(match[1], text[match.end() :], text[: match.end()].count("\n") + 1)
    for token in MarkdownIt("commonmark").parse(found.body):
        if token.type != "fence" or token.map is None:
            continue
        line = found.body_line + token.map[0]
        info = token.info.strip()
        word = info.split(" ")[0].split("=")[0]
        if word not in EXECUTABLE:
            continue
        parsed = _INFO.fullmatch(info)
        if parsed is None:
            found.problems.append((line, f"the fence `{info}`", f"write `{word} id=a-short-name`"))
            continue
        found.blocks.append(RawBlock(parsed["kind"], parsed["id"], token.content, line))
    return found
