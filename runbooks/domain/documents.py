"""A runbook's file: CommonMark with YAML front matter and typed fenced blocks."""

import re
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Annotated, Any, Literal

from markdown_it import MarkdownIt
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

EXECUTABLE = ("check", "step", "confirm", "approve", "notify", "wait", "decide")
MAX_BLOCKS = 100
RESERVED = frozenset({"coverage", "new", "preview", "runs"})
MAX_ITEMS = 50
_INFO = re.compile(rf"(?P<kind>{'|'.join(EXECUTABLE)}) id=(?P<id>[a-z0-9][a-z0-9-]{{0,39}})(?P<on> on=rollback)?")
_DURATION = re.compile(r"([1-9][0-9]{0,4})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_ID = r"^[a-z0-9][a-z0-9-]{0,39}$"
TEMPLATE = re.compile(
    r"\{\{\s*(?:inputs\.(?P<input>[a-z_][a-z0-9_]*)|(?P<item>item)|steps\.(?P<step>[a-z0-9][a-z0-9-]*)\.(?P<of>value|answer))\s*\}\}"
)
LOOKS_LIKE_TEMPLATE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)


def _duration(value: object) -> object:
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None and isinstance(value, str) and not value.startswith("P"):
        raise ValueError("a duration as 30s, 15m, 2h or 3d is allowed")
    return timedelta(seconds=int(match[1]) * _SECONDS[match[2]]) if match else value


