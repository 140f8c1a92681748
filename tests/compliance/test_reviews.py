"""Evidence and exceptions need a second pair of eyes; what cannot be right is put aside with a reason and recorded."""

import io
import zipfile
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from accounts.data import Principal, Role
from accounts.models import User
from accounts.selectors import principal_for_user
from compliance.domain.uploads import judge_file
from compliance.models import Control, ControlException, Engagement, Evidence
from compliance.services import (
    Submission,
    accept_evidence,
    create_engagement,
    reject_evidence,
    submit_evidence,
)
from compliance.services.audits import close_engagement
from core.parsing import InputRefusedError
from ledger.selectors import entries

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("content")]
NOW = timezone.now()


def control(slug: str = "risks-assessed") -> Control:
    return Control.objects.get(slug=slug)


def submission(**changes: object) -> Submission:
    given: dict[str, object] = {
        "title": "Minutes",
        "statement": "The review took place.",
        "period_start": NOW - timedelta(days=40),
        "period_end": NOW - timedelta(days=10),
    }
    return Submission(**{**given, **changes})  # type: ignore[arg-type]


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def kinds() -> list[str]:
    return [one.entry_type for one in entries() if one.entry_type.startswith("evidence.")]


def test_evidence_counts_only_once_somebody_else_accepts_it(manager: Principal, person: Callable[..., User]) -> None:
    found = submit_evidence(principal=manager, control=control(), submission=submission())
    assert found.state == Evidence.State.SUBMITTED
    with pytest.raises(PermissionDenied):
        accept_evidence(principal=manager, evidence=found)
    bob = principal_for_user(user=person("bob", Role.APPROVER))
    accept_evidence(principal=bob, evidence=found)
    accepted = entries(types=["evidence.accepted"]).get()
    assert accepted.occurred_at == found.period_end
    assert kinds() == ["evidence.accepted", "evidence.submitted"]
    with pytest.raises(InputRefusedError):
        reject_evidence(principal=bob, evidence=found, reason="too late")


def test_a_correction_supersedes_and_overwrites_nothing(manager: Principal, person: Callable[..., User]) -> None:
    bob = principal_for_user(user=person("bob", Role.APPROVER))
    first = submit_evidence(principal=manager, control=control(), submission=submission())
    accept_evidence(principal=bob, evidence=first)
    second = submit_evidence(
        principal=manager, control=control(), submission=submission(title="Minutes, corrected"), supersedes=first
    )
    first.refresh_from_db()
    assert first.state == Evidence.State.ACCEPTED
    accept_evidence(principal=bob, evidence=second)
    first.refresh_from_db()
    assert (first.state, first.title) == (Evidence.State.SUPERSEDED, "Minutes")
    with pytest.raises(InputRefusedError, match="nothing supersedes yet"):
        submit_evidence(principal=manager, control=control(), submission=submission(), supersedes=first)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"period_end": NOW + timedelta(days=2)}, "still to come"),
        ({"observed_at": NOW + timedelta(days=2)}, "still to come"),
        ({"period_start": NOW}, "ends before it starts"),
        ({"statement": ""}, "neither a file nor a statement"),
        ({"content": b"MZ\x90\x00", "file_name": "a.pdf"}, "kind that is not kept"),
        ({"content": b"%PDF-1.7", "file_name": "a.csv"}, "the name ends in .csv"),
        ({"content": b"", "file_name": "a.csv"}, "the file is empty"),
    ],
)
def test_what_cannot_be_right_is_put_aside_and_recorded(
    changes: dict[str, object], reason: str, manager: Principal
) -> None:
    found = submit_evidence(principal=manager, control=control(), submission=submission(**changes))
    assert found.state == Evidence.State.QUARANTINED
    assert reason in found.reason
    assert found.sha256 == ""
    refused = entries(types=["evidence.refused"]).get()
    assert refused.payload is not None
    assert refused.payload["by_rule"] is True


def test_a_closed_window_takes_no_more_evidence(manager: Principal) -> None:
    engagement: Engagement = create_engagement(
        principal=manager,
        slug="q3",
        name="Third quarter",
        frameworks=["soc2"],
        window_start=NOW - timedelta(days=60),
        window_end=NOW - timedelta(days=5),
    )
    close_engagement(principal=manager, engagement=engagement)
    found = submit_evidence(principal=manager, control=control(), submission=submission())
    assert "Third quarter, which is closed" in found.reason


def test_an_external_id_is_taken_once(manager: Principal) -> None:
    submit_evidence(principal=manager, control=control(), submission=submission(external_id="a-1"))
    with pytest.raises(InputRefusedError, match="external_id"):
        submit_evidence(principal=manager, control=control(), submission=submission(external_id="a-1"))


