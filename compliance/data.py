"""Values of compliance that pages and other rooms hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from compliance.domain.effectiveness import Judgement, Outcome, Standing, Strength
from compliance.domain.periods import Cadence
from core.states import Tone

ASSERTED = (
    "The mapping of requirements to evidence and the wording of titles are asserted by this project. "
    "They need a practitioner's review before anybody relies on them."
)

WORDS = {
    Standing.OPERATING: "operating",
    Standing.OPERATING_WITH_EXCEPTIONS: "operating with exceptions",
    Standing.NOT_OPERATING: "not operating",
    Standing.NOT_TESTED: "not tested",
    Standing.NO_POPULATION: "no population (attested)",
    Standing.STALE: "stale",
    Standing.COLLECTOR_SILENT: "collector silent",
}
EXPLANATIONS = {
    Standing.OPERATING: "Everything that was due happened, passed, and verifies in the ledger.",
    Standing.OPERATING_WITH_EXCEPTIONS: "It works, with deviations that are counted and listed.",
    Standing.NOT_OPERATING: "Too much of what was due failed or did not happen.",
    Standing.NOT_TESTED: "There is no proof yet, good or bad.",
    Standing.NO_POPULATION: "Nothing of the kind happened, and the collector is known to have worked.",
    Standing.STALE: "The last proof is too old to count.",
    Standing.COLLECTOR_SILENT: "Nothing was recorded, and nothing shows that recording worked.",
}
SHORT = {
    Standing.OPERATING: "ok",
    Standing.OPERATING_WITH_EXCEPTIONS: "except",
    Standing.NOT_OPERATING: "fail",
    Standing.NOT_TESTED: "untested",
    Standing.NO_POPULATION: "none",
    Standing.STALE: "stale",
    Standing.COLLECTOR_SILENT: "silent",
}
TONES = {
    Standing.OPERATING: Tone.OK,
    Standing.OPERATING_WITH_EXCEPTIONS: Tone.RISK,
    Standing.NOT_OPERATING: Tone.BAD,
    Standing.NOT_TESTED: Tone.UNKNOWN,
    Standing.NO_POPULATION: Tone.PLAIN,
    Standing.STALE: Tone.UNKNOWN,
    Standing.COLLECTOR_SILENT: Tone.BAD,
}


@dataclass(frozen=True)
class Access:
    """What of compliance somebody may see: all of it, or what their live grants open."""

    everything: bool = False
    engagement_ids: frozenset[int] = frozenset()
    framework_ids: frozenset[int] = frozenset()

    @property
    def anything(self) -> bool:
        """Say whether there is anything to see."""
        return self.everything or bool(self.engagement_ids)


@dataclass(frozen=True)
class Window:
    """The span of time that is judged; `end` is exclusive."""

    start: datetime
    end: datetime


@dataclass(frozen=True)
class CheckStanding:
    """A check with its judgement."""

    check_id: int
    title: str
    strength: Strength
    cadence: Cadence
    judgement: Judgement


@dataclass(frozen=True)
class ControlStanding:
    """A control with its judgement and those of its checks."""

    control_id: int
    slug: str
    title: str
    owner: str
    judgement: Judgement
    checks: Sequence[CheckStanding]

    @property
    def word(self) -> str:
        """The standing in words."""
        return WORDS[self.judgement.standing]

    @property
    def tone(self) -> Tone:
        """The standing's tone."""
        return TONES[self.judgement.standing]


@dataclass(frozen=True)
class RequirementStanding:
    """A requirement with its judgement and the controls that serve it."""

    requirement_id: int
    ref: str
    label: str
    category: str
    level: str
    judgement: Judgement
    controls: Sequence[ControlStanding] = ()

    @property
    def word(self) -> str:
        """The standing in words."""
        return WORDS[self.judgement.standing]

    @property
    def tone(self) -> Tone:
        """The standing's tone."""
        return TONES[self.judgement.standing]


@dataclass(frozen=True)
class ComingDue:
    """An occurrence that falls due soon."""

    control_slug: str
    control: str
    owner: str
    check: str
    due_at: datetime
    served: Sequence[str]
    kind: str = "due"
    last: datetime | None = None

    def forecast(self, now: datetime) -> str:
        """Say what will break and when: `Restore test is due in 12 days; undone, it breaks A1.2.`"""
        days = max((self.due_at - now).days, 0)
        when = "today" if not days else f"in {days} day{'s' if days > 1 else ''}"
        verb = "is due" if self.kind == "due" else "goes stale"
        breaks = f"; undone, it breaks {', '.join(self.served)}" if self.served else ""
        return f"{self.check} {verb} {when}{breaks}."


__all__ = [
    "ASSERTED",
    "EXPLANATIONS",
    "SHORT",
    "TONES",
    "WORDS",
    "Access",
    "Cadence",
    "CheckStanding",
    "ComingDue",
    "ControlStanding",
    "Judgement",
    "Outcome",
    "RequirementStanding",
    "Standing",
    "Strength",
    "Window",
]
