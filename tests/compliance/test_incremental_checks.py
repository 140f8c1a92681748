"""Looking at entries as they come finds what looking at all of them at once finds."""

from datetime import datetime, timedelta
from typing import Any, ClassVar

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from compliance.models import Check, EntryDay, LogReading, Occurrence, OccurrenceDay
from compliance.services import checking, run_checks
from compliance.services.content import apply_documents
from compliance.services.noting import CHECKER
from core.parsing import load_yaml_documents
from ledger.data.access import AuditedAction
from ledger.data.incidents import IncidentAcknowledged
from ledger.data.recovery import RecoveryTestFinished
from ledger.services import record, seal_pending
from tests.compliance.conftest import copy_what_is_kept

pytestmark = [pytest.mark.database]
CONTROL = """
apiVersion: assay/v1
kind: Control
metadata: {{name: looked-at, title: "Looked at"}}
spec:
  objective: "Tested."
  owner: Nobody
  frequency: often
  requirements: [{{framework: soc2, ref: "CC7.4", strength: direct, rationale: "Because."}}]
  checks:
    - name: each
      title: "Each"
      rule: {{entries: [incident.acknowledged], cadence: event, expect: [{{field: severity, equals: {severity}}}]}}
    - name: monthly
      title: "A month"
      rule: {{entries: [recovery.test_finished], cadence: monthly, expect: [{{field: outcome, equals: passed}}]}}
    - name: two-weekly
      title: "Two a week"
      rule: {{entries: [incident.acknowledged, audit.action], cadence: weekly, count: 2}}
"""


def declare(severity: str = "sev1") -> None:
    documents = load_yaml_documents(CONTROL.format(severity=severity).encode(), source="control")
    apply_documents(principal=CHECKER, documents=documents)


def happen(kind: int, at: datetime, *, good: bool) -> None:
    if kind == 0:
        payload: Any = IncidentAcknowledged(
            incident="INC-1", severity="sev1" if good else "sev2", acknowledged_at=at, first_notified_at=at
        )
    elif kind == 1:
        payload = RecoveryTestFinished(
            test="DR-1",
            kind="restore",
            service="assay",
            scope="database",
            data_check="rows",
            data_check_passed=True,
            outcome="passed" if good else "failed",
            witness="bob",
            started_at=at,
            finished_at=at,
        )
    else:
        payload = AuditedAction(action="role.granted", target="bob")
    record(payload, actor="user:1", subject="service:assay", occurred_at=at)


def found() -> dict[str, Any]:
    """Return everything that checks keep, without keys and times of runs."""
    return {
        "occurrences": set(
            Occurrence.objects.values_list("check_run", "key", "due_at", "happened_at", "outcome", "verified", "reason")
        ),
        "days": set(OccurrenceDay.objects.exclude(due=0).values_list("check_run", "day", "due", "passed")),
        "kinds": set(
            EntryDay.objects.exclude(entry_type__startswith="control.").values_list(
                "entry_type", "day", "entries", "first_at", "last_at"
            )
        ),
    }


def look_again_from_the_start() -> dict[str, Any]:
    Occurrence.objects.all().delete()
    OccurrenceDay.objects.all().delete()
    EntryDay.objects.all().delete()
    LogReading.objects.all().delete()
    Check.objects.update(checked_seq=0, last_run_at=None)
    run_checks(control="looked-at")
    return found()


def without_control(slug: str) -> None:
    """What the site's own checks would add to the log is not under test."""
    Check.objects.exclude(control__slug=slug).delete()


class Sameness(TestCase):
    """Runs after each step leave what one run over everything leaves."""

    loaded: ClassVar[list[str]] = []

    @pytest.fixture(autouse=True)
    def _loaded(self, loaded_tables: list[str]) -> None:
        self.loaded[:] = loaded_tables

    @settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        steps=st.lists(
            st.tuples(
                st.sampled_from(["happen", "seal", "run", "change"]),
                st.integers(0, 2),
                st.integers(0, 120),
                st.booleans(),
            ),
            max_size=14,
        ),
        batch=st.sampled_from([1, 3, 5_000]),
    )
    def test_incremental_equals_cold(self, steps: list[tuple[str, int, int, bool]], batch: int) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(checking, "BATCH", batch)
            copy_what_is_kept(self.loaded)
            declare()
            without_control("looked-at")
            now = timezone.now()
            Check.objects.update(started_at=now - timedelta(days=100))
            for step, kind, days, good in steps:
                if step == "happen":
                    happen(kind, now - timedelta(days=days, minutes=kind), good=good)
                elif step == "seal":
                    seal_pending()
                elif step == "run":
                    run_checks()
                else:
                    declare("sev2" if good else "sev1")
            seal_pending()
            run_checks()
            incremental = found()
            assert look_again_from_the_start() == incremental


@pytest.mark.django_db
@pytest.mark.usefixtures("content")
def test_a_run_without_news_asks_little(django_assert_max_num_queries: Any) -> None:
    happen(0, timezone.now(), good=True)
    seal_pending()
    for _ in range(3):
        run_checks()
        seal_pending()
    with django_assert_max_num_queries(30):
        run_checks()


@pytest.mark.django_db
@pytest.mark.usefixtures("content")
def test_a_check_that_fails_looks_again_and_stops_no_other() -> None:
    declare()
    check = Check.objects.get(control__slug="looked-at", slug="each")
    happen(0, timezone.now(), good=True)
    seal_pending()
    rule = dict(check.rule)
    Check.objects.filter(pk=check.pk).update(rule={**rule, "cadence": "sometimes"})
    run_checks()
    check.refresh_from_db()
    assert (check.last_error.split(":")[0], check.checked_seq, check.occurrences.count()) == ("ValidationError", 0, 0)
    assert Occurrence.objects.filter(check_run__control__slug="incidents-acknowledged").exists()
    Check.objects.filter(pk=check.pk).update(rule=rule)
    run_checks()
    check.refresh_from_db()
    assert (check.last_error, check.occurrences.count()) == ("", 1)
