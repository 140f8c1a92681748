"""YAML is all or nothing and idempotent; commands answer in JSON and by exit code."""

from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import orjson
import pytest
from django.core.management import CommandError, call_command

from accounts.data import system_principal
from core.parsing import InputRefusedError, load_yaml_documents
from core.work import drain_all
from incidents.models import EscalationPolicy, Incident, Integration, Route, Schedule
from incidents.services import apply_documents
from ledger.models import LedgerEntry
from tests.incidents.conftest import World, an_alert
from tests.incidents.worlds import DOCUMENTS

pytestmark = [
    pytest.mark.django_db(transaction=True),
    # django-typer still uses the older name of an argument of typer.
    pytest.mark.filterwarnings("ignore:In Typer, only the parameter:DeprecationWarning"),
]

ADMIN = system_principal("test")


def apply(text: str) -> Any:
    return apply_documents(principal=ADMIN, documents=load_yaml_documents(text, source="x.yaml"), source="x.yaml")


def test_applying_the_same_again_changes_nothing(world: World) -> None:
    before = LedgerEntry.objects.count()
    assert apply(DOCUMENTS).new_tokens == {}
    assert Schedule.objects.get(slug="primary").versions.count() == 1
    assert LedgerEntry.objects.count() == before
    assert (Route.objects.count(), EscalationPolicy.objects.get().steps.count()) == (2, 2)


def test_changing_a_schedule_adds_a_version_and_keeps_the_past(world: World) -> None:
    apply(DOCUMENTS.replace("participants: [alice]", "participants: [bob]"))
    versions = list(Schedule.objects.get(slug="primary").versions.all())
    assert [version.number for version in versions] == [1, 2]
    assert versions[0].effective_from < versions[1].effective_from
    assert LedgerEntry.objects.filter(entry_type="oncall.schedule_declared").count() == 2


@pytest.mark.parametrize(
    ("found", "put", "says"),
    [
        ("kind: Route", "kind: Rout", "x.yaml:3 kind: found Rout; one of Integration"),
        ("severity: sev2", "severity: sev9", "spec.severity"),
        ('service="gateway"', "service==gateway", "is not a matcher"),
        ("time_zone: Europe/London", "time_zone: Europe/Londn", "is not an IANA time zone"),
        ("participants: [alice]", "participants: [alcie]", "found alcie; a user that exists"),
        ("quiet_period: 30s", "quiet_period: soon", "is not a duration"),
        ("position: 10", "posision: 10", "this key is not known here"),
        ("schedule: primary, wait", "schedule: secondary, wait", "found secondary; a schedule that exists"),
        ("{schedule: primary, wait: 5m}", "{wait: 5m}", "either a schedule or a user"),
        ("escalation_policy: gateway", "escalation_policy: nope", "found nope"),
        ("anchor_date: 2026-01-05", "anchor_date: 2026-13-05", "anchor_date"),
    ],
)
def test_a_document_with_a_mistake_is_refused_whole(world: World, found: str, put: str, says: str) -> None:
    Route.objects.all().delete()
    assert found in DOCUMENTS
    with pytest.raises(InputRefusedError) as refused:
        apply(DOCUMENTS.replace(found, put))
    assert says in str(refused.value)
    assert "x.yaml" in str(refused.value)
    assert Route.objects.count() == 0


def run(*arguments: str) -> tuple[int, Any]:
    """Return a command's exit code and what it printed, JSON parsed."""
    out = StringIO()
    code = 0
    with redirect_stdout(out):
        try:
            call_command(*arguments)
        except CommandError as error:
            code = error.returncode
    text = out.getvalue()
    return code, orjson.loads(text) if text.lstrip()[:1] in ("{", "[") else text


def test_the_commands_follow_an_incident(world: World, tmp_path: Path) -> None:
    world.post_alertmanager(an_alert())
    drain_all()
    reference = Incident.objects.get().reference
    code, rows = run("incident", "list", "--format", "json")
    assert (code, rows[0]["reference"]) == (1, reference)
    code, shown = run("incident", "show", reference, "--format", "json")
    assert (code, shown["timeline"][0]["kind"]) == (0, "alert")
    assert run("incident", "ack", reference)[0] == 2, "nobody in particular"
    assert run("incident", "ack", reference, "--as", "alice", "--format", "json")[1]["acknowledged_by"] == "alice"
    code, people = run("incident", "oncall", "primary", "--format", "json")
    assert (code, people[0]["username"]) == (0, "alice")
    assert run("incident", "oncall", "primary", "--at", "2020-01-01T00:00:00Z")[0] == 1
    assert run("incident", "oncall", "nope")[0] == 2
    assert run("incident", "resolve", reference, "--reason", "done", "--as", "alice")[0] == 0
    assert run("incident", "list", "--format", "json") == (0, [])
    assert run("incident", "show", "INC-999999")[0] == 2
    code, new = run("incident", "open", "By hand", "--severity", "sev1", "--service", "gateway", "--format", "json")
    assert (code, new["status"]) == (0, "triggered")
    code, rows = run("delivery", "list", "--format", "json")
    assert (code, {row["state"] for row in rows}) == (0, {"sent"})
    mail = next(row for row in rows if row["channel"] == "email")
    assert run("delivery", "redeliver", mail["reference"], "--format", "json")[1]["state"] == "pending"
    assert run("incident", "replay", "prometheus", "--since", "2020-01-01T00:00:00Z")[0] == 0


def test_an_integration_is_added_rotated_and_applied_by_command(world: World, tmp_path: Path) -> None:
    code, new = run("incident", "integration", "add", "second", "--kind", "alertmanager", "--format", "json")
    assert code == 0
    assert new["url"].endswith(f"/inbound/alertmanager/{new['token']}")
    assert run("incident", "integration", "add", "second", "--kind", "alertmanager")[0] == 2
    assert run("incident", "integration", "add", "own", "--kind", "internal")[0] == 2
    rotated = run("incident", "integration", "rotate", "second", "--format", "json")[1]
    assert rotated["token"] != new["token"]
    path = tmp_path / "more.yaml"
    path.write_text("apiVersion: assay/v1\nkind: Integration\nmetadata: {name: third}\nspec: {type: generic}\n")
    code, applied = run("incident", "apply", str(path), "--format", "json")
    assert (code, applied["applied"]) == (0, ["Integration/third"])
    assert Integration.objects.filter(slug="third").exists()
    path.write_text("kind: Integration\n")
    assert run("incident", "apply", str(path))[0] == 2


def test_the_example_of_the_reference_page_applies(world: World) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "reference" / "incidents.md"
    example = page.read_text("utf-8").split("```yaml\n")[1].split("```")[0]
    assert apply(example).names == [
        "Integration/uptime",
        "Schedule/inference-primary",
        "EscalationPolicy/inference",
        "Route/gateway-burn",
    ]
