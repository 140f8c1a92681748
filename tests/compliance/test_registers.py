"""Vendors by the period of their reports, policies by who approved and read them; pages for those who may."""

from collections.abc import Callable
from datetime import date, timedelta

import pytest
from django.core.exceptions import PermissionDenied
from django.test import Client
from django.utils import timezone

from accounts.data import Principal, Role
from accounts.models import User
from accounts.selectors import principal_for_user
from compliance.models import Policy, Vendor
from compliance.services import apply_documents
from compliance.services.registers import (
    acknowledge_policy,
    approve_policy,
    close_campaigns,
    review_vendor,
    save_vendor,
    vendor_standing,
    write_policy,
)
from core.parsing import InputRefusedError, load_yaml_documents
from ledger.selectors import entries

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("content")]


VENDOR = """
apiVersion: assay/v1
kind: Vendor
metadata: {name: cloud, title: "Cloud"}
spec: {tier: %s, owner: Carol, provides: Machines}
"""


def vendor(principal: Principal) -> Vendor:
    return save_vendor(
        principal=principal, slug="cloud", name="Cloud", tier="critical", owner="Carol", provides="Machines"
    )[0]


def test_assurance_ages_from_the_reports_own_period(manager: Principal) -> None:
    today = timezone.now().date()
    one = vendor(manager)
    assert vendor_standing(one, None, today=today)[0] == "never reviewed"
    report = review_vendor(
        principal=manager,
        vendor=one,
        kind="soc2",
        period_start=today - timedelta(days=400),
        period_end=today - timedelta(days=100),
        conclusion="Good.",
    )
    assert vendor_standing(one, report, today=today)[0] == "covered"
    assert vendor_standing(one, report, today=today + timedelta(days=60))[0] == "due soon"
    assert vendor_standing(one, report, today=today + timedelta(days=81))[0] == "stale"
    report.bridged_until = today
    assert vendor_standing(one, report, today=today + timedelta(days=81))[0] == "covered"
    assert entries(types=["vendor.reviewed"]).count() == 1


def test_vendors_are_declared_in_yaml_all_or_nothing_and_the_same_again_records_nothing(manager: Principal) -> None:
    declared = VENDOR % "critical"
    created = apply_documents(principal=manager, documents=load_yaml_documents(declared.encode(), source="v"))
    assert created.created == ("Vendor cloud",)
    again = apply_documents(principal=manager, documents=load_yaml_documents(declared.encode(), source="v"))
    assert again.unchanged == ("Vendor cloud",)
    assert entries(subjects=["vendor:cloud"]).count() == 1
    changed = apply_documents(principal=manager, documents=load_yaml_documents((VENDOR % "high").encode(), source="v"))
    assert changed.changed == ("Vendor cloud",)
    both = (VENDOR % "standard" + "---" + VENDOR % "enormous").encode()
    with pytest.raises(InputRefusedError, match=r"spec\.tier"):
        apply_documents(principal=manager, documents=load_yaml_documents(both, source="v"))
    assert Vendor.objects.get(slug="cloud").tier == "high"


def test_a_report_about_the_future_is_refused(manager: Principal) -> None:
    today = timezone.now().date()
    with pytest.raises(InputRefusedError):
        review_vendor(
            principal=manager,
            vendor=vendor(manager),
            kind="soc2",
            period_start=today,
            period_end=today + timedelta(days=9),
            conclusion="Good.",
        )


def test_a_policy_counts_once_another_approved_it_and_its_reading_ends(
    manager: Principal, person: Callable[..., User]
) -> None:
    made = write_policy(principal=manager, slug="access", title="Access", owner="Carol", text="Least privilege.")
    with pytest.raises(PermissionDenied):
        approve_policy(principal=manager, version=made)
    with pytest.raises(InputRefusedError):
        acknowledge_policy(principal=manager, version=made)
    bob = principal_for_user(user=person("bob", Role.APPROVER))
    approve_policy(principal=bob, version=made)
    made.refresh_from_db()
    acknowledge_policy(principal=bob, version=made)
    acknowledge_policy(principal=bob, version=made)
    assert close_campaigns() == 0
    acknowledge_policy(principal=manager, version=made)
    assert close_campaigns() == 1
    said = entries(types=["policy.campaign_closed"]).get().payload
    assert said is not None
    assert (said["people"], said["acknowledged"], said["outstanding"]) == (2, 2, [])
    again = write_policy(principal=manager, slug="access", title="Access", owner="Carol", text="Least of all.")
    assert (again.number, Policy.objects.count()) == (2, 1)


