"""REST of registers, of what is handed in, and of the audit room: it works, and it refuses who may not."""

import io
import zipfile
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from accounts.data import Principal, Role
from accounts.models import User
from compliance.api_urls import router
from compliance.models import AuditorAccess, Engagement, ScanRun
from compliance.services import create_engagement, grant_auditor

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("content")]
API = "/api/v1/compliance"
REGISTERS = ("risks", "vendors", "policies", "weaknesses", "access-reviews", "scans")
RISK = {
    "category": "security",
    "owner": "Carol",
    "inherent_likelihood": 3,
    "inherent_impact": 4,
    "residual_likelihood": 2,
    "residual_impact": 2,
    "treatment": "mitigate",
    "controls": ["access-reviewed"],
}


class Caller:
    """Somebody who is signed in and speaks JSON."""

    def __init__(self, user: User) -> None:
        self._client = Client()
        self._client.force_login(user)

    def __call__(self, verb: str, path: str, body: Any = None, *, expect: int = 200) -> Any:
        given = {} if body is None else {"data": body, "content_type": "application/json"}
        answer = getattr(self._client, verb)(f"{API}/{path}", **given)
        assert answer.status_code == expect, answer.content
        return answer.json() if answer.content else None

    def upload(self, path: str, body: dict[str, Any], *, expect: int) -> Any:
        answer = self._client.post(f"{API}/{path}", body)
        assert answer.status_code == expect, answer.content
        return answer.json()


@pytest.fixture
def carol(manager: Principal) -> Caller:
    return Caller(User.objects.get(username="carol"))


@pytest.fixture
def bob(person: Callable[..., User]) -> Caller:
    return Caller(person("bob", Role.APPROVER, Role.COMPLIANCE_MANAGER))


@pytest.fixture
def audits(manager: Principal, person: Callable[..., User]) -> tuple[Engagement, Engagement]:
    now = timezone.now()

    def audit(slug: str, framework: str) -> Engagement:
        return create_engagement(
            principal=manager,
            slug=slug,
            name=slug,
            frameworks=[framework],
            window_start=now - timedelta(days=90),
            window_end=now + timedelta(days=1),
        )

    mine, other = audit("mine", "soc2"), audit("other", "iso27001")
    ada = person("ada", Role.AUDITOR)
    grant_auditor(principal=manager, engagement=mine, user_id=ada.pk, expires_at=now + timedelta(days=9))
    return mine, other


def test_risks_are_assessed_filtered_accepted_and_closed(carol: Caller, bob: Caller) -> None:
    body = {"title": "Rights outlive people", "spec": RISK}
    made = carol("put", "risks/rights/", body)
    assert (made["slug"], made["inherent_score"], made["controls"]) == ("rights", 12, ["access-reviewed"])
    assert [one["slug"] for one in carol("get", "risks/?category=security&open=true")["results"]] == ["rights"]
    assert carol("get", "risks/?category=business")["results"] == []
    refused = carol("get", "risks/?category=strange", expect=400)
    assert "technical" in refused["problems"][0]["allowed"]
    wrong = carol("put", "risks/rights/", {"title": "x", "spec": {**RISK, "likely": 1}}, expect=400)
    assert "likely" in str(wrong["problems"])
    accept = {"reason": "Small.", "expires_on": str(timezone.now().date() + timedelta(days=30))}
    carol("post", "risks/rights/accept/", accept, expect=403)
    bob("post", "risks/rights/accept/", accept)
    assert carol("post", "risks/rights/close/", {"reason": "Gone."})["closed_at"]
    assert carol("get", "risks/?open=true")["results"] == []


def test_vendors_and_their_reports(carol: Caller) -> None:
    says = {"name": "Cloud", "tier": "critical", "owner": "Carol", "provides": "Machines"}
    assert carol("put", "vendors/cloud/", says)["review_days"] == 180
    today = timezone.now().date()
    report = {
        "kind": "soc2",
        "period_start": str(today - timedelta(days=300)),
        "period_end": str(today - timedelta(days=5)),
        "conclusion": "Good.",
    }
    carol("post", "vendors/cloud/reports/", report, expect=201)
    carol("post", "vendors/cloud/reports/", {**report, "period_end": "2020-01-01"}, expect=400)
    (found,) = carol("get", "vendors/?tier=critical")["results"]
    assert [one["conclusion"] for one in found["reports"]] == ["Good."]


