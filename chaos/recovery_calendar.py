"""The calendar of recovery tests: what ran, with its verdict, and what is due, by weeks."""

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, tzinfo

from accounts.data import Principal
from chaos.recovery_models import RecoveryTest
from chaos.recovery_selectors import recovery_runs_visible, recovery_tests_visible, spec_of_test
from chaos.selectors import retests_visible
from chaos.services.recovery import next_turn

WEEKS_BACK = 4
WEEKS_AHEAD = 9
MOST_TURNS = 100


@dataclass(frozen=True)
class CalendarItem:
    """A run that was, or a turn that is due."""

    at: datetime
    title: str
    service: str
    url: str
    word: str
    detail: str = ""


@dataclass
class CalendarWeek:
    """A week from Monday."""

    monday: date
    is_now: bool
    items: list[CalendarItem] = field(default_factory=list)

    @property
    def sunday(self) -> date:
        """The last day of the week."""
        return self.monday + timedelta(days=6)


def calendar_weeks(*, viewer: Principal, now: datetime, zone: tzinfo) -> list[CalendarWeek]:
    """Return four weeks back, this one, and two months ahead; a week without anything is there too."""
    today = now.astimezone(zone).date()
    this = today - timedelta(days=today.weekday())
    mondays = [this + timedelta(weeks=number) for number in range(-WEEKS_BACK, WEEKS_AHEAD)]
    weeks = {monday: CalendarWeek(monday, monday == this) for monday in mondays}
    start = datetime.combine(mondays[0], datetime.min.time(), zone)
    end = datetime.combine(mondays[-1] + timedelta(days=7), datetime.min.time(), zone)
    items = [
        CalendarItem(
            run.requested_at,
            str(run.test),
            run.test.service.name,
            run.get_absolute_url(),
            run.verdict or run.state,
            run.reason,
        )
        for run in recovery_runs_visible(viewer=viewer).filter(requested_at__gte=start)
    ]
    for test in recovery_tests_visible(viewer=viewer).filter(next_due_at__isnull=False):
        items += _turns(test, until=end)
    items += _retests(viewer, now)
    for item in sorted(items, key=lambda one: one.at):
        day = item.at.astimezone(zone).date()
        week = weeks.get(day - timedelta(days=day.weekday()))
        if week is not None:
            week.items.append(item)
    return list(weeks.values())


def _retests(viewer: Principal, now: datetime) -> list[CalendarItem]:
    """Return the retests of mended findings; what is overdue stands in this week until it is done."""
    return [
        CalendarItem(
            max(finding.retest_due_at, now),
            f"Retest: {finding.experiment}",
            ", ".join(service.name for service in finding.experiment.services.all()),
            finding.get_absolute_url(),
            "overdue" if finding.is_overdue(now) else "due",
            f"{'since' if finding.is_overdue(now) else 'until'} {finding.retest_due_at:%d %b %Y}, {finding}",
        )
        for finding in retests_visible(viewer=viewer)
        if finding.retest_due_at is not None
    ]


def _turns(test: RecoveryTest, *, until: datetime) -> list[CalendarItem]:
    """Return the turns of a test up to an instant; of one that runs often, the first hundred."""
    spec, due = spec_of_test(test), test.next_due_at
    found: list[CalendarItem] = []
    while due is not None and due < until and len(found) < MOST_TURNS:
        found.append(CalendarItem(due, str(test), test.service.name, test.get_absolute_url(), "due"))
        due = next_turn(spec, after=due, seed=test.slug)
    return found
