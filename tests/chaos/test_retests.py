"""What is said to be mended is tried again within its period, or somebody says why it is not."""

from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from accounts.data import Role
from accounts.models import User
from catalog.data import ActionItemState
from catalog.models import ActionItem, Service
from chaos.data import Verdict
from chaos.domain.retests import RETEST_WITHIN, retest_within
from chaos.models import Experiment
from chaos.program_models import ChaosFinding, FindingState
from chaos.services import apply_documents, mend_finding, waive_retest
from chaos.services.findings import judge_run
from core.parsing import InputRefusedError, load_yaml_documents
from core.periodic import run_now
from delivery.models import Delivery
from ledger.selectors import entries
from tests.chaos.conftest import SITE, person
from tests.chaos.test_programme import ended

POLICY = """
apiVersion: assay/v1
kind: RetestPolicy
metadata: {{name: retests, title: Retests}}
spec: {{tier_1: {one}, tier_2: {two}}}
"""


def apply_policy(one: str, two: str) -> list[str]:
    text = POLICY.format(one=one, two=two)
    return apply_documents(principal=SITE, documents=load_yaml_documents(text, source="p"), source="p")


@pytest.fixture
def mended(experiment: Experiment) -> ChaosFinding:
    Service.objects.update(tier=1)
    ended(experiment, Verdict.FAILED)
    finding = ChaosFinding.objects.get()
    mend_finding(principal=SITE, finding=finding, how="a timeout")
    return finding


def grow_old(finding: ChaosFinding, *, days: int) -> None:
    """Let the retest have been due some days ago."""
    then = timezone.now() - timedelta(days=days)
    ChaosFinding.objects.filter(pk=finding.pk).update(retest_due_at=then, mended_at=then - timedelta(days=14))
    finding.refresh_from_db()


def test_the_most_important_service_decides_how_soon() -> None:
    assert retest_within([3, 1, 2], stated=RETEST_WITHIN) == timedelta(days=14)
    assert retest_within([4], stated={4: timedelta(days=5)}) == timedelta(days=5)
    assert retest_within([], stated=RETEST_WITHIN) == timedelta(days=14)
    assert list(RETEST_WITHIN.values()) == sorted(RETEST_WITHIN.values())


@pytest.mark.django_db
def test_a_retest_is_due_within_the_stated_period_of_the_tier(experiment: Experiment) -> None:
    Service.objects.update(tier=2)
    assert apply_policy("7d", "21d") == ["retests"]
    assert apply_policy("7d", "21d") == []
    ended(experiment, Verdict.FAILED)
    finding = ChaosFinding.objects.get()
    mend_finding(principal=SITE, finding=finding, how="a timeout")
    assert finding.retest_due_at is not None
    assert finding.mended_at is not None
    assert finding.retest_due_at - finding.mended_at == timedelta(days=21)
    follow_up = ActionItem.objects.get(source_key=finding.retest_key)
    assert (follow_up.state, follow_up.due_on) == (ActionItemState.OPEN, finding.retest_due_at.date())
    told = [entry.payload["reason"] for entry in entries(subjects=["chaos:retest-policy"]) if entry.payload]
    assert len(told) == 1
    assert "tier 2: 21 days" in str(told[0])


@pytest.mark.django_db
@pytest.mark.parametrize("periods", [("21d", "7d"), ("0d", "7d"), ("7d", "400d"), ("soon", "7d")])
def test_a_period_that_makes_no_sense_is_refused(periods: tuple[str, str]) -> None:
    with pytest.raises(InputRefusedError):
        apply_policy(*periods)


@pytest.mark.django_db
def test_a_run_that_was_asked_for_before_it_was_mended_proves_nothing(mended: ChaosFinding) -> None:
    run = ended(mended.experiment, Verdict.INCONCLUSIVE)
    ChaosFinding.objects.update(mended_at=timezone.now() + timedelta(seconds=5))
    run.verdict = Verdict.PASSED
    judge_run(run)
    mended.refresh_from_db()
    assert mended.state == FindingState.MENDED
    ChaosFinding.objects.update(mended_at=run.requested_at)
    judge_run(run)
    mended.refresh_from_db()
    assert mended.state == FindingState.PROVEN


@pytest.mark.database
@pytest.mark.django_db
def test_an_overdue_retest_is_told_once_and_kept_in_the_ledger(mended: ChaosFinding) -> None:
    olga = person("olga", Role.CHAOS_OPERATOR)
    run_now("chaos.retests")
    assert not Delivery.objects.exists()
    grow_old(mended, days=2)
    run_now("chaos.retests")
    run_now("chaos.retests")
    assert list(Delivery.objects.values_list("address", flat=True)) == [olga.reference]
    states = [entry.payload["state"] for entry in entries(types=["chaos.finding_recorded"]) if entry.payload]
    assert states.count("overdue") == 1


