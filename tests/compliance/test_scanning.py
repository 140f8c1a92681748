"""A scan counts only when it proves that everything was looked at."""

import io
import zipfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from accounts.data import Principal, Role, system_principal
from accounts.models import User
from accounts.selectors import principal_for_user
from compliance.domain.scans import judge_report
from compliance.models import Control, Occurrence, ScanRun
from compliance.selectors.scans import findings_by_file
from compliance.services import (
    approve_exception,
    request_exception,
    run_checks,
    scan_git,
    scan_path,
)
from compliance.services.scan_runs import SCAN_QUEUE
from compliance.services.scanning import checkov_path
from core.parsing import InputRefusedError
from core.work import drain
from ledger.selectors import entries
from ledger.services import seal_pending

SITE = system_principal("test")

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
    assert judge_report(report()).valid
    assert judge_report([report(), report()]).resources == 4


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
    judged = judge_report(found)
    assert not judged.valid
    assert judged.reason == reason


def test_secrets_in_findings_are_not_kept() -> None:
    judged = judge_report(report())
    assert b"hunter2" not in orjson.dumps(judged.kept)
    assert judged.kept["failed_checks"][0]["check_id"] == "CKV_AWS_20"


def test_a_missing_tool_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compliance.services.scanning.checkov_path", lambda: tmp_path / "checkov")
    with pytest.raises(InputRefusedError, match="Checkov is not installed"):
        scan_path(principal=SITE, path=tmp_path)


TERRAFORM = """
resource "aws_s3_bucket" "logs" { bucket = "logs" }
resource "aws_security_group" "web" {
  #checkov:skip=CKV_AWS_24:the bastion needs it until the move
  name        = "web"
  description = "web"
  ingress {
    description = "ssh"
    from_port   = 22
    to_port     = 22
    protocol    = "tcp"
    cidr_blocks = ["0.0.0.0/0"]
  }
}
"""
real = [
    pytest.mark.integration,
    pytest.mark.django_db,
    pytest.mark.usefixtures("content", "checkov"),
    pytest.mark.skipif(not checkov_path().is_file(), reason="needs Checkov: make checkov"),
]


def with_marks(test: Callable[..., None]) -> Callable[..., None]:
    for mark in real:
        test = mark(test)
    return test


# Says again what Checkov said of the same files: it takes seconds of processor time to look at them.
REMEMBERING = """#!/bin/bash
same=(--sort=name --mtime=@0 --mode=0700 --owner=0 --group=0 --numeric-owner)
said="{folder}/$(tar "${{same[@]}}" -C "$2" -cf - . | sha256sum | cut -c 1-64)"
[ -e "$said" ] || {tool} "$@" >"$said"
cat "$said"
"""


@pytest.fixture(scope="module")
def remembering(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkov")
    program = folder / "checkov"
    program.write_text(REMEMBERING.format(folder=folder, tool=checkov_path()))
    program.chmod(0o700)
    return program


@pytest.fixture
def checkov(remembering: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compliance.services.scanning.checkov_path", lambda: remembering)


def recorded() -> dict[str, Any]:
    entry = entries(types=["iac.scanned"]).first()
    assert entry is not None
    assert entry.payload is not None
    return entry.payload


@with_marks
def test_real_infrastructure_is_scanned_and_each_skip_needs_an_approved_exception(
    tmp_path: Path, manager: Principal, person: Callable[..., User]
) -> None:
    code = tmp_path / "code"
    (code / "infra").mkdir(parents=True)
    (code / "infra" / "main.tf").write_text(TERRAFORM)
    found = scan_path(principal=manager, path=code, commit="abc")
    assert found.valid
    assert [one.check for one in found.judged.unexcused] == ["CKV_AWS_24"]
    assert found.judged.categories["NETWORKING"].unexcused_skips == 1
    assert recorded()["unexcused_skips"] == 1

    exception = request_exception(
        principal=manager,
        control=Control.objects.get(slug="infrastructure-scanned"),
        reason="The bastion moves in spring.",
        covers="CKV_AWS_24 aws_security_group.web",
        expires_at=timezone.now() + timedelta(days=30),
    )
    assert scan_path(principal=manager, path=code).judged.unexcused
    bob = principal_for_user(user=person("bob", Role.APPROVER))
    approve_exception(principal=bob, exception=exception)
    found = scan_path(principal=manager, path=code)
    assert not found.judged.unexcused
    assert recorded()["skipped"][0]["excused_by"] == f"exception:{exception.pk}"


@with_marks
@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("broken", "1 files could not be parsed"),
        ("empty", "no resource was found"),
        ("missing", "the folder does not exist"),
    ],
)
def test_none_of_these_reads_as_a_pass(kind: str, reason: str, tmp_path: Path) -> None:
    place = tmp_path / kind
    if kind != "missing":
        place.mkdir()
    if kind == "broken":
        (place / "main.tf").write_text(TERRAFORM)
        (place / "bad.tf").write_text('resource "aws_s3_bucket" {{{ nope')
    with pytest.raises(CommandError) as ended:
        call_command("compliance", "scan", str(place))
    assert ended.value.returncode == 3
    assert (recorded()["valid"], recorded()["reason"]) == (False, reason)
    seal_pending()
    run_checks(control="infrastructure-scanned")
    assert not Occurrence.objects.filter(
        check_run__control__slug="infrastructure-scanned", check_run__slug="valid-scan", outcome="passed"
    ).exists()


