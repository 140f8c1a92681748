"""A database that is read-only or full, a full disk: what can be read is shown, changes are refused with what to do."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client

from accounts.data import Capability, Role, system_principal
from accounts.models import User
from accounts.selectors import principal_for_user
from accounts.services import create_api_token, create_user, grant_role
from core.clock import database_now

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]
SITE = system_principal("test")


@contextmanager
def read_only() -> Iterator[None]:
    """Have the engine itself refuse writes."""
    on, off = (
        ("PRAGMA query_only = ON", "PRAGMA query_only = OFF")
        if connection.vendor == "sqlite"
        else ("SET default_transaction_read_only = on", "SET default_transaction_read_only = off")
    )
    with connection.cursor() as cursor:
        cursor.execute(on)
        try:
            yield
        finally:
            cursor.execute(off)


@contextmanager
def full() -> Iterator[None]:
    """Have the engine itself find no room for another page of its file."""
    if connection.vendor != "sqlite":
        pytest.skip("needs SQLite: only there can one connection be out of room")
    with connection.cursor() as cursor:
        # What earlier tests have deleted has left pages that would be used first.
        cursor.execute("VACUUM")
        cursor.execute("PRAGMA page_count")
        (pages,) = cursor.fetchone()
        cursor.execute("PRAGMA max_page_count")
        (most,) = cursor.fetchone()
        cursor.execute(f"PRAGMA max_page_count = {pages}")
        try:
            yield
        finally:
            cursor.execute(f"PRAGMA max_page_count = {most}")


@pytest.fixture
def admin() -> User:
    user = create_user(principal=SITE, username="adam", password=None)
    grant_role(principal=SITE, user=user, role=Role.ADMIN)
    return user


def signed_in(user: User) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(user)
    return client


def until_refused(add: Callable[[str], Any]) -> tuple[Any, set[str]]:
    """Add people until one is refused: a full disk has room for what fits into a page that is there already."""
    kept: set[str] = set()
    for number in range(200):
        answer = add(f"late-{number}")
        if answer.status_code == 503:
            return answer, kept
        assert answer.status_code in {201, 302}, answer.content
        kept.add(f"late-{number}")
    raise AssertionError("never refused")


CASES = pytest.mark.parametrize(
    ("trouble", "headline"),
    [(read_only, "The database takes no writes"), (full, "The disk of the database is full")],
)
Case = Callable[[], AbstractContextManager[None]]


@CASES
def test_pages_are_read_and_changes_refused_with_what_still_works(admin: User, trouble: Case, headline: str) -> None:
    client = signed_in(admin)
    client.get("/")
    # A minute later the use of the session would be noted.
    with time_machine.travel(database_now() + timedelta(minutes=5), tick=True), trouble():
        for path in ("/", "/services/", "/incidents/", "/ledger/", "/settings/people/"):
            assert client.get(path).status_code == 200, path
        form = {"full_name": "Late Comer", "time_zone": "UTC", "password": "a long enough password"}
        answer, kept = until_refused(lambda name: client.post("/settings/people/add/", {**form, "username": name}))
        assert int(answer["Retry-After"]) >= 30
        page = answer.content.decode()
        assert headline in page
        assert "Pages can be read as before" in page
    assert set(User.objects.filter(username__startswith="late").values_list("username", flat=True)) == kept
    assert signed_in(admin).get("/").status_code == 200


@CASES
def test_programs_are_told_to_send_again_and_nothing_is_half_kept(admin: User, trouble: Case, headline: str) -> None:
    _, secret = create_api_token(
        principal=principal_for_user(user=admin),
        owner=admin,
        name="pipeline",
        scopes=[Capability.OPERATIONS_VIEW, Capability.CATALOG_EDIT, Capability.SITE_ADMIN],
    )
    client = Client(raise_request_exception=False, headers={"Authorization": f"Bearer {secret}"})
    with trouble():
        assert client.get("/api/v1/services/").status_code == 200
        answer, kept = until_refused(
            lambda name: client.post("/api/v1/users/", {"username": name}, content_type="application/json")
        )
        assert headline in answer.json()["detail"]
        assert int(answer["Retry-After"]) >= 30
    assert set(User.objects.filter(username__startswith="late").values_list("username", flat=True)) == kept


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a small disk is mounted")
def test_a_full_disk_for_files_refuses_what_needs_one_and_nothing_else(
    admin: User, tmp_path: Path, settings: Any
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", disk], check=False).returncode:
        pytest.skip("no small disk can be mounted here")
    settings.ARTIFACT_STORE_URL = f"file://{disk}"
    run = {"tool": {"driver": {"name": "scanner"}}, "results": [], "properties": {"note": "x" * 100_000}}
    report = json.dumps({"version": "2.1.0", "runs": [run]}).encode()
    client = signed_in(admin)
    try:
        form = {"kind": "sarif", "scope": "repo:gateway", "file": SimpleUploadedFile("report.sarif", report)}
        page = client.post("/compliance/weaknesses/add/", form)
        assert (page.status_code, page["Retry-After"]) == (503, "60"), page.content.decode()
        assert "The disk for files is full" in page.content.decode()
        assert "people are paged" in page.content.decode()
        address = "/api/v1/compliance/scanner-reports/?scope=repo:gateway"
        refused = client.post(address, report, content_type="application/json")
        assert refused.status_code == 503
        assert "The disk for files is full; nothing of this request was kept." in refused.json()["detail"]
        assert list(disk.rglob("*.*")) == []
        assert client.get("/compliance/weaknesses/").status_code == 200
        form = {"username": "late", "full_name": "Late Comer", "time_zone": "UTC", "password": "a long enough password"}
        assert client.post("/settings/people/add/", form).status_code == 302
    finally:
        subprocess.run(["umount", "-l", disk], check=True)
    assert client.post(address, report, content_type="application/json").status_code == 201
