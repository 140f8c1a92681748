"""What a review needs, by severity. Sections follow what is common practice for reviews without blame.

Due: SEV1 within three calendar days, SEV2 within five working days, SEV3 within ten; SEV4 has no date.
"""

from dataclasses import dataclass
from datetime import date, timedelta

SECTIONS: dict[str, str] = {
    "summary": "Summary",
    "impact": "Impact",
    "detection": "Detection and response",
    "contributing_factors": "Contributing factors",
    "went_well": "What went well",
    "went_poorly": "What went poorly",
    "lessons": "Lessons",
    "external_message": "Message to the outside",
}
FACTOR_KINDS = ("technology", "process", "change", "capacity", "dependency", "knowledge")
SATURDAY = 5


@dataclass(frozen=True)
class ReviewTemplate:
    """The sections that must be written, and what else must be done, before anybody can approve."""

    sections: tuple[str, ...]
    steps: tuple[tuple[str, str], ...]
    due_days: int | None
    working_days: bool = True

    def tasks(self) -> list[tuple[str, str]]:
        """Return the tasks as keys and titles."""
        return [*((f"section:{name}", f"Write: {SECTIONS[name]}") for name in self.sections), *self.steps]

    def due_on(self, resolved_on: date) -> date | None:
        """Return by when it should be approved."""
        if self.due_days is None:
            return None
        if not self.working_days:
            return resolved_on + timedelta(days=self.due_days)
        day, left = resolved_on, self.due_days
        while left:
            day += timedelta(days=1)
            left -= day.weekday() < SATURDAY
        return day


TIMELINE = ("timeline", "Check the timeline against the facts")
FOLLOW_UPS = ("follow-ups", "Add follow-ups, or say why none is needed")
MEETING = ("meeting", "Talk it through with those who took part")
TEMPLATES: dict[str, ReviewTemplate] = {
    "sev1": ReviewTemplate(tuple(SECTIONS), (TIMELINE, MEETING, FOLLOW_UPS), 3, working_days=False),
    "sev2": ReviewTemplate(
        tuple(name for name in SECTIONS if name != "external_message"), (TIMELINE, MEETING, FOLLOW_UPS), 5
    ),
    "sev3": ReviewTemplate(("summary", "impact", "contributing_factors", "lessons"), (TIMELINE, FOLLOW_UPS), 10),
    "sev4": ReviewTemplate(("summary", "contributing_factors"), (), None),
}


def factors_in(text: str) -> list[tuple[str, str]]:
    """Return the contributing factors of a text, one on each line, as kind and words: `- change: a flag was flipped`.

    A line without a known kind has the kind `other`.
    """
    found = []
    for line in text.splitlines():
        words = line.strip().lstrip("-* ").strip()
        if not words:
            continue
        head, _, rest = words.partition(":")
        kind = head.strip().lower()
        found.append((kind, rest.strip()) if kind in FACTOR_KINDS and rest.strip() else ("other", words))
    return found