Duration = Annotated[timedelta, BeforeValidator(_duration)]
InputName = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]{0,39}$")]
BlockId = Annotated[str, Field(pattern=_ID)]
Who = Annotated[str, Field(pattern=r"^(role|team|user):[A-Za-z0-9@.+_-]{1,150}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class InputSpec(_Strict):
    """A value that a run is given. A `list` is text parted by commas, or a YAML list; each item meets the pattern."""

    type: Literal["string", "integer", "number", "boolean", "list"] = "string"
    pattern: str = Field(default="^[A-Za-z0-9_.:-]{1,120}$", max_length=200)
    default: str | int | float | bool | list[str] | None = None
    required: bool = False
    choices: list[str] = Field(default=[], max_length=50)
    description: str = Field(default="", max_length=300)
    # Where a trigger finds the value, as `alert.labels.instance`.
    from_: str = Field(alias="from", default="", pattern=r"^([a-z_]+(\.[A-Za-z0-9_/-]+){1,3})?$")


class Trigger(_Strict):
    """An alert whose label has this value calls for this runbook."""

    label: str = Field(min_length=1, max_length=120)
    equals: str = Field(min_length=1, max_length=200)


class Schedule(_Strict):
    """When the runbook is run by itself: five cron fields in a time zone."""

    cron: str = Field(max_length=100)
    zone: str = Field(default="UTC", max_length=64)


class Permissions(_Strict):
    """Who of those whose role allows it may run and approve; empty means all of them."""

    run: list[Who] = []
    approve: list[Who] = []


class Unattended(_Strict):
    """A service and environment where steps up to this risk go on without a person. Never what destroys."""

    service: str
    environment: str
    risk: Literal["change"] = "change"


class FrontMatter(_Strict):
    """What stands before the text."""

    runbook: str = Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
    version: int | None = Field(default=None, ge=1, description="For people; the hash of the text is what runs.")
    title: str = Field(min_length=1, max_length=160)
    owner: str = Field(default="", description="Slug of the team that keeps it up to date.")
    review_by: str = Field(default="", pattern=r"^(\d{4}-\d{2}-\d{2})?$")
    services: list[str] = []
    triggers: list[Trigger] = Field(default=[], max_length=20)
    schedule: Schedule | None = None
    inputs: dict[Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]{0,39}$")], InputSpec] = Field(
        default={}, max_length=30
    )
    permissions: Permissions = Permissions()
    unattended: list[Unattended] = Field(default=[], max_length=20)
    timeout: Duration | None = Field(default=None, le=timedelta(days=30))

    @field_validator("runbook")
    @classmethod
    def _is_free(cls, value: str) -> str:
        if value in RESERVED:
            raise ValueError(f"another word than {', '.join(sorted(RESERVED))}, which are pages of their own")
        return value

    @field_validator("review_by")
    @classmethod
    def _is_a_day(cls, value: str) -> str:
        if value:
            date.fromisoformat(value)
        return value


Bound = float | Annotated[str, Field(pattern=r"^\{\{.*\}\}$")]


BOUND_WORDS = {
    "eq": "exactly",
    "ne": "other than",
    "gt": "more than",
    "ge": "at least",
    "lt": "less than",
    "le": "at most",
}


class Expectation(_Strict):
    """What a check's value must be; every bound that is given must hold."""

    eq: bool | int | float | str | None = None
    ne: bool | int | float | str | None = None
    gt: Bound | None = None
    ge: Bound | None = None
    lt: Bound | None = None
    le: Bound | None = None

    def holds(self, value: Any) -> bool:
        """Say whether a value meets every bound. A missing value, or a word where a number is asked, meets none."""
        if value is None:
            return False
        if self.eq is not None and value != self.eq:
            return False
        if self.ne is not None and value == self.ne:
            return False
        try:
            return (
                (self.gt is None or float(value) > float(self.gt))
                and (self.ge is None or float(value) >= float(self.ge))
                and (self.lt is None or float(value) < float(self.lt))
                and (self.le is None or float(value) <= float(self.le))
            )
        except (TypeError, ValueError):
            return False

    @property
    def is_empty(self) -> bool:
        """Whether no bound is given: then the action's own verdict counts."""
        return not self._bounds()

    def __str__(self) -> str:
        """Say the bounds in words, such as "more than 0 and at most 5"."""
        return " and ".join(f"{BOUND_WORDS[name]} {_said(value)}" for name, value in self._bounds().items())

    def _bounds(self) -> dict[str, Any]:
        return {name: value for name in BOUND_WORDS if (value := getattr(self, name)) is not None}


def _said(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


class Poll(_Strict):
    """Ask again until the expectation holds."""

    every: Duration = timedelta(seconds=5)
    for_: Duration = Field(alias="for", le=timedelta(minutes=30))


class Retry(_Strict):
    """Try again, at most `max` times, after what `on` names."""

    max: int = Field(ge=1, le=10)
    on: list[Literal["error", "timeout", "verify"]] = Field(default=["error"], min_length=1)
    delay: Duration = timedelta(seconds=1)


class _Block(_Strict):
    needs: list[BlockId] = Field(default=[], max_length=20)
    when: str = Field(default="", max_length=300)


class _Acting(_Block):
    action: str
    with_: dict[str, Any] = Field(alias="with", default={})
    # A short form of `with: {target: …}`, the commonest argument.
    target: str = Field(default="", max_length=200)
    timeout: Duration = Field(le=timedelta(days=7))
    retry: Retry | None = None
    foreach: str = Field(default="", pattern=r"^(inputs\.[a-z_][a-z0-9_]*)?$")

    @model_validator(mode="after")
    def _target_once(self) -> "_Acting":
        if self.target and "target" in self.with_:
            raise ValueError("name the target once, as target: or inside with:")
        return self

    @property
    def arguments(self) -> dict[str, Any]:
        """The action's arguments before templates are filled."""
        return {**self.with_, "target": self.target} if self.target else self.with_


class CheckBlock(_Acting):
    """Looks, changes nothing."""

    expect: Expectation = Expectation()
    poll: Poll | None = None
    # A check that fails ends the run, unless it only informs.
    informs: bool = False


class StepBlock(_Acting):
    """Changes something."""

    risk: Literal["change", "destructive"] | None = None
    idempotency: Literal["none", "key", "natural"] | None = None
    verify: str = ""
    rollback: str = ""
    on_failure: Literal["stop", "continue"] = "stop"


class ConfirmBlock(_Block):
    """Asks a person. The answer `escalate` calls the owner and goes on waiting."""

    ask: str = Field(max_length=500)
    answers: list[str] = Field(default=["yes", "no"], min_length=2, max_length=5)
    go_on: list[str] = ["yes"]
    evidence: Literal["optional", "required"] = "optional"
    timeout: Duration = Field(default=timedelta(hours=2), le=timedelta(days=7))
    on_timeout: Literal["fail", "escalate"] = "fail"


class Approvers(_Strict):
    """Who must agree: how many, of whom, and never who asked."""

    from_: list[Who] = Field(alias="from", default=[])
    count: int = Field(default=1, ge=1, le=3)
    not_: list[Literal["requester"]] = Field(alias="not", default=["requester"])


class ApproveBlock(_Block):
    """Somebody else than who runs it must agree before the named steps."""

    before: list[BlockId] = Field(min_length=1)
    approvers: Approvers = Approvers()
    expires: Duration = Field(default=timedelta(minutes=30), le=timedelta(days=1))
    on_timeout: Literal["fail", "escalate"] = "fail"


class NotifyBlock(_Block):
    """Tells people: `owner`, `operator`, `team:SLUG`, `user:NAME`, or a webhook `endpoint:SLUG`."""

    to: list[Annotated[str, Field(pattern=r"^(owner|operator|(team|user|endpoint):[A-Za-z0-9@.+_-]{1,150})$")]] = Field(
        min_length=1, max_length=10
    )
    subject: str = Field(default="", max_length=200)
    message: str = Field(min_length=1, max_length=2000)
    urgent: bool = False


class WaitBlock(_Block):
    """Lets time pass without holding a worker."""

    for_: Duration = Field(alias="for", le=timedelta(days=7))


class DecideBlock(_Block):
    """Takes one of several branches: a person picks (`ask`), or an expression names it (`choose`)."""

    ask: str = Field(default="", max_length=500)
    choose: str = Field(default="", max_length=300)
    branches: dict[BlockId, list[BlockId]] = Field(min_length=2, max_length=6)
    timeout: Duration = Field(default=timedelta(hours=2), le=timedelta(days=7))
    on_timeout: Literal["fail", "escalate"] = "fail"

    @model_validator(mode="after")
    def _one_way(self) -> "DecideBlock":
        if bool(self.ask) == bool(self.choose):
            raise ValueError("either ask: a person, or choose: by an expression")
        return self


AnyBlock = CheckBlock | StepBlock | ConfirmBlock | ApproveBlock | NotifyBlock | WaitBlock | DecideBlock
BLOCKS: dict[str, type[AnyBlock]] = {
    "check": CheckBlock,
    "step": StepBlock,
    "confirm": ConfirmBlock,
    "approve": ApproveBlock,
    "notify": NotifyBlock,
    "wait": WaitBlock,
    "decide": DecideBlock,
}


@dataclass(frozen=True)
class RawBlock:
    """A fenced block as found: its kind and id, its text, and the line it starts on."""

    kind: str
    id: str
    text: str
    line: int
    on_rollback: bool = False


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
            found.problems.append((line, f"the fence `{info[:80]}`", f"write `{word} id=a-short-name`"))
            continue
        found.blocks.append(RawBlock(parsed["kind"], parsed["id"], token.content, line, bool(parsed["on"])))
    if len(found.blocks) > MAX_BLOCKS:
        found.problems.append((1, f"{len(found.blocks)} executable blocks", f"at most {MAX_BLOCKS} are allowed"))
    return found