def test_policies_are_approved_by_another_and_acknowledged(carol: Caller, bob: Caller) -> None:
    text = {"title": "Clean desk", "owner": "Carol", "text": "Nothing confidential stays on a desk."}
    assert carol("put", "policies/desk/", text)["versions"][0]["approved_at"] is None
    carol("post", "policies/desk/approve/", expect=403)
    assert bob("post", "policies/desk/approve/")["versions"][0]["approved_at"]
    carol("post", "policies/desk/acknowledge/")
    assert len(carol("put", "policies/desk/", {**text, "text": "Another text of it."})["versions"]) == 2


def test_access_reviews_are_opened_decided_and_closed(carol: Caller) -> None:
    body = {
        "slug": "forge",
        "name": "Forge",
        "system": "forge",
        "source": "csv",
        "csv": "account,person\ncarol,carol\ndave,dave\n",
        "due_on": str(timezone.now().date() + timedelta(days=9)),
    }
    assert carol("post", "access-reviews/", body, expect=201)["accounts_in_source"] == 2
    mine, his = carol("get", "access-reviews/forge/entries/")
    carol("post", f"access-reviews/forge/entries/{mine['id']}/decide/", {"decision": "keep"}, expect=400)
    carol("post", f"access-reviews/forge/entries/{his['id']}/decide/", {"decision": "revoke"})
    assert carol("post", f"access-reviews/forge/entries/{his['id']}/confirm-revocation/")["revoked_at"]
    carol("post", "access-reviews/forge/close/", expect=400)


def test_evidence_is_uploaded_put_aside_and_reviewed_by_another(carol: Caller, bob: Caller) -> None:
    now = timezone.now()
    says = {
        "control": "people-screened",
        "title": "Minutes",
        "period_start": (now - timedelta(days=30)).isoformat(),
        "period_end": (now - timedelta(days=1)).isoformat(),
    }
    file = SimpleUploadedFile("minutes.txt", b"Everybody was screened.")
    made = carol.upload("handed-in/", {**says, "file": file}, expect=201)
    assert (made["state"], made["control"], made["file_name"]) == ("submitted", "people-screened", "minutes.txt")
    future = carol("post", "handed-in/", {**says, "period_end": (now + timedelta(days=9)).isoformat()}, expect=201)
    assert (future["state"], "still to come" in future["reason"]) == ("quarantined", True)
    carol("post", f"handed-in/{made['reference']}/accept/", expect=403)
    assert bob("post", f"handed-in/{made['reference']}/accept/")["state"] == "accepted"
    assert len(carol("get", "handed-in/?state=accepted&control=people-screened")["results"]) == 1


def test_exceptions_end_and_are_approved_by_another(carol: Caller, bob: Caller) -> None:
    body = {
        "control": "backups-restored",
        "reason": "The store moves.",
        "expires_at": (timezone.now() + timedelta(days=20)).isoformat(),
    }
    made = carol("post", "exceptions/", body, expect=201)
    assert made["state"] == "waiting"
    carol("post", f"exceptions/{made['id']}/approve/", expect=403)
    assert bob("post", f"exceptions/{made['id']}/approve/")["state"] == "approved"
    assert carol("get", "exceptions/?waiting=true")["results"] == []
    far = (timezone.now() + timedelta(days=4000)).isoformat()
    carol("post", "exceptions/", {**body, "expires_at": far}, expect=400)


def test_documents_are_checked_and_declared_by_rest_and_on_a_page(carol: Caller, person: Callable[..., User]) -> None:
    policy = """
apiVersion: assay/v1
kind: Policy
metadata: {name: desk, title: "Clean desk"}
spec: {owner: Carol, text: "Nothing confidential stays on a desk."}
"""
    tried = carol("post", "documents/", {"yaml": policy, "dry_run": True})
    assert tried["created"] == ["Policy desk"]
    assert carol("get", "policies/")["results"] == []
    wrong = carol("post", "documents/", {"yaml": policy.replace("owner", "owned_by")}, expect=400)
    assert "owned_by" in str(wrong["problems"])
    Caller(person("charlie", Role.VIEWER))("post", "documents/", {"yaml": policy}, expect=403)
    client = Client()
    client.force_login(User.objects.get(username="carol"))
    page = "/compliance/declare/"
    checked = client.post(page, {"text": policy, "only_check": "on"}).content.decode()
    assert "would be new: Policy desk" in checked
    assert "Nothing confidential" in checked, "what was typed is still there"
    assert client.post(page, {"text": policy.replace("Policy", "Rule")}).status_code == 400
    assert client.post(page, {}).status_code == 400
    assert client.post(page, {"text": policy}).status_code == 302
    assert carol("post", "documents/", {"yaml": policy})["unchanged"] == ["Policy desk"]
    assert page in client.get("/controls/").content.decode()
    client.force_login(User.objects.get(username="charlie"))
    assert client.get(page).status_code == 403