@pytest.mark.django_db
def test_an_overdue_retest_stands_on_the_home_page_the_finding_coverage_and_the_calendar(
    mended: ChaosFinding, client: Client
) -> None:
    olga = person("olga", Role.CHAOS_OPERATOR)
    client.force_login(_user(olga.reference))
    pages = ("/", f"/chaos/findings/{mended.pk}/", "/chaos/coverage/", "/recovery/calendar/")
    assert "overdue" not in client.get("/").content.decode().lower()
    assert "Retest: Freeze" in client.get(pages[3]).content.decode(), "it is due within the calendar"
    grow_old(mended, days=2)
    for page in pages:
        text = client.get(page).content.decode()
        assert "OVERDUE" in text.upper(), page
        assert mended.text.split(":")[0] in text, page
    victor = person("victor", Role.VIEWER)
    client.force_login(_user(victor.reference))
    assert "Retest: " not in client.get("/").content.decode(), "who may not run it is not bothered"


@pytest.mark.database
@pytest.mark.django_db
def test_closing_without_a_retest_needs_a_reason_and_the_right(mended: ChaosFinding, client: Client) -> None:
    olga = person("olga", Role.CHAOS_OPERATOR)
    with pytest.raises(PermissionDenied):
        waive_retest(principal=person("victor"), finding=mended, reason="no time")
    with pytest.raises(InputRefusedError):
        waive_retest(principal=olga, finding=mended, reason="   ")
    client.force_login(_user(olga.reference))
    address = f"/chaos/findings/{mended.pk}/"
    client.post(address, {"action": "waive", "reason": ""})
    mended.refresh_from_db()
    assert mended.state == FindingState.MENDED
    client.post(address, {"action": "waive", "reason": "the service is taken out of use"})
    mended.refresh_from_db()
    assert (mended.state, mended.waived_by) == (FindingState.WAIVED, olga.reference)
    assert "the service is taken out of use" in client.get(address).content.decode()
    assert not ActionItem.objects.filter(state=ActionItemState.OPEN).exists()
    last = [entry.payload for entry in entries(types=["chaos.finding_recorded"]) if entry.payload]
    assert [one["reason"] for one in last if one["state"] == "waived"] == ["the service is taken out of use"]
    ended(mended.experiment, Verdict.FAILED)
    assert ChaosFinding.objects.count() == 2, "what was waived and is found again is a new finding"


@pytest.mark.django_db
def test_the_command_lists_mends_and_closes(experiment: Experiment, capsys: pytest.CaptureFixture[str]) -> None:
    ended(experiment, Verdict.FAILED)
    finding = ChaosFinding.objects.get()
    call_command("chaos", "mend", str(finding.pk), "--how", "a timeout")
    assert "retest due until" in capsys.readouterr().out
    grow_old(finding, days=1)
    with pytest.raises(CommandError) as told:
        call_command("chaos", "findings", "--format", "json")
    assert told.value.returncode == 1
    assert '"overdue"' in capsys.readouterr().out
    call_command("chaos", "waive", str(finding.pk), "--reason", "taken out of use")
    finding.refresh_from_db()
    assert finding.state == FindingState.WAIVED


@pytest.mark.django_db
def test_the_api_mends_and_closes_for_those_who_may(experiment: Experiment, client: Client) -> None:
    ended(experiment, Verdict.FAILED)
    finding = ChaosFinding.objects.get()
    api = f"/api/v1/chaos/findings/{finding.pk}/"
    assert client.get(api).status_code in {401, 403}
    client.force_login(_user(person("victor", Role.VIEWER).reference))
    assert client.get(api).json()["state"] == "open"
    assert client.post(f"{api}mend/", {"how": "a timeout"}, content_type="application/json").status_code == 403
    client.force_login(_user(person("olga", Role.CHAOS_OPERATOR).reference))
    assert client.post(f"{api}mend/", {}, content_type="application/json").status_code == 400
    said = client.post(f"{api}mend/", {"how": "a timeout"}, content_type="application/json").json()
    assert (said["state"], said["overdue"]) == ("mended", False)
    assert said["retest_due_at"]
    grow_old(finding, days=1)
    assert client.get("/api/v1/chaos/findings/").json()["results"][0]["overdue"] is True
    assert client.post(f"{api}waive/", {"reason": " "}, content_type="application/json").status_code == 400
    said = client.post(f"{api}waive/", {"reason": "taken out of use"}, content_type="application/json").json()
    assert (said["state"], said["waived_reason"]) == ("waived", "taken out of use")
    assert client.put(api, {}, content_type="application/json").status_code == 405
    assert client.get("/api/v1/chaos/findings/999999/").status_code == 404


def _user(reference: str) -> User:
    return User.objects.get(pk=int(reference.removeprefix("user:")))