def test_bombs_and_climbing_paths_are_not_kept() -> None:
    def packed(name: str, content: bytes) -> bytes:
        raw = io.BytesIO()
        with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, content)
        return raw.getvalue()

    assert "times its size" in judge_file(packed("a.txt", b"0" * 20_000_000), name="a.zip").problem
    assert "leads out of it" in judge_file(packed("../../etc/passwd", b"x"), name="a.zip").problem
    assert "another archive" in judge_file(packed("b.zip", b"x"), name="a.zip").problem
    assert judge_file(packed("a.txt", b"x"), name="a.zip").problem == ""


def test_the_pages_take_a_file_through_its_review(manager: Principal, person: Callable[..., User]) -> None:
    carol, bob = signed_in(User.objects.get(username="carol")), signed_in(person("bob", Role.APPROVER))
    day = (NOW - timedelta(days=3)).date().isoformat()
    answer = carol.post(
        "/controls/risks-assessed/evidence/add/",
        {
            "title": "Register",
            "period_start": day,
            "period_end": day,
            "sensitivity": "internal",
            "file": SimpleUploadedFile("register.csv", b"risk,score\nfire,3\n"),
        },
    )
    assert answer.status_code == 302
    found = Evidence.objects.get()
    assert carol.post(found.get_absolute_url(), {"do": "accept"}).status_code == 403
    assert b"somebody else must review" in carol.get(found.get_absolute_url()).content
    assert bob.get("/compliance/evidence/").status_code == 200
    assert b"Accept" in bob.get(found.get_absolute_url()).content
    bob.post(found.get_absolute_url(), {"do": "accept"})
    found.refresh_from_db()
    assert found.state == Evidence.State.ACCEPTED
    file = carol.get(f"{found.get_absolute_url()}file/")
    assert (file.content, file["Content-Type"]) == (b"risk,score\nfire,3\n", "application/octet-stream")
    assert signed_in(person("victor", Role.VIEWER)).get(found.get_absolute_url()).status_code == 403


def test_the_pages_take_an_exception_through_four_eyes(manager: Principal, person: Callable[..., User]) -> None:
    carol, bob = signed_in(User.objects.get(username="carol")), signed_in(person("bob", Role.APPROVER))
    soon, late = (NOW + timedelta(days=9)).date().isoformat(), (NOW + timedelta(days=900)).date().isoformat()
    asked = {"control": "risks-assessed", "reason": "The owner is away.", "expires_on": late}
    refused = carol.post("/compliance/exceptions/add/", asked)
    assert (refused.status_code, b"within 366 days" in refused.content) == (400, True)
    assert b"The owner is away." in refused.content
    carol.post("/compliance/exceptions/add/", {**asked, "expires_on": soon})
    found = ControlException.objects.get()
    assert carol.post(found.get_absolute_url(), {"do": "approve"}).status_code == 403
    bob.post(found.get_absolute_url(), {"do": "approve"})
    found.refresh_from_db()
    assert found.state_at(timezone.now()) == "approved"
    assert found.state_at(timezone.now() + timedelta(days=10)) == "expired"


def test_an_audit_is_created_and_opened_to_an_auditor_on_pages(manager: Principal, person: Callable[..., User]) -> None:
    carol, user = signed_in(User.objects.get(username="carol")), person("ada", Role.AUDITOR)
    ada = signed_in(user)
    asked = {
        "name": "SOC 2",
        "slug": "soc2-now",
        "kind": "type-2",
        "frameworks": ["soc2"],
        "window_start": "2026-01-01",
        "window_end": "2026-12-31",
    }
    assert carol.post("/audits/add/", asked).status_code == 302
    assert carol.post("/audits/add/", asked).status_code == 400
    assert ada.get("/audits/soc2-now/").status_code == 403
    until = (NOW + timedelta(days=30)).date().isoformat()
    assert carol.post("/audits/soc2-now/auditors/add/", {"auditor": user.pk, "expires_on": until}).status_code == 302
    assert ada.get("/audits/soc2-now/").status_code == 200
    assert ada.get("/audits/add/").status_code == 403
    assert ada.post("/audits/soc2-now/close/").status_code == 403
    grant = Engagement.objects.get().grants.get()
    assert ada.post(f"/audits/soc2-now/auditors/{grant.pk}/revoke/").status_code == 403
    carol.post(f"/audits/soc2-now/auditors/{grant.pk}/revoke/")
    assert ada.get("/audits/soc2-now/").status_code == 403
