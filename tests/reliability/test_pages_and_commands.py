"""Pages, commands, REST and the typed action, over real counts."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from accounts.data import Role
from accounts.models import User
from accounts.selectors import team_by_slug
from accounts.services import create_team, create_user, grant_role
from core.clock import database_now
from core.parsing import load_yaml_documents
from drivers.services import run_action
from reliability.domain.budgets import Counts
from reliability.models import SLO, SLOVersion
from reliability.selectors import budget_status, burn_rates, minute_of, subjects_of
from reliability.selectors.charts import burn_chart, burn_down, events_chart, frame_of, lanes_chart
from reliability.selectors.history import spenders
from reliability.services import evaluate
from reliability.services.tallying import add_to_tallies
from tests.reliability.conftest import SITE, TTFT, apply

pytestmark = pytest.mark.django_db


def count(version: SLOVersion, *minutes: tuple[int, Counts]) -> None:
    """Count events so many minutes ago."""
    end = minute_of(database_now())
    SLOVersion.objects.update(effective_from=database_now().replace(year=2020))
    add_to_tallies({(version.tally_id, end - ago): counts for ago, counts in minutes})
    version.refresh_from_db()


@pytest.fixture
def viewer(db: None) -> User:
    user = create_user(principal=SITE, username="victor", password=None)
    grant_role(principal=SITE, user=user, role=Role.VIEWER)
    return user


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def test_the_list_shows_the_promise_that_breaks_first_at_the_top(version: SLOVersion, viewer: User) -> None:
    apply(TTFT.replace("gateway-ttft", "gateway-quiet").replace("First token", "Never asked"))
    count(version, (1, Counts(good=90, bad=10)), (0, Counts(good=5)))
    page = signed_in(viewer).get(reverse("reliability:slo_list")).content.decode()
    assert page.index("First token within a second") < page.index("Never asked")
    assert "BREACHED" in page
    assert "not measured" in page
    csv = b"".join(signed_in(viewer).get("/slos/?format=csv").streaming_content).decode()  # type: ignore[attr-defined]
    assert csv.splitlines()[1].startswith("First token within a second,BREACHED,gateway,")


def test_the_list_is_narrowed_by_service_tier_and_team(version: SLOVersion, viewer: User) -> None:
    create_team(principal=SITE, slug="inference", name="Inference")
    give_to_team(version, "inference")
    client = signed_in(viewer)
    assert b"First token" in client.get("/slos/?team=inference&service=gateway&tier=3").content
    assert b"First token" in client.get("/slos/?team=unknown").content, "an unknown choice narrows nothing"
    apply(TTFT.replace("gateway-ttft", "other-ttft").replace("First token", "Last token"))
    other = SLO.objects.get(slug="other-ttft")
    other.service = SLO.objects.get(slug="gateway-ttft").service.__class__.objects.create(
        slug="other", name="Other", environment=version.slo.service.environment, tier=1
    )
    other.save(update_fields=["service"])
    page = client.get("/slos/?tier=1").content
    assert b"Last token" in page
    assert b"First token" not in page
    assert client.get("/slos/?sort=-left").status_code == 200


def test_a_minute_says_by_which_query_it_was_counted(version: SLOVersion, viewer: User) -> None:
    count(version, (2, Counts(good=94, bad=1, unknown=5)))
    minute = minute_of(database_now()) - 2
    client = signed_in(viewer)
    pages = [client.get(f"/slos/gateway-ttft/minutes/{one}/").content.decode() for one in (minute - 1, minute)]
    assert "not measured" in pages[0].lower() or "94" in pages[0]
    assert any("metric ttft, service.name=gateway, up to 1" in page for page in pages)
    assert client.get("/slos/gateway-ttft/minutes/99999999999/").status_code == 404
    refused = client.get(f"/slos/gateway-ttft/minutes/{minute}/", headers={"HX-Request": "true"}).content.decode()
    assert "only a source can be read again" in refused


def test_the_page_shows_counts_and_unknown_as_an_interval(version: SLOVersion, viewer: User) -> None:
    count(version, (2, Counts(good=94, bad=1, unknown=5)), (0, Counts()))
    page = signed_in(viewer).get("/slos/gateway-ttft/").content.decode()
    assert "94 good, 1 bad, 5 unknown" in page
    assert " to " in page
    assert "Unexplained" in page
    part = signed_in(viewer).get("/slos/gateway-ttft/", headers={"HX-Request": "true"}).content.decode()
    assert part.startswith("<section")
    assert "Versions" not in part


def test_no_traffic_is_not_not_measured(version: SLOVersion) -> None:
    count(version, (0, Counts()))
    status = budget_status(slo=version.slo)
    assert status is not None
    assert status.state.value == "NO TRAFFIC"
    assert status.sli is None


def test_a_stranger_a_reader_without_the_team_and_a_wrong_method_are_refused(version: SLOVersion) -> None:
    assert Client().get("/slos/").status_code == 302
    team = create_team(principal=SITE, slug="data", name="Data")
    other = create_user(principal=SITE, username="charlie", password=None)
    grant_role(principal=SITE, user=other, role=Role.VIEWER, team=team)
    create_team(principal=SITE, slug="inference", name="Inference")
    give_to_team(version, "inference")
    assert signed_in(other).get("/slos/gateway-ttft/").status_code == 403
    assert b"First token" not in signed_in(other).get("/slos/").content
    assert signed_in(other).post("/slos/gateway-ttft/").status_code == 405
    nobody = create_user(principal=SITE, username="nobody", password=None)
    assert signed_in(nobody).get("/slos/").status_code == 403


def give_to_team(version: SLOVersion, slug: str) -> None:
    service = version.slo.service
    service.team = team_by_slug(slug=slug)
    service.save(update_fields=["team"])


def test_charts_and_spenders_add_up_to_the_counts(version: SLOVersion) -> None:
    count(version, (30, Counts(good=50, bad=5)), (10, Counts(good=40, bad=4)), (0, Counts(good=1)))
    now = database_now()
    status = budget_status(slo=version.slo, now=now)
    assert status is not None
    assert status.remaining is not None
    frame = frame_of(version, now)
    subject = subjects_of([version])[version.pk][0]
    down = burn_down(subject=subject, frame=frame)
    assert down["rows"][1][-1] == pytest.approx(status.remaining.low * 100, abs=0.01)
    assert sum(one.bad for one in spenders(version=version, slo=version.slo, now=now)) == 9
    SLOVersion.objects.update(effective_from=now)
    version.refresh_from_db()
    late = spenders(version=version, slo=version.slo, now=now)
    assert sum(one.bad for one in late) == 9, "what came just before the definition is counted, and told"
    events = events_chart(subject=subject, frame=frame)
    assert [sum(one or 0 for one in row) for row in events["rows"][1:]] == [91, 9, 0]
    lanes = lanes_chart(subject=subject, frame=frame, slo=version.slo)
    charts = [down, events, lanes, burn_chart(subject=subject, frame=frame)]
    assert len({tuple(chart["rows"][0]) for chart in charts}) == 1
    assert all(len({len(row) for row in chart["rows"]}) == 1 for chart in charts)
    assert [lane["label"] for lane in lanes["lanes"]] == ["Measured"]


def run(*arguments: str, capsys: Any) -> tuple[int, Any]:
    code = 0
    with warnings.catch_warnings():
        # django-typer still hands its completion over by a name that typer has left behind.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            call_command("slo", *arguments)
        except SystemExit as stop:
            code = int(stop.code or 0)
        except CommandError as error:
            code = error.returncode
    out = capsys.readouterr().out
    return code, json.loads(out) if "--format" in arguments else out


def test_the_command_says_how_it_stands_and_gates(version: SLOVersion, capsys: Any) -> None:
    count(version, (1, Counts(good=99, bad=1)), (0, Counts(good=1)))
    code, rows = run("status", "gateway-ttft", "--format", "json", capsys=capsys)
    assert code == 0
    assert (rows[0]["good"], rows[0]["bad"], rows[0]["total"]) == (100, 1, 101)
    assert rows[0]["burn_rates"]["5m"] == pytest.approx(1 / 101 / 0.05)
    assert run("gate", "--service", "gateway", capsys=capsys)[0] == 0
    count(version, (1, Counts(bad=50)))
    evaluate()
    assert run("status", capsys=capsys)[0] == 1
    assert run("gate", "--service", "gateway", capsys=capsys)[0] == 1
    assert run("list", capsys=capsys)[0] == 0
    assert run("show", "gateway-ttft", capsys=capsys)[0] == 0


def test_reports_findings_and_forecasts_have_commands(version: SLOVersion, tmp_path: Path, capsys: Any) -> None:
    count(version, (200, Counts(good=1)), (1, Counts(good=9, bad=91)), (0, Counts(good=1)))
    month = f"{database_now():%Y-%m}"
    pdf = tmp_path / "report.pdf"
    code, rows = run("report", "gateway", month, "--pdf", str(pdf), "--format", "json", capsys=capsys)
    assert (code, rows[0]["verdict"], rows[0]["bad"]) == (1, "breached", 91)
    assert pdf.read_bytes().startswith(b"%PDF-")
    assert run("report", "gateway", "2026-Q9", capsys=capsys)[0] == 2
    code, rows = run("findings", "--format", "json", capsys=capsys)
    assert (code, rows[0]["finding"]) == (1, "GAPS")
    assert run("capacity", "--format", "json", capsys=capsys) == (0, [])
    assert run("whatif", "gateway-ttft", "--le", "0.5", capsys=capsys)[0] == 2
    code, judged = run("whatif", "gateway-ttft", "--target", "0.05", "--format", "json", capsys=capsys)
    assert (code, judged["bad"]) == (0, 91)
    assert run("attribution", "gateway-ttft", capsys=capsys)[0] == 0


def test_what_is_not_measured_cannot_be_told(version: SLOVersion, capsys: Any) -> None:
    assert run("status", capsys=capsys)[0] == 3
    assert run("gate", "--service", "gateway", capsys=capsys)[0] == 3


def test_apply_refuses_a_bad_file_and_a_dry_run_changes_nothing(catalog: None, tmp_path: Path, capsys: Any) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(TTFT)
    bad.write_text(TTFT.replace("0.95", "7"))
    assert run("apply", str(good), "--dry-run", capsys=capsys)[0] == 0
    assert not SLO.objects.exists()
    assert run("apply", str(bad), capsys=capsys)[0] == 2
    assert run("apply", str(good), capsys=capsys)[0] == 0
    assert SLO.objects.count() == 1


def test_the_action_says_yes_only_to_what_was_measured(version: SLOVersion) -> None:
    arguments = {"slo": "gateway-ttft", "max_burn_rate": 1.0, "window": "5m"}
    assert not run_action("slo.status", arguments, idempotency_key="1").ok
    count(version, (1, Counts(good=100)), (0, Counts(good=1)))
    assert run_action("slo.status", arguments, idempotency_key="2").ok
    count(version, (0, Counts(bad=30)))
    answer = run_action("slo.status", arguments, idempotency_key="3")
    assert not answer.ok
    assert "burn rate" in answer.error
    assert not run_action("slo.status", {"slo": "nothing"}, idempotency_key="4").ok


def test_rest_lists_shows_and_applies(version: SLOVersion, viewer: User) -> None:
    count(version, (0, Counts(good=9, bad=1)))
    client = signed_in(viewer)
    assert client.get("/api/v1/slos/").json()[0]["bad"] == 1
    assert set(client.get("/api/v1/slos/gateway-ttft/").json()[0]["burn_rates"]) == set(burn_rates(slo=version.slo))
    assert client.get("/api/v1/slos/other/").status_code == 404
    assert Client().get("/api/v1/slos/").status_code in {401, 403}
    documents = [data for data, _ in load_yaml_documents(TTFT, source="x")]
    refused = client.post("/api/v1/slos/", json.dumps(documents), content_type="application/json")
    assert refused.status_code == 403


def test_a_status_of_many_slos_asks_a_fixed_number_of_queries(
    version: SLOVersion, django_assert_num_queries: Any
) -> None:
    from reliability.selectors import budget_statuses

    for number in range(5):
        apply(TTFT.replace("gateway-ttft", f"copy-{number}"))
    count(version, (0, Counts(good=9, bad=1)))
    slos = list(SLO.objects.select_related("service"))
    now = database_now()
    with django_assert_num_queries(11):
        assert len(budget_statuses(slos, now=now)) == 6
