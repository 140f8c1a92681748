"""How a state looks: a word, an icon and a tone, always the same three together.

There are five tones with a meaning and two without. A word that nobody listed is shown plainly, never as good.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache


class Tone(StrEnum):
    """The colour of a state; each has one icon."""

    OK = "ok"
    RISK = "risk"
    BAD = "bad"
    UNKNOWN = "unknown"
    FROZEN = "frozen"
    ACTIVE = "active"
    PLAIN = "plain"

    @property
    def icon(self) -> str:
        """The name of the icon in the sprite."""
        return _ICONS[self]

    @property
    def badness(self) -> int:
        """How urgent it is; the worst has the highest number, so that a list can put it first."""
        return _BADNESS[self]


_ICONS = {
    Tone.OK: "circle-check",
    Tone.RISK: "alert-triangle",
    Tone.BAD: "alert-octagon",
    Tone.UNKNOWN: "help-circle",
    Tone.FROZEN: "snowflake",
    Tone.ACTIVE: "player-play",
    Tone.PLAIN: "circle-dot",
}
_BADNESS = {
    Tone.BAD: 6,
    Tone.RISK: 5,
    Tone.UNKNOWN: 4,
    Tone.FROZEN: 3,
    Tone.ACTIVE: 2,
    Tone.PLAIN: 1,
    Tone.OK: 0,
}

_WORDS = {
    Tone.OK: (
        "ok good healthy sent reverted met passed pass succeeded success done resolved recovered delivered effective "
        "verified approved active sealed connected satisfied compliant covered fresh enabled granted confirmed valid "
        "completed accepted processed rolled-back"
    ),
    Tone.RISK: (
        "at-risk risk warning degraded slow acknowledged mitigated due due-soon late half-open retrying expiring "
        "awaiting-approval waiting-for-approval in-review waiting needs-attention partial partially-effective "
        "open-finding sev3 high undoing stopping intended"
    ),
    Tone.BAD: (
        "breached firing dirty failed failure fail error critical open triggered overdue exhausted dead rejected "
        "refused aborted not-effective ineffective invalid missing expired broken sev1 sev2 rollback-failed timed-out "
        "spent failing bad silent"
    ),
    Tone.UNKNOWN: (
        "unknown inconclusive stale no-data not-measured unparsed not-tested never not-judged undetermined unsealed "
        "insufficient-data no-traffic not-evaluated not-collected no-prober"
    ),
    Tone.FROZEN: "frozen paused silenced suspended withheld excepted excluded snoozed held on-hold blackout",
    Tone.ACTIVE: (
        "running starting received in-progress started executing sending collecting evaluating verifying waiting-timer"
    ),
}
_TONE_OF = {word: tone for tone, words in _WORDS.items() for word in words.split()}


@dataclass(frozen=True)
class Shown:
    """A state as the page shows it."""

    word: str
    tone: Tone
    icon: str


def tone_of(value: object) -> Tone:
    """Return the tone of a state word; PLAIN when it has no listed meaning, UNKNOWN when there is none."""
    if value is None or value == "":
        return Tone.UNKNOWN
    return _tone_of_text(value) if isinstance(value, str) else _TONE_OF.get(_normal(value), Tone.PLAIN)


@lru_cache(maxsize=1024)
def _tone_of_text(text: str) -> Tone:
    # Pages of thousands of lines have a handful of states.
    return _TONE_OF.get(_normal(text), Tone.PLAIN)


def shown(value: object, *, word: str = "", tone: Tone | str | None = None) -> Shown:
    """Return word, icon and tone of a state; `word` replaces the text, `tone` the looked-up tone."""
    chosen = Tone(tone) if tone else tone_of(value)
    text = word or ("unknown" if value is None or value == "" else _normal(value).replace("-", " "))
    return Shown(word=text.upper(), tone=chosen, icon=chosen.icon)


def worst(values: list[object]) -> object:
    """Return the most urgent of several states, or None of none."""
    return max(values, key=lambda value: tone_of(value).badness, default=None)


def _normal(value: object) -> str:
    return str(getattr(value, "value", value)).strip().lower().replace("_", "-").replace(" ", "-")
