"""What leaves the site: OSCAL that others can load, statements, registers, the report."""

import copy
import io
import subprocess
import zipfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from django.test import Client
from django.utils import timezone

from accounts.data import Principal, Role, system_principal
from accounts.models import User
from accounts.selectors import principal_for_user
from compliance.domain.oscal import TOKEN, control_token, dangling, empty_arrays
from compliance.models import ControlException, Engagement, Framework, PackExport, Requirement
from compliance.services import approve_exception, create_engagement, request_exception, request_export, run_checks
from compliance.services.audits import EXPORT_QUEUE
from compliance.services.exports import decide_applicability, statement_of_applicability
from core.parsing import InputRefusedError
from core.work import drain
from ledger.services import read_artifact, seal_pending

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("content")]
SITE = system_principal("test")
TRESTLE = Path(__file__).resolve().parents[2] / ".venv-trestle" / "bin" / "python"
LOAD = """
import sys
from trestle.oscal.assessment_plan import AssessmentPlan
from trestle.oscal.assessment_results import AssessmentResults
from pathlib import Path
results = AssessmentResults.oscal_read(Path(sys.argv[1]) / "assessment-results.json")
plan = AssessmentPlan.oscal_read(Path(sys.argv[1]) / "assessment-plan.json")
print(len(results.results), sum(len(one.findings) for one in results.results), plan.uuid)
"""


@pytest.fixture
def pack(manager: Principal, person: Callable[..., User]) -> dict[str, bytes]:
    """A pack of both frameworks with an approved exception."""
    now = timezone.now()
    engagement: Engagement = create_engagement(
        principal=manager,
        slug="both",
        name="Both, 2026",
        frameworks=["soc2", "iso27001", "gdpr"],
        window_start=now - timedelta(days=30),
        window_end=now + timedelta(days=30),
    )
    control = Framework.objects.get(slug="soc2").requirements.get(ref="A1.3").controls.first()
    assert control is not None
    exception: ControlException = request_exception(
        principal=manager, control=control, reason="The lab moves.", expires_at=now + timedelta(days=20)
    )
    approver = principal_for_user(user=person("bob", Role.APPROVER, Role.COMPLIANCE_MANAGER))
    approve_exception(principal=approver, exception=exception)
    seal_pending()
    run_checks()
    seal_pending()
    export = request_export(principal=manager, engagement=engagement)
    assert drain(EXPORT_QUEUE) == 1
    export.refresh_from_db()
    assert export.state == PackExport.State.COMPLETED, export.last_error
    with zipfile.ZipFile(io.BytesIO(read_artifact(export.sha256) or b"")) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_a_pack_holds_oscal_a_report_and_every_register(pack: dict[str, bytes], tmp_path: Path) -> None:
    results = orjson.loads(pack["documents/oscal/assessment-results.json"])
    plan = orjson.loads(pack["documents/oscal/assessment-plan.json"])
    for document in (results, plan):
        assert dangling(document) == []
        assert empty_arrays(document) == []
    found = {one["title"].split()[0]: one for one in results["assessment-results"]["results"]}
    findings = [finding for one in found.values() for finding in one["findings"]]
    assert len(findings) == Requirement.objects.filter(framework__slug__in=["soc2", "iso27001", "gdpr"]).count()
    assert {one["target"]["status"]["state"] for one in findings} <= {"satisfied", "not-satisfied"}
    assert all(TOKEN.match(one["target"]["target-id"]) for one in findings)
    assert any(risk["status"] == "deviation-approved" for one in found.values() for risk in one.get("risks", []))
    assert pack["documents/report.pdf"].startswith(b"%PDF-")
    names = {"risks", "vendors", "policies", "access-reviews", "changes", "exceptions", "evidence", "control-matrix"}
    assert {f"documents/registers/{name}.csv" for name in names} <= set(pack)
    assert b"The lab moves." in pack["documents/registers/exceptions.csv"]
    assert pack["documents/statement-of-applicability-iso27001.csv"].count(b"\r\n") == 124
    _trestle_loads(pack, tmp_path)


def _trestle_loads(pack: dict[str, bytes], folder: Path) -> None:
    if not TRESTLE.is_file():
        pytest.skip("needs compliance-trestle: make trestle")
    for name in ("assessment-results.json", "assessment-plan.json"):
        (folder / name).write_bytes(pack[f"documents/oscal/{name}"])
    command = [str(TRESTLE), "-W", "ignore", "-c", LOAD, str(folder)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert answer.returncode == 0, answer.stderr[-3000:]
    assert answer.stdout.startswith("3 ")


def test_a_reference_to_nothing_is_found() -> None:
    whole: dict[str, Any] = {
        "a": {"uuid": "1", "related": [{"observation-uuid": "1"}], "import-ap": {"href": "#1"}, "x": [1]}
    }
    assert dangling(whole) == []
    broken = copy.deepcopy(whole)
    broken["a"]["related"][0]["observation-uuid"] = "2"
    assert dangling(broken) == ["2"]
    assert empty_arrays({"a": {"findings": []}}) == ["findings"]


@pytest.mark.parametrize(
    ("ref", "token"), [("CC7.4", "CC7.4"), ("6.1.1", "cl-6.1.1"), ("32(1)(b)", "cl-32-1-b"), ("A.5.30", "A.5.30")]
)
def test_every_identifier_becomes_one_that_oscal_accepts(ref: str, token: str) -> None:
    assert control_token(ref) == token
    assert TOKEN.match(token)


def test_a_statement_of_applicability_gives_a_reason_for_every_line(manager: Principal) -> None:
    framework = Framework.objects.get(slug="iso27001")
    clear_desk = framework.requirements.get(ref="A.7.7")
    with pytest.raises(InputRefusedError, match="justification"):
        decide_applicability(principal=manager, requirement=clear_desk, applies=False, justification=" ")
    decide_applicability(
        principal=manager, requirement=clear_desk, applies=False, justification="Nobody works in an office."
    )
    lines = {one.ref: one for one in statement_of_applicability(framework, now=timezone.now())}
    assert len(lines) == 123
    assert (lines["A.7.7"].applies, lines["A.7.7"].justification) == ("no", "Nobody works in an office.")
    assert lines["A.5.30"].applies == "yes"
    assert lines["A.5.30"].controls
    assert all(one.justification for one in lines.values())


def test_exports_open_for_a_manager_and_not_for_a_stranger(manager: Principal, person: Any) -> None:
    client = Client()
    client.force_login(User.objects.get(username="carol"))
    page = client.get("/compliance/exports/").content.decode()
    assert "/compliance/iso27001/statement.pdf" in page
    assert client.get("/compliance/iso27001/statement.pdf").content.startswith(b"%PDF-")
    assert client.get("/compliance/iso27001/statement.csv").content.count(b"\r\n") == 124
    for name in ("control-matrix", "risks", "weaknesses"):
        assert client.get(f"/compliance/exports/{name}.csv").status_code == 200
    assert client.get("/compliance/exports/nothing.csv").status_code == 404
    client.force_login(person("victor", Role.VIEWER))
    for path in ("exports/", "exports/risks.csv", "iso27001/statement.pdf", "iso27001/a-7-7/applicability/"):
        assert client.get(f"/compliance/{path}").status_code == 403
