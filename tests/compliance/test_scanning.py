"""A scan counts only when it proves that everything was looked at."""

from pathlib import Path

import orjson
import pytest

from accounts.data import system_principal
from compliance.services import scan_path
from compliance.services.scanning import judge_report
from core.parsing import InputRefusedError

SUMMARY = {"passed": 3, "failed": 1, "parsing_errors": 0, "resource_count": 2, "checkov_version": "3.3.30"}
FAILED = {
    "check_id": "CKV_AWS_20",
    "resource": "aws_s3_bucket.b",
    "check_result": {"entity": {"password": "hunter2"}},
    "code_block": [[1, "password = hunter2"]],
}


def report(**changes: object) -> dict[str, object]:
    results = {"failed_checks": [FAILED], "skipped_checks": [], "passed_checks": []}
    return {"check_type": "terraform", "results": results, "summary": {**SUMMARY, **changes}}


def test_a_report_of_one_and_of_several_frameworks_is_read() -> None:
    assert judge_report(report(), root="x").valid
    assert judge_report([report(), report()], root="x").resources == 4


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (report(parsing_errors=1), "1 files could not be parsed"),
        ({"passed": 0, "failed": 0, "parsing_errors": 0, "resource_count": 0}, "no resource was found"),
        (report(resource_count=0), "no resource was found"),
        ([], "no resource was found"),
        ("nonsense", "no resource was found"),
    ],
)
def test_what_does_not_prove_itself_is_not_valid(found: object, reason: str) -> None:
    judged = judge_report(found, root="x")
    assert not judged.valid
    assert judged.reason == reason


def test_secrets_in_findings_are_not_kept() -> None:
    judged = judge_report(report(), root="x")
    assert b"hunter2" not in judged.report
    assert orjson.loads(judged.report)["failed_checks"][0]["check_id"] == "CKV_AWS_20"


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputRefusedError, match="no such folder"):
        scan_path(principal=system_principal("test"), path=tmp_path / "nowhere")


def test_a_missing_tool_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compliance.services.scanning.checkov_path", lambda: tmp_path / "checkov")
    with pytest.raises(InputRefusedError, match="Checkov is not installed"):
        scan_path(principal=system_principal("test"), path=tmp_path)
