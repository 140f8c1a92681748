"""Time that does not count: asked for, approved by another, replaced; raw beside adjusted; as known on a day."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import PermissionDenied

from accounts.data import Principal, Role
from accounts.selectors import principal_for_user
from accounts.services import create_user, grant_role
from core.clock import database_now
from core.parsing import InputRefusedError
from ledger.selectors import entries
from reliability.domain.alerting import BurnTier
from reliability.domain.budgets import Counts
from reliability.models import Exclusion, KeptMinute, SLOVersion
from reliability.selectors import backtest, budget_status, detailed_statuses, minute_of
from reliability.selectors.history import spenders
from reliability.services import (
    Stretch,
    approve_exclusion,
    evaluate,
    reject_exclusion,
    request_exclusion,
    withdraw_exclusion,
)
from reliability.services.tallying import add_to_tallies
from tests.reliability.conftest import SITE, TTFT, apply

pytestmark = [pytest.mark.django_db, pytest.mark.database, pytest.mark.usefixtures("catalog")]


def person(name: str, role: Role) -> Principal:
    user = create_user(principal=SITE, username=name, password=None)
    grant_role(principal=SITE, user=user, role=role)
    return principal_for_user(user=user)


@pytest.fixture
def bob() -> Principal:
    return person("bob", Role.APPROVER)


@pytest.fixture
def carl() -> Principal:
    return person("carl", Role.APPROVER)


def counted(rule: str = "drop-events") -> SLOVersion:
    """Return an SLO with an outage of ten minutes, twenty minutes ago."""
    apply(TTFT.replace("annotations: {", f"annotations: {{assay.dev/exclusions: {rule}, "))
    now = database_now()
    SLOVersion.objects.update(effective_from=now - timedelta(days=1))
    version = SLOVersion.objects.get()
    end = minute_of(now)
    add_to_tallies(
        {(version.tally_id, end - ago): Counts(bad=10) if 20 <= ago < 30 else Counts(good=10) for ago in range(100)}
    )
    return version


def outage() -> Stretch:
    now = database_now()
    return Stretch(now - timedelta(minutes=30), now - timedelta(minutes=19))


def test_it_counts_once_another_person_has_approved_it(bob: Principal, carl: Principal) -> None:
    version = counted()
    exclusion = request_exclusion(principal=bob, stretch=outage(), reason="Planned move", slo=version.slo)
    before = budget_status(slo=version.slo)
    assert before is not None
    assert before.counts.bad == 100
    with pytest.raises(PermissionDenied, match="another person"):
        approve_exclusion(principal=bob, exclusion=exclusion)
    approve_exclusion(principal=carl, exclusion=exclusion)
    after = budget_status(slo=version.slo)
    assert after is not None
    assert (after.counts.bad, after.raw_counts.bad, after.adjusted) == (0, 100, True)
    assert after.raw_remaining == before.remaining
    states = [str(entry.payload["state"]) for entry in entries(types=["slo.exclusion_changed"]) if entry.payload]
    assert sorted(states) == ["approved", "requested"]
    assert KeptMinute.objects.filter(reason=exclusion.reference).count() == 2


@pytest.mark.parametrize(("rule", "total"), [("drop-events", 880), ("drop-time", 880), ("count-good", 1000)])
def test_the_rule_is_the_slo_s(rule: str, total: int, bob: Principal, carl: Principal) -> None:
    version = counted(rule)
    exclusion = request_exclusion(principal=bob, stretch=outage(), reason="Planned", slo=version.slo)
    approve_exclusion(principal=carl, exclusion=exclusion)
    status = budget_status(slo=version.slo)
    assert status is not None
    assert status.counts.bad == 0
    assert status.counts.total in {total, total + 10} if rule != "count-good" else status.counts.total == total
    assert status.raw_counts.total == 1000


def test_what_was_known_on_a_day_can_be_told(bob: Principal, carl: Principal) -> None:
    version = counted()
    start = database_now()
    exclusion = request_exclusion(principal=bob, stretch=outage(), reason="Planned", service=version.slo.service)
    approve_exclusion(principal=carl, exclusion=exclusion)
    approved = database_now()
    withdraw_exclusion(principal=bob, exclusion=exclusion)

    def bad(known_at: datetime) -> int:
        return detailed_statuses([version.slo], known_at=known_at)[0].counts.bad

    assert [bad(start), bad(approved), bad(database_now())] == [100, 0, 100]
    exclusion.refresh_from_db()
    assert exclusion.state == "withdrawn"


def test_a_change_is_a_new_one_that_replaces_the_old_when_approved(bob: Principal, carl: Principal) -> None:
    version = counted()
    first = request_exclusion(principal=bob, stretch=outage(), reason="Planned", slo=version.slo)
    approve_exclusion(principal=carl, exclusion=first)
    long_ago = database_now() - timedelta(days=3)
    moved = Stretch(long_ago, long_ago + timedelta(minutes=5))
    second = request_exclusion(principal=bob, stretch=moved, reason="Wrong day", slo=version.slo, replaces=first)
    approve_exclusion(principal=carl, exclusion=second)
    first.refresh_from_db()
    assert first.state == "replaced"
    status = budget_status(slo=version.slo)
    assert status is not None
    assert status.counts.bad == 100


def test_a_recurring_one_is_excluded_each_time(bob: Principal, carl: Principal) -> None:
    version = counted()
    first = outage()
    week = timedelta(days=7)
    stretch = Stretch(first.starts_at - week, first.ends_at - week, "FREQ=WEEKLY", "Europe/Berlin")
    exclusion = request_exclusion(principal=bob, stretch=stretch, reason="Sunday maintenance", slo=version.slo)
    approve_exclusion(principal=carl, exclusion=exclusion)
    status = budget_status(slo=version.slo)
    assert status is not None
    # The clocks may have changed in between: then the same local hour is another one.
    same_hour = stretch.starts_at.astimezone(UTC).hour == first.starts_at.hour
    assert status.counts.bad == (0 if same_hour else status.counts.bad)


def test_an_excluded_outage_fires_nothing_and_is_named_among_what_spent_the_budget(
    bob: Principal, carl: Principal
) -> None:
    version = counted()
    everything = Stretch(database_now() - timedelta(days=1), database_now() + timedelta(hours=1))
    exclusion = request_exclusion(principal=bob, stretch=everything, reason="Test traffic", slo=version.slo)
    approve_exclusion(principal=carl, exclusion=exclusion)
    assert evaluate() == 0
    now = database_now()
    (tier,) = backtest(version=version, tiers=written(version), since=now - timedelta(hours=2), until=now)
    assert not tier.firings
    assert [(one.title, one.bad) for one in spenders(version=version, slo=version.slo, now=now)] == [("Excluded", 100)]


def written(version: SLOVersion) -> list[BurnTier]:
    return [BurnTier(**values) for values in version.tiers]


def test_a_rejected_one_never_counts_and_is_decided_once(bob: Principal, carl: Principal) -> None:
    version = counted()
    exclusion = request_exclusion(principal=bob, stretch=outage(), reason="Planned", slo=version.slo)
    reject_exclusion(principal=carl, exclusion=exclusion)
    with pytest.raises(InputRefusedError):
        approve_exclusion(principal=carl, exclusion=exclusion)
    status = budget_status(slo=version.slo)
    assert status is not None
    assert status.counts.bad == 100


def test_who_may_not_and_what_makes_no_sense_is_refused(bob: Principal) -> None:
    version = counted()
    viewer = person("victor", Role.VIEWER)
    with pytest.raises(PermissionDenied):
        request_exclusion(principal=viewer, stretch=outage(), reason="Planned", slo=version.slo)
    now = database_now()
    for stretch, reason in (
        (Stretch(now, now - timedelta(hours=1)), "Backwards"),
        (Stretch(now, now + timedelta(days=900)), "For years"),
        (Stretch(now, now + timedelta(hours=1), "FREQ=SOMETIMES"), "No rule"),
        (Stretch(now, now + timedelta(hours=1), "FREQ=DAILY", "Nowhere/City"), "No zone"),
        (outage(), "  "),
    ):
        with pytest.raises(InputRefusedError):
            request_exclusion(principal=bob, stretch=stretch, reason=reason, slo=version.slo)
    assert not Exclusion.objects.exists()
