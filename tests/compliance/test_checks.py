"""Checks read the ledger and leave occurrences behind."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.data import Principal, Role, system_principal
from accounts.models import User
from accounts.selectors import principal_for_user
from compliance.data import Standing, Window
from compliance.domain.periods import Cadence, period_at
from compliance.models import Check, Control, Occurrence, OccurrenceDay
from compliance.selectors import control_standings, evidence_of, evidence_proof, window_to
from compliance.services import approve_exception, request_exception, run_checks
from core.parsing import InputRefusedError
from ledger.data.incidents import IncidentAcknowledged
from ledger.data.oncall import OnCallCovered
from ledger.data.recovery import RecoveryTestFinished
from ledger.selectors import entries
from ledger.services import record, seal_pending

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("content"), pytest.mark.database]


SITE = system_principal("test")


def acknowledged(*, after: timedelta, at: datetime | None = None, number: int = 1) -> None:
    moment = at or timezone.now() - timedelta(minutes=30)
    record(
        IncidentAcknowledged(
            incident=f"INC-{number}", severity="sev1", acknowledged_at=moment + after, first_notified_at=moment
        ),
        actor="user:1",
        subject=f"incident:INC-{number}",
        occurred_at=moment + after,
    )
    seal_pending()


def covered(at: datetime) -> None:
    record(
        OnCallCovered(schedule="s", window_start=at, window_end=at, covered_seconds=1, window_seconds=1, gaps=0),
        actor="system:oncall",
        subject="schedule:s",
        occurred_at=at,
    )


def standing(slug: str) -> tuple[Standing, str]:
    control = Control.objects.get(slug=slug)
    now = timezone.now()
    found = control_standings([control], window=window_to(now), now=now)[control.pk].judgement
    return found.standing, found.counted


def test_an_incident_taken_in_time_proves_the_control() -> None:
    acknowledged(after=timedelta(minutes=5))
    run_checks()
    assert standing("incidents-acknowledged") == (Standing.OPERATING, "1 of 1")


def test_an_incident_taken_late_is_counted_and_says_why() -> None:
    acknowledged(after=timedelta(minutes=20))
    run_checks()
    assert standing("incidents-acknowledged") == (Standing.NOT_OPERATING, "0 of 1")
    assert "within 15 minutes of first notified at" in Occurrence.objects.get(outcome="failed").reason


def test_each_result_is_recorded_once() -> None:
    acknowledged(after=timedelta(minutes=5))
    run_checks()
    run_checks(control="incidents-acknowledged")
    tested = entries(types=["control.tested"], subjects=["control:incidents-acknowledged"])
    assert [entry.payload and entry.payload["result"] for entry in tested] == ["passed"]


def test_an_entry_that_is_not_sealed_waits() -> None:
    acknowledged(after=timedelta(minutes=5))
    record(
        RecoveryTestFinished(
            test="DR-1",
            kind="restore",
            service="assay",
            scope="database",
            rto_milliseconds=1000,
            recovery_time_actual_milliseconds=900,
            data_check="rows",
            data_check_passed=True,
            outcome="passed",
            witness="bob",
            started_at=timezone.now(),
            finished_at=timezone.now(),
        ),
        actor="user:1",
        subject="recovery:DR-1",
    )
    run_checks()
    assert standing("backups-restored")[0] is Standing.NOT_TESTED
    seal_pending()
    run_checks()
    assert standing("backups-restored") == (Standing.OPERATING, "1 of 1")
    assert standing("recovery-within-promise") == (Standing.OPERATING, "1 of 1")


def test_no_incident_and_a_silent_site_are_told_apart() -> None:
    run_checks()
    assert standing("incidents-acknowledged")[0] is Standing.NOT_TESTED
    covered(timezone.now())
    assert standing("incidents-acknowledged")[0] is Standing.NO_POPULATION
    Check.objects.update(started_at=timezone.now() - timedelta(days=30))
    assert standing("incidents-acknowledged")[0] is Standing.COLLECTOR_SILENT


def test_evidence_leads_to_entries_that_verify() -> None:
    acknowledged(after=timedelta(minutes=5))
    run_checks()
    control = Control.objects.get(slug="incidents-acknowledged")
    (line,) = evidence_of(control, window=window_to(timezone.now()))
    assert line.mark == "verified"
    assert evidence_proof(control, entry=line.pk) is not None
    assert evidence_proof(control, entry=line.pk + 1) is None


def test_an_exception_excuses_only_when_somebody_else_approved_it_and_never_counts_as_passed(
    manager: Principal, person: Callable[..., User]
) -> None:
    for number in range(4):
        acknowledged(after=timedelta(minutes=5), number=number)
    acknowledged(after=timedelta(minutes=25), number=9)
    acknowledged(after=timedelta(minutes=25), number=10)
    run_checks()
    control = Control.objects.get(slug="incidents-acknowledged")
    assert standing(control.slug) == (Standing.NOT_OPERATING, "4 of 6")
    now = timezone.now()
    exception = request_exception(
        principal=manager,
        control=control,
        reason="pager vendor outage",
        starts_at=now - timedelta(days=1),
        expires_at=now + timedelta(days=1),
    )
    assert standing(control.slug)[0] is Standing.NOT_OPERATING
    approver = principal_for_user(user=person("bob", Role.APPROVER, Role.COMPLIANCE_MANAGER))
    approve_exception(principal=approver, exception=exception)
    assert standing(control.slug) == (Standing.OPERATING_WITH_EXCEPTIONS, "4 of 6")


def test_an_exception_without_an_end_is_refused(manager: Principal) -> None:
    control = Control.objects.get(slug="incidents-acknowledged")
    with pytest.raises(InputRefusedError):
        request_exception(principal=manager, control=control, reason="x", expires_at=timezone.now())


def test_a_month_before_the_check_existed_was_not_tested() -> None:
    control = Control.objects.get(slug="incidents-acknowledged")
    now = timezone.now()
    earlier = Window(now - timedelta(days=90), now - timedelta(days=60))
    found = control_standings([control], window=earlier, now=now)[control.pk].judgement
    assert (found.standing, found.reason) == (Standing.NOT_TESTED, "the check did not exist yet")
    Check.objects.filter(control=control).update(started_at=now - timedelta(days=100), alive_at=now)
    assert control_standings([control], window=earlier, now=now)[control.pk].judgement.standing is (
        Standing.COLLECTOR_SILENT
    ), "that it works now says nothing about then"


def restored(at: datetime, *, sealed: bool = True) -> None:
    record(
        RecoveryTestFinished(
            test="DR-9",
            kind="restore",
            service="assay",
            scope="database",
            data_check="rows",
            data_check_passed=True,
            outcome="passed",
            witness="bob",
            started_at=at,
            finished_at=at,
        ),
        actor="user:1",
        subject="service:assay",
        occurred_at=at,
    )
    if sealed:
        seal_pending()


def test_an_entry_that_arrives_late_counts_for_the_period_it_speaks_of() -> None:
    now = timezone.now()
    check = Check.objects.get(control__slug="backups-restored")
    Check.objects.filter(pk=check.pk).update(started_at=now - timedelta(days=300))
    run_checks(control="backups-restored")
    long_ago = now - timedelta(days=200)
    key = period_at(Cadence.QUARTERLY, long_ago).key
    assert Occurrence.objects.get(check_run=check, key=key).outcome == "missed"
    restored(long_ago)
    run_checks(control="backups-restored")
    assert Occurrence.objects.get(check_run=check, key=key).outcome == "passed"


def test_what_happened_before_a_check_began_counts_and_what_did_not_is_not_held_against_it() -> None:
    restored(timezone.now() - timedelta(days=200))
    run_checks(control="backups-restored")
    found = Occurrence.objects.filter(check_run__control__slug="backups-restored").values_list("outcome", flat=True)
    assert sorted(found) == ["passed", "pending"]


def test_a_period_belongs_to_the_window_in_which_it_ends_and_to_no_next_one() -> None:
    now = timezone.now()
    control = Control.objects.get(slug="backups-restored")
    Check.objects.filter(control=control).update(started_at=now - timedelta(days=300))
    quarter = period_at(Cadence.QUARTERLY, now - timedelta(days=150))
    run_checks(control=control.slug)

    def due(window: Window) -> int:
        return control_standings([control], window=window, now=now)[control.pk].judgement.due

    assert due(Window(quarter.start, quarter.end)) == 1, "the missed restore of the quarter falls due with its end"
    assert due(Window(quarter.end, quarter.end + timedelta(days=30))) == 0, "and is not held against the next month"


def test_sums_by_day_equal_the_occurrences() -> None:
    now = timezone.now()
    for number in range(70):
        acknowledged(
            after=timedelta(minutes=5 if number % 7 else 40),
            at=now - timedelta(days=number % 20, hours=1),
            number=number,
        )
    run_checks()
    check = Check.objects.get(control__slug="incidents-acknowledged")
    rows = Occurrence.objects.filter(check_run=check)
    assert (rows.count(), rows.filter(outcome="passed").count()) == (70, 60)
    days = OccurrenceDay.objects.filter(check_run=check)
    assert (sum(one.due for one in days), sum(one.passed for one in days)) == (70, 60)
    for hours in (1, 20, 30, 100, 333, 480, 1000):
        window = Window(now - timedelta(hours=hours), now)
        inside = rows.filter(due_at__gte=window.start, due_at__lt=window.end)
        judged = control_standings([check.control], window=window, now=now)[check.control_id].judgement
        assert (judged.passed, judged.due) == (inside.filter(outcome="passed").count(), inside.count())
    tested = entries(types=["control.tested"], subjects=["control:incidents-acknowledged"])
    assert [one.payload and one.payload["population"] for one in tested] == [70]


def test_a_month_without_incidents_is_attested_only_where_the_collector_lived() -> None:
    now = timezone.now()
    begin = (now.replace(day=1) - timedelta(days=40)).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    Check.objects.filter(control__slug="incidents-acknowledged").update(started_at=begin)
    for day in range(0, (now - begin).days + 1, 5):
        covered(begin + timedelta(days=day))
    seal_pending()
    run_checks(control="incidents-acknowledged")
    run_checks(control="incidents-acknowledged")
    attested = list(entries(types=["control.absence_attested"]))
    assert len(attested) >= 1
    payload: Any = attested[0].payload
    assert payload["signs_of_life"] >= 5
    assert payload["canary"] >= 0
    assert payload["longest_silence_seconds"] <= 8 * 86_400
    window = Window(begin, begin + timedelta(days=27))
    control = Control.objects.get(slug="incidents-acknowledged")
    judged = control_standings([control], window=window, now=now)[control.pk].judgement
    assert judged.standing is Standing.NO_POPULATION


def test_one_sign_of_life_does_not_vouch_for_a_whole_year() -> None:
    now = timezone.now()
    Check.objects.filter(control__slug="incidents-acknowledged").update(started_at=now - timedelta(days=300))
    restored(now - timedelta(days=2))
    acknowledged(after=timedelta(minutes=1), at=now - timedelta(days=1))
    run_checks(control="incidents-acknowledged")
    control = Control.objects.get(slug="incidents-acknowledged")
    window = Window(now - timedelta(days=200), now - timedelta(days=50))
    judged = control_standings([control], window=window, now=now)[control.pk].judgement
    assert judged.standing is Standing.COLLECTOR_SILENT
