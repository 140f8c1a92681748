"""Checks read the ledger and leave occurrences behind."""

from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from accounts.data import Principal, system_principal
from compliance.data import Standing, Window
from compliance.models import Check, Control, Occurrence
from compliance.selectors import control_standings, evidence_of, evidence_proof, window_to
from compliance.services import approve_exception, request_exception, run_checks
from core.parsing import InputRefusedError
from ledger.data.incidents import IncidentAcknowledged
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
    assert standing("incidents-acknowledged")[0] is Standing.COLLECTOR_SILENT
    Check.objects.filter(control__slug="incidents-acknowledged").update(alive_at=timezone.now())
    assert standing("incidents-acknowledged")[0] is Standing.NO_POPULATION


def test_evidence_leads_to_entries_that_verify() -> None:
    acknowledged(after=timedelta(minutes=5))
    run_checks()
    control = Control.objects.get(slug="incidents-acknowledged")
    (line,) = evidence_of(control, window=window_to(timezone.now()))
    assert line.mark == "verified"
    assert evidence_proof(control, entry=line.pk) is not None
    assert evidence_proof(control, entry=line.pk + 1) is None


def test_an_exception_excuses_only_when_somebody_else_approved_it_and_never_counts_as_passed(
    manager: Principal,
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
    approve_exception(principal=SITE, exception=exception)
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