def test_pages_keep_the_registers(manager: Principal, person: Callable[..., User]) -> None:
    client = Client()
    client.force_login(User.objects.get(username="carol"))
    form = {"name": "Cloud", "slug": "cloud", "tier": "high", "owner": "Carol", "provides": "Machines"}
    assert client.post("/compliance/vendors/add/", form).status_code == 302
    today: date = timezone.now().date()
    review = {"kind": "soc2", "period_start": today - timedelta(days=30), "period_end": today, "conclusion": "Good."}
    assert client.post("/compliance/vendors/cloud/review/", review).status_code == 302
    policy = {"title": "Access", "slug": "access", "owner": "Carol", "text": "Least privilege."}
    assert client.post("/compliance/policies/add/", policy).status_code == 302
    pages = ("registers/", "vendors/", "vendors/cloud/", "policies/", "policies/access/", "weaknesses/", "changes/")
    more = ("weaknesses/add/", "changes/sources/", "changes/sources/add/", "collectors/", "collectors/add/")
    for path in (*pages, *more):
        assert client.get(f"/compliance/{path}").status_code == 200, path
    client.force_login(person("bob", Role.APPROVER))
    assert client.post("/compliance/policies/access/", {"do": "approve"}).status_code == 302
    client.force_login(person("victor", Role.VIEWER))
    read = client.get("/compliance/policies/access/").content.decode()
    assert "I have read it" in read
    assert client.post("/compliance/policies/access/", {"do": "read"}).status_code == 302
    assert "you have read it" in client.get("/compliance/policies/access/").content.decode()
    for path in (*[one for one in pages if not one.startswith("policies/")], *more):
        assert client.get(f"/compliance/{path}").status_code == 403, path
    client.force_login(person("axel", Role.AUDITOR))
    assert client.get("/compliance/policies/access/").status_code == 403


POLICY = """
apiVersion: assay/v1
kind: Policy
metadata: {name: clean-desk, title: "Clean desk"}
spec: {owner: %s, text: "%s", days_to_read: 14}
"""


def test_a_policy_is_declared_as_code_and_waits_for_another_to_approve_it(
    manager: Principal, person: Callable[..., User]
) -> None:
    def declare(owner: str, text: str) -> tuple[int, int, int]:
        documents = load_yaml_documents((POLICY % (owner, text)).encode(), source="policies")
        done = apply_documents(principal=manager, documents=documents)
        return len(done.created), len(done.changed), len(done.unchanged)

    first = "Nothing confidential stays on a desk."
    assert declare("Carol", first) == (1, 0, 0)
    assert declare("Carol", first) == (0, 0, 1)
    policy = Policy.objects.get(slug="clean-desk")
    version = policy.versions.get()
    assert (version.text, version.approved_at) == (first, None)
    with pytest.raises(PermissionDenied):
        approve_policy(principal=manager, version=version)
    approver = principal_for_user(user=person("dora", Role.APPROVER))
    approve_policy(principal=approver, version=version)
    assert declare("Dora", first) == (0, 1, 0), "another owner is no new version"
    assert policy.versions.count() == 1
    assert declare("Dora", first + " Not even over lunch.") == (0, 1, 0)
    newest = policy.versions.first()
    assert newest is not None
    assert (newest.number, newest.approved_at) == (2, None)
    with pytest.raises(InputRefusedError, match="text"):
        declare("Dora", "short")
    assert policy.versions.count() == 2
