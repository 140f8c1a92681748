"""Audits: who may read what, and packs that verify without the site."""

import subprocess
import sys
import zipfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.exceptions import PermissionDenied
from django.utils import timezone

from accounts.data import Principal, Role, system_principal
from accounts.models import User
from accounts.selectors import principal_for_user
from compliance.models import ControlRequirement, Engagement, PackExport
from compliance.selectors import access_of, controls_visible, frameworks_visible
from compliance.services import create_engagement, grant_auditor, request_export, revoke_auditor, run_checks
from compliance.services.audits import EXPORT_QUEUE
from core.parsing import InputRefusedError
from core.work import drain
from ledger.services import PackTooLargeError, read_artifact, seal_pending

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("content")]
SITE = system_principal("test")
VERIFIER = Path(__file__).resolve().parents[2] / "ledger" / "pack" / "verify.py"


@pytest.fixture
def engagement(manager: Principal) -> Engagement:
    now = timezone.now()
    return create_engagement(
        principal=manager,
        slug="soc2-2026",
        name="SOC 2, 2026",
        frameworks=["soc2"],
        window_start=now - timedelta(days=30),
        window_end=now + timedelta(days=30),
    )


def test_the_role_auditor_alone_opens_nothing(person: Callable[..., User], engagement: Engagement) -> None:
    ada = principal_for_user(user=person("ada", Role.AUDITOR))
    assert not access_of(ada).anything
    assert not controls_visible(access=access_of(ada)).exists()
    with pytest.raises(PermissionDenied):
        request_export(principal=ada, engagement=engagement)


def test_a_grant_opens_the_frameworks_of_its_engagement_and_nothing_else(
    person: Callable[..., User], engagement: Engagement, manager: Principal
) -> None:
    user = person("ada", Role.AUDITOR)
    ada = principal_for_user(user=user)
    grant = grant_auditor(
        principal=manager, engagement=engagement, user_id=user.pk, expires_at=timezone.now() + timedelta(days=1)
    )
    assert [one.slug for one in frameworks_visible(access=access_of(ada))] == ["soc2"]
    assert not access_of(ada, now=timezone.now() + timedelta(days=2)).anything
    revoke_auditor(principal=manager, grant=grant)
    assert not access_of(ada).anything


def test_only_somebody_with_the_role_auditor_is_granted(
    person: Callable[..., User], engagement: Engagement, manager: Principal
) -> None:
    user = person("victor", Role.VIEWER)
    with pytest.raises(InputRefusedError):
        grant_auditor(
            principal=manager, engagement=engagement, user_id=user.pk, expires_at=timezone.now() + timedelta(days=1)
        )


def test_a_pack_verifies_offline_and_lists_what_is_missing(
    person: Callable[..., User], engagement: Engagement, manager: Principal, tmp_path: Path
) -> None:
    user = person("ada", Role.AUDITOR)
    grant_auditor(
        principal=manager, engagement=engagement, user_id=user.pk, expires_at=timezone.now() + timedelta(days=1)
    )
    ControlRequirement.objects.filter(requirement__framework__slug="soc2", requirement__ref="CC1.1").delete()
    seal_pending()
    run_checks()
    seal_pending()
    export = request_export(principal=principal_for_user(user=user), engagement=engagement)
    assert drain(EXPORT_QUEUE) == 1
    export.refresh_from_db()
    assert (export.state, export.done) == (PackExport.State.COMPLETED, export.total), export.last_error
    assert export.entries > 0
    missing = {one["what"]: one["reason"] for one in export.omissions}
    assert any(what.startswith("SOC 2 CC1.1 ") and "no control" in reason for what, reason in missing.items()), missing
    assert missing["proof of the control backups-restored"].startswith("not tested"), missing
    file = tmp_path / "pack.zip"
    file.write_bytes(read_artifact(export.sha256) or b"")
    names = zipfile.ZipFile(file).namelist()
    assert "documents/controls.html" in names
    assert "documents/controls/rights-on-record/occurrences.csv" in names
    answer = subprocess.run(
        [sys.executable, VERIFIER, file, "--key", export.key], capture_output=True, text=True, check=False, timeout=60
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_a_pack_that_would_be_too_large_fails_with_its_reason(
    engagement: Engagement, manager: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PackTooLargeError("narrow it")

    monkeypatch.setattr("compliance.services.audits.write_pack", refuse)
    export = request_export(principal=manager, engagement=engagement)
    drain(EXPORT_QUEUE)
    export.refresh_from_db()
    assert (export.state, export.last_error) == (PackExport.State.FAILED, "narrow it")