def test_a_scan_is_asked_for_and_a_folder_only_by_an_administrator(carol: Caller, person: Callable[..., User]) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("main.tf", 'resource "aws_s3_bucket" "b" {}')
    upload = SimpleUploadedFile("infra.zip", packed.getvalue())
    made = carol.upload("scans/", {"archive": upload}, expect=202)
    assert (made["state"], made["source"], made["place"]) == ("waiting", "archive", "infra.zip")
    carol("post", "scans/", {}, expect=400)
    carol("post", "scans/", {"url": "http://example.test/x"}, expect=400)
    carol("post", "scans/", {"path": "/srv/infra"}, expect=403)
    root = Caller(person("root", Role.ADMIN))
    assert root("post", "scans/", {"path": "/srv/infra"}, expect=202)["source"] == "path"
    assert len(carol("get", "scans/?source=archive&state=waiting")["results"]) == 1
    assert carol("get", f"scans/{made['reference']}/")["findings"] == []
    assert ScanRun.objects.count() == 2


def test_an_auditor_asks_judges_and_is_logged_and_stays_in_their_own_audit(
    carol: Caller, audits: tuple[Engagement, Engagement]
) -> None:
    ada = Caller(User.objects.get(username="ada"))
    made = ada("post", "audits/mine/requests/", {"title": "Minutes", "control": "people-screened"}, expect=201)
    assert (made["number"], made["state"]) == (1, "open")
    carol("post", "audits/mine/requests/1/messages/", {"state": "submitted", "text": "Here."}, expect=201)
    ada("post", "audits/mine/requests/1/messages/", {"state": "submitted"}, expect=400)
    judged = ada("post", "audits/mine/requests/1/messages/", {"state": "flagged", "text": "Blurred."}, expect=201)
    assert (judged["state"], len(judged["messages"])) == ("flagged", 2)
    assert len(ada("get", "audits/mine/requests/?state=flagged")["results"]) == 1
    ada("post", "audits/mine/findings/", {"title": "Gap", "severity": "minor"}, expect=201)
    ada("post", "audits/mine/findings/1/answer/", {"response": "No."}, expect=403)
    carol("post", "audits/mine/findings/1/answer/", {"response": "It is mended."})
    carol("post", "audits/mine/findings/1/close/", expect=403)
    assert ada("post", "audits/mine/findings/1/close/")["status"] == "closed"
    assert AuditorAccess.objects.filter(path__startswith=f"{API}/audits/mine/").count() >= 4
    carol("post", "audits/other/requests/", {"title": "Secret of the other audit"}, expect=201)
    carol("post", "audits/other/findings/", {"title": "Secret of the other audit", "severity": "minor"}, expect=201)
    for path in ("requests/", "requests/1/", "findings/", "findings/1/"):
        ada("get", f"audits/other/{path}", expect=404)
    ada("post", "audits/other/requests/", {"title": "x"}, expect=404)
    ada("post", "audits/other/requests/1/messages/", {"text": "x"}, expect=404)


def test_registers_are_closed_to_auditors_and_to_strangers(
    audits: tuple[Engagement, Engagement], person: Callable[..., User]
) -> None:
    """Generated from the router, so that a register that comes later is tried too."""
    ada, charlie = Caller(User.objects.get(username="ada")), Caller(person("charlie", Role.VIEWER))
    prefixes = {prefix.removeprefix("compliance/") for prefix, _, _ in router.registry}
    assert set(REGISTERS) <= prefixes
    for prefix in prefixes:
        path = prefix.replace(r"(?P<audit>[-\w]+)", "other")
        for caller in (ada, charlie):
            if caller is ada and prefix in {"handed-in", "exceptions"}:
                assert ada("get", f"{path}/")["results"] == [], "only what was accepted in scope"
                continue
            expected = 404 if "audits/" in prefix else 403
            caller("get", f"{path}/", expect=expected)
            caller("get", f"{path}/1/", expect=expected)
            for verb in ("post", "put", "patch", "delete"):
                for address in (f"{path}/", f"{path}/1/"):
                    answer = getattr(caller._client, verb)(f"{API}/{address}", {}, content_type="application/json")
                    assert answer.status_code in {403, 404, 405}, f"{verb} {address}: {answer.status_code}"
