"""Production readiness and the share of evidence that operations collect, from the ledger alone."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import PermissionDenied
from django.test import Client
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from accounts.data import Principal, Role, system_principal
from accounts.models import User
from accounts.selectors import principal_for_user
from accounts.services import create_team
from catalog.models import ActionItem, Environment, Service
from compliance.data import Window
from compliance.domain.rules import Condition, Fact
from compliance.domain.scorecards import Item, Phase, PhaseResult, Shown, Verdict, judge_item, reached_phase
from compliance.models import LogReading, ScorecardMark
from compliance.selectors import scorecards as scorecards_module
from compliance.selectors.scorecards import evidence_share, scorecard_items, scorecards
from compliance.services import run_checks
from compliance.services.waivers import approve_waiver, request_waiver
from core.parsing import InputRefusedError
from ledger.data import payload_schemas
from ledger.data.runbooks import RunbookRunFinished
from ledger.data.slo import SloDeclared
from ledger.services import record, seal_pending

SITE = system_principal("test")
NOW = datetime(2026, 11, 1, tzinfo=UTC)
ITEM = Item(
    name="tested",
    title="Tested",
    phase="production",
    entries=["t"],
    days=30,
    expect=[Condition(field="ok", equals=True)],
)


def fact(days: int, *, ok: bool) -> Fact:
    return Fact(days, "t", NOW - timedelta(days=days), "user:1", "service:gateway", {"ok": ok})


def test_the_newest_entry_decides() -> None:
    assert judge_item(ITEM, [fact(1, ok=False), fact(2, ok=True)], now=NOW, waived=False).verdict is Verdict.FAILED
    assert judge_item(ITEM, [fact(1, ok=True), fact(2, ok=False)], now=NOW, waived=False).verdict is Verdict.SHOWN
    assert judge_item(ITEM, [fact(31, ok=True)], now=NOW, waived=False).verdict is Verdict.MISSING
    assert judge_item(ITEM, [], now=NOW, waived=True).verdict is Verdict.WAIVED


@given(st.lists(st.sampled_from(Verdict), min_size=3, max_size=3))
def test_no_phase_is_reached_before_the_one_below_it(verdicts: list[Verdict]) -> None:
    results = [PhaseResult(phase, [Shown(ITEM, verdict, "")]) for phase, verdict in zip(Phase, verdicts, strict=True)]
    reached = reached_phase(results)
    good = {Verdict.SHOWN, Verdict.WAIVED}
    count = 0 if reached is None else list(Phase).index(reached) + 1
    assert all(verdict in good for verdict in verdicts[:count])
    assert count == 3 or verdicts[count] not in good


def test_every_item_names_kinds_of_entry_and_fields_that_exist() -> None:
    kinds = {name for name, _ in payload_schemas()}
    items = scorecard_items()
    assert {one.phase for one in items} == set(Phase)
    for one in items:
        assert set(one.entries) <= kinds, one.name
        fields = {
            field
            for (name, _), schema in payload_schemas().items()
            for field in schema.model_fields
            if name in one.entries
        }
        assert {condition.field for condition in (*one.where, *one.expect)} <= fields, one.name


@pytest.fixture
def gateway(content: None) -> Service:
    team = create_team(principal=SITE, slug="inference", name="Inference")
    environment = Environment.objects.create(slug="demo", name="Demo")
    return Service.objects.create(slug="gateway", name="Gateway", team=team, environment=environment, tier=1)


@pytest.mark.django_db
class TestScorecards:
    def verdict(self, service: Service, item: str) -> Verdict:
        (card,) = scorecards([service], now=timezone.now())
        return next(one.verdict for phase in card.phases for one in phase.items if one.item.name == item)

    def test_what_is_recorded_is_shown_and_a_waiver_needs_another_person(
        self, gateway: Service, manager: Principal, person: Callable[..., User]
    ) -> None:
        assert self.verdict(gateway, "slo-declared") is Verdict.MISSING
        record(
            SloDeclared(
                slo="ttft",
                service="gateway",
                definition_version=1,
                definition_sha256="0" * 64,
                target="0.99",
                window_seconds=3600,
                budgeting_method="Occurrences",
            ),
            actor="user:1",
            subject="slo:ttft",
        )
        assert self.verdict(gateway, "slo-declared") is Verdict.SHOWN
        assert self.verdict(gateway, "follow-ups-done") is Verdict.SHOWN
        yesterday = timezone.now().date() - timedelta(days=1)
        ActionItem.objects.create(
            source_key="x", title="Mend it", service=gateway, due_on=yesterday, created_at=timezone.now()
        )
        assert self.verdict(gateway, "follow-ups-done") is Verdict.FAILED
        until = timezone.now() + timedelta(days=30)
        waiver = request_waiver(
            principal=manager, service="gateway", item="chaos-tried", reason="New.", expires_at=until
        )
        assert self.verdict(gateway, "chaos-tried") is Verdict.MISSING
        with pytest.raises(PermissionDenied):
            approve_waiver(principal=manager, waiver=waiver)
        approve_waiver(principal=principal_for_user(user=person("bob", Role.APPROVER)), waiver=waiver)
        assert self.verdict(gateway, "chaos-tried") is Verdict.WAIVED
        with pytest.raises(InputRefusedError):
            request_waiver(principal=manager, service="gateway", item="nothing", reason="x", expires_at=until)

    def test_pages(self, gateway: Service, manager: Principal, person: Callable[..., User]) -> None:
        client = Client()
        client.force_login(User.objects.get(username="carol"))
        assert gateway.name in client.get("/compliance/readiness/").content.decode()
        until = timezone.now().date() + timedelta(days=30)
        form = {"service": "gateway", "item": "chaos-tried", "reason": "New.", "expires_on": until}
        assert client.post("/compliance/readiness/waive/", form).status_code == 302
        assert "Evidence that operations collected" in client.get("/compliance/").content.decode()
        client.force_login(person("axel", Role.AUDITOR))
        assert client.get("/compliance/readiness/").status_code == 403

    def test_the_share_counts_what_was_due_by_who_collected_it(self, content: None) -> None:
        seal_pending()
        run_checks()
        seal_pending()
        run_checks()
        now = timezone.now()
        share = evidence_share(window=Window(now - timedelta(days=90), now + timedelta(days=1)))
        assert share.by_operations > 0
        assert share.due == share.by_operations + share.by_hand + share.missing
        assert share.ratio == 1.0

    def test_what_decides_a_scorecard_is_marked_however_much_came_since(
        self, gateway: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(scorecards_module, "UNREAD", 0)
        days_ago = timezone.now() - timedelta(days=40)
        for number, state in enumerate(("succeeded", "failed", "failed")):
            record(
                RunbookRunFinished(
                    run=f"R-{number}",
                    runbook="freeze",
                    revision="1",
                    services=["gateway"],
                    trigger="person",
                    operator="user:1",
                    state=state,
                    steps=[],
                    started_at=days_ago,
                    finished_at=days_ago,
                ),
                actor="user:1",
                subject="runbook:freeze",
                occurred_at=days_ago + timedelta(days=number),
            )
        assert self.verdict(gateway, "runbook-exercised") is Verdict.MISSING, "nothing was read yet"
        seal_pending()
        run_checks()
        assert self.verdict(gateway, "runbook-exercised") is Verdict.SHOWN, "an older one shows it"
        mark = ScorecardMark.objects.get(item="runbook-exercised", service="gateway")
        assert mark.shown_entry is not None
        assert mark.shown_entry < mark.newest_entry
        LogReading.objects.update(cards_digest="another scorecard")
        ScorecardMark.objects.update(newest_entry=0, shown_entry=None, shown_at=None)
        run_checks()
        assert self.verdict(gateway, "runbook-exercised") is Verdict.SHOWN, "another scorecard: read again"