def packed(content: str | bytes) -> SimpleUploadedFile:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("infra/main.tf", content)
    return SimpleUploadedFile("infra.zip", whole.getvalue())


@with_marks
def test_an_archive_is_scanned_from_a_page_and_a_bomb_is_not(manager: Principal) -> None:
    client = Client()
    client.force_login(User.objects.get(username="carol"))
    asked = client.post("/compliance/scans/add/", {"archive": packed(TERRAFORM)})
    assert asked.status_code == 302, asked.content
    waiting = client.get(asked["Location"]).content.decode()
    assert "Waiting for a worker" in waiting
    drain(SCAN_QUEUE)
    run = ScanRun.objects.get()
    assert (run.state, run.valid, run.unexcused_skips, recorded()["source"]) == ("completed", True, 1, "archive")
    page = client.get(asked["Location"]).content.decode()
    assert "DEVIATES" in page.upper()
    assert "/infra/main.tf" in page
    skipped = [one for one in run.findings if one["skipped"]]
    assert [(one["check"], one["category"]) for one in skipped] == [("CKV_AWS_24", "NETWORKING")]
    assert "covers=CKV_AWS_24%20aws_security_group.web" in page
    form = client.get("/compliance/exceptions/add/?control=infrastructure-scanned&covers=CKV_AWS_24").content.decode()
    assert 'value="CKV_AWS_24"' in form
    assert b"Show what it found" in client.get(f"{asked['Location']}progress/").content

    asked = client.post("/compliance/scans/add/", {"archive": packed(b"0" * 30_000_000)})
    drain(SCAN_QUEUE)
    bomb = ScanRun.objects.first()
    assert bomb is not None
    assert bomb.state == "failed"
    assert "times its size" in client.get(asked["Location"]).content.decode()


@pytest.mark.django_db
@pytest.mark.usefixtures("content")
def test_a_scan_is_asked_for_with_one_source_that_may_be_reached(manager: Principal) -> None:
    client = Client()
    client.force_login(User.objects.get(username="carol"))
    for wrong in ({}, {"url": "https://127.0.0.1/x"}, {"archive": SimpleUploadedFile("x.zip", b"plain text")}):
        assert client.post("/compliance/scans/add/", wrong).status_code == 400
    assert b"Folder on the machine" not in client.get("/compliance/scans/add/").content
    client.post("/compliance/scans/add/", {"path": "/etc"})
    assert not ScanRun.objects.exists(), "a folder is for administrators"


def test_findings_are_grouped_by_file() -> None:
    run = ScanRun(
        findings=[{"file": "a.tf", "line": 3, "excused_by": ""}, {"file": "", "line": None, "excused_by": "x"}]
    )
    assert [(one.title, one.open) for one in findings_by_file(run.findings)] == [("a.tf", 1), ("no file", 0)]


@pytest.mark.django_db
@pytest.mark.parametrize(
    "url", ["http://example.org/x", "https://user@example.org/x", "https://127.0.0.1/x", "file:///etc", "--upload-pack"]
)
def test_a_repository_is_fetched_from_public_https_only(url: str) -> None:
    with pytest.raises(InputRefusedError):
        scan_git(principal=SITE, url=url)
