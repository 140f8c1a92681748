"""Pages of the registers: vendors, policies, and what scanners and testers found."""

from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone

from accounts.data import Capability, Principal
from accounts.selectors import is_same_person
from accounts.services import principal_of
from compliance.forms import FindingReportForm, PolicyForm, VendorForm, VendorReportForm
from compliance.models import (
    AccessCampaign,
    ChangeRecord,
    CollectorKey,
    FindingReport,
    Policy,
    PolicyVersion,
    ScanRun,
    SecurityFinding,
    Vendor,
)
from compliance.selectors import access_of
from compliance.services.registers import (
    acknowledge_policy,
    approve_policy,
    end_of,
    outstanding_readers,
    review_vendor,
    save_vendor,
    vendor_standing,
    write_policy,
)
from compliance.services.weaknesses import import_penetration_test, import_sarif
from compliance.views.base import ComplianceView, FormView
from core.clock import database_now
from core.lists import Action, Column, Empty, Filter, RecordListView
from core.parsing import InputRefusedError
from core.templatetags.assay import state

TONE_OF_SEVERITY = {"critical": "bad", "high": "bad", "medium": "risk", "low": "plain"}


class ManagedListView(RecordListView):
    """A list for those who see all of compliance, with an action for those who may edit."""

    action: tuple[str, str] = ("", "")

    def may_view(self, principal: Principal) -> bool:
        return access_of(principal).everything

    def get_actions(self) -> Sequence[Action]:
        may = self.action[1] and principal_of(self.request).may(Capability.COMPLIANCE_EDIT)
        return (Action(self.action[0], reverse(self.action[1])),) if may else ()


class ManagedView(ComplianceView):
    """A page for those who see all of compliance."""

    def ensure_everything(self) -> None:
        """Answer 404 to auditors: their packs hold the registers."""
        if not self.access.everything:
            raise Http404("This register is open to compliance managers and administrators.")

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self.http_method_not_allowed(request, *args, **kwargs)


class RegisterListView(ManagedView):
    """The registers, each with what it waits for."""

    def get(self, request: HttpRequest) -> HttpResponse:
        self.ensure_everything()
        open_weak = SecurityFinding.objects.filter(gone_at__isnull=True)
        vendors = list(Vendor.objects.filter(ended_at__isnull=True).prefetch_related("reports"))
        uncovered = sum(_standing(one)[0] != "covered" for one in vendors)
        reviews = AccessCampaign.objects.filter(closed_at__isnull=True)
        changes = ChangeRecord.objects.filter(recorded_at__isnull=False)
        policies = PolicyVersion.objects.filter(approved_at__isnull=False)
        lines = [
            (
                "Vendors",
                "vendor_list",
                "reports of vendors and the periods that they speak of",
                len(vendors),
                uncovered,
            ),
            (
                "Policies",
                "policy_list",
                "versions, approvals, and who has read them",
                Policy.objects.count(),
                policies.filter(closed_at__isnull=True).count(),
            ),
            (
                "Access reviews",
                "campaign_list",
                "who has access, decided account by account",
                AccessCampaign.objects.count(),
                reviews.count(),
            ),
            (
                "Merged changes",
                "change_list",
                "author, approvers and checks, from GitHub and GitLab",
                changes.count(),
                sum(not one.approved_by_another for one in changes.only("author", "approvers")[:1000]),
            ),
            (
                "Scans",
                "scan_list",
                "infrastructure code, looked at by Checkov",
                ScanRun.objects.count(),
                ScanRun.objects.filter(state__in=(ScanRun.State.WAITING, ScanRun.State.RUNNING)).count(),
            ),
            (
                "Weaknesses",
                "weakness_list",
                "what scanners and penetration tests found",
                SecurityFinding.objects.count(),
                open_weak.count(),
            ),
            (
                "Collectors",
                "collector_list",
                "keys that sign evidence pushed from elsewhere",
                CollectorKey.objects.filter(revoked_at__isnull=True).count(),
                0,
            ),
        ]
        context = {
            "title": "Registers",
            "intro": "What people keep, and what comes from systems that are not operated here.",
            "lines": [
                (label, reverse(f"compliance:{url}"), says, count, waits) for label, url, says, count, waits in lines
            ],
        }
        return render(request, "compliance/register_list.html", context)


def _standing(vendor: Vendor) -> tuple[str, str]:
    reports = list(vendor.reports.all())
    return vendor_standing(vendor, reports[0] if reports else None, today=timezone.now().date())


class VendorListView(ManagedListView):
    """Every vendor with how its assurance stands."""

    title = "Vendors"
    intro = "On whom the organization relies, and how old the period is that their last report speaks of."
    noun = "vendors"
    action = ("Add a vendor", "compliance:vendor_add")
    columns = (
        Column(
            "name",
            "Vendor",
            lambda one: one.name,
            kind="strong",
            order_by=("name",),
            href=lambda v: v.get_absolute_url(),
        ),
        Column("tier", "Tier", lambda one: one.get_tier_display(), order_by=("tier",)),
        Column("provides", "Provides", lambda one: one.provides),
        Column("owner", "Owner", lambda one: one.owner, order_by=("owner",)),
        Column(
            "standing",
            "Assurance",
            lambda one: _standing(one)[0],
            render=lambda one: state(_standing(one)[0], word=_standing(one)[0], tone=_standing(one)[1]),
        ),
    )
    filters = (Filter("tier", "Tier", Vendor.Tier.choices),)
    search_fields = ("name", "provides", "owner")
    default_sort = "name"
    empty = Empty("No vendor is in the register yet.")

    def get_records(self) -> QuerySet[Vendor]:
        return Vendor.objects.prefetch_related("reports")


class VendorDetailView(ManagedView):
    """A vendor and its reports."""

    def get(self, request: HttpRequest, slug: str) -> HttpResponse:
        self.ensure_everything()
        vendor: Vendor = self.find(Vendor.objects.prefetch_related("reports"), slug=slug)
        word, tone = _standing(vendor)
        context = {
            "title": vendor.name,
            "vendor": vendor,
            "word": word,
            "tone": tone,
            "reports": vendor.reports.all(),
            "may_edit": principal_of(request).may(Capability.COMPLIANCE_EDIT),
        }
        return render(request, "compliance/vendor_detail.html", context)


class VendorAddView(FormView):
    """Put a vendor into the register."""

    form_class = VendorForm
    heading = "Add a vendor"

    def back(self) -> tuple[str, str]:
        return "Vendors", reverse("compliance:vendor_list")

    def perform(self, request: HttpRequest, form: Any) -> HttpResponse:
        given = dict(form.cleaned_data)
        given["subprocessors"] = [one.strip() for one in given["subprocessors"].split(",") if one.strip()]
        return redirect(save_vendor(principal=principal_of(request), **given)[0])


class VendorReviewView(FormView):
    """Note that a report was read."""

    form_class = VendorReportForm
    heading = "Review a report"
    intro = "Its age counts from the last day that it speaks of, not from today."

    def _vendor(self) -> Vendor:
        found = Vendor.objects.filter(slug=self.kwargs["slug"]).first()
        if found is None:
            raise Http404("There is no such vendor.")
        return found

    def back(self) -> tuple[str, str]:
        return self._vendor().name, self._vendor().get_absolute_url()

    def perform(self, request: HttpRequest, form: Any) -> HttpResponse:
        vendor = self._vendor()
        review_vendor(principal=principal_of(request), vendor=vendor, **form.cleaned_data)
        return redirect(vendor)


def may_read_policies(principal: Principal) -> bool:
    """Say whether somebody is one of those whom policies address: staff, and those who see compliance."""
    return access_of(principal).everything or principal.teams_where(Capability.OPERATIONS_VIEW) != frozenset()


class PolicyListView(RecordListView):
    """The policies in force."""

    title = "Policies"
    intro = "What people are asked to follow. Each version counts once somebody other than its author approved it."
    noun = "policies"
    columns = (
        Column(
            "title",
            "Policy",
            lambda one: one.title,
            kind="strong",
            order_by=("title",),
            href=lambda p: p.get_absolute_url(),
        ),
        Column("owner", "Owner", lambda one: one.owner, order_by=("owner",)),
        Column("version", "In force", lambda one: f"version {one.live}" if one.live else "none yet"),
        Column("read", "Read by", lambda one: one.read, kind="number"),
    )
    search_fields = ("title", "owner")
    default_sort = "title"
    empty = Empty("No policy has been written yet.")

    def may_view(self, principal: Principal) -> bool:
        return may_read_policies(principal)

    def get_records(self) -> QuerySet[Policy]:
        approved = Q(versions__approved_at__isnull=False, versions__closed_at__isnull=True)
        return Policy.objects.annotate(
            live=Count("versions", filter=Q(versions__approved_at__isnull=False), distinct=True),
            read=Count("versions__acknowledgements", filter=approved, distinct=True),
        )

    def get_actions(self) -> Sequence[Action]:
        may = principal_of(self.request).may(Capability.COMPLIANCE_EDIT)
        return (Action("Write a policy", reverse("compliance:policy_add")),) if may else ()


class PolicyDetailView(ComplianceView):
    """A policy: what it says, who has read it."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if request.user.is_authenticated and not may_read_policies(principal_of(request)):
            raise PermissionDenied("Policies are open to the people of the organization.")
        return super().dispatch(request, *args, **kwargs)

    def _policy(self, slug: str) -> Policy:
        found: Policy = self.find(Policy.objects.all(), slug=slug)
        return found

    def get(self, request: HttpRequest, slug: str) -> HttpResponse:
        policy, principal = self._policy(slug), principal_of(request)
        versions = list(policy.versions.all())
        live = next((one for one in versions if one.approved_at), None)
        draft = versions[0] if versions and not versions[0].approved_at else None
        edits = principal.may(Capability.COMPLIANCE_EDIT)
        outstanding = outstanding_readers(live) if live and edits else []
        read = bool(live and principal.user_id and live.acknowledgements.filter(user_id=principal.user_id).exists())
        context = {
            "title": policy.title,
            "policy": policy,
            "live": live,
            "draft": draft if edits or principal.may(Capability.APPROVE) else None,
            "read": read,
            "may_read": live is not None and not read and principal.user_id is not None,
            "may_approve": draft
            and principal.may(Capability.APPROVE)
            and not is_same_person(principal, reference=draft.author),
            "may_edit": edits,
            "acknowledged": live.acknowledgements.count() if live else 0,
            "outstanding": outstanding,
            "versions": versions,
        }
        return render(request, "compliance/policy_detail.html", context)

    def post(self, request: HttpRequest, slug: str) -> HttpResponse:
        policy, principal = self._policy(slug), principal_of(request)
        try:
            if request.POST.get("do") == "approve":
                version = self.find(PolicyVersion.objects.filter(policy=policy), approved_at__isnull=True)
                approve_policy(principal=principal, version=version)
                messages.success(request, "In force; people are asked to read it.")
            else:
                version = self.find(PolicyVersion.objects.filter(policy=policy), approved_at__isnull=False)
                acknowledge_policy(principal=principal, version=version)
                messages.success(request, "Noted that you have read it.")
        except InputRefusedError as error:
            messages.error(request, str(error))
        return redirect(policy)


class PolicyAddView(FormView):
    """Write a policy, or another version of one."""

    form_class = PolicyForm
    heading = "Write a policy"
    intro = "The same short name again is another version. It is in force once somebody else has approved it."

    def back(self) -> tuple[str, str]:
        return "Policies", reverse("compliance:policy_list")

    def initial(self) -> dict[str, Any]:
        policy = Policy.objects.filter(slug=self.request.GET.get("policy", "")).first()
        latest = policy.versions.first() if policy else None
        if policy is None or latest is None:
            return {}
        return {"title": policy.title, "slug": policy.slug, "owner": policy.owner, "text": latest.text}

    def perform(self, request: HttpRequest, form: Any) -> HttpResponse:
        given = dict(form.cleaned_data)
        day = given.pop("due_on")
        made = write_policy(principal=principal_of(request), due_at=end_of(day) if day else None, **given)
        return redirect(made.policy)


class WeaknessListView(ManagedListView):
    """What scanners and testers reported."""

    title = "Weaknesses"
    intro = "Findings of other scanners (SARIF) and of penetration tests. One is gone when a later report lacks it."
    noun = "weaknesses"
    action = ("Take in a report", "compliance:report_add")
    columns = (
        Column("title", "Weakness", lambda one: one.title, kind="strong", order_by=("title",)),
        Column(
            "severity",
            "Severity",
            lambda one: one.get_severity_display(),
            order_by=("severity",),
            render=lambda one: state(one.severity, word=one.severity, tone=TONE_OF_SEVERITY[one.severity]),
        ),
        Column("location", "Where", lambda one: one.location, kind="code"),
        Column("scope", "Scope", lambda one: one.scope, order_by=("scope",)),
        Column("tool", "Found by", lambda one: one.tool, order_by=("tool",)),
        Column("first", "Since", lambda one: one.first_seen_at, kind="time", order_by=("first_seen_at",)),
        Column("gone", "Gone", lambda one: one.gone_at, kind="time", order_by=("gone_at",)),
    )
    filters = (
        Filter("severity", "Severity", SecurityFinding.Severity.choices),
        Filter(
            "state",
            "State",
            (("open", "Open"), ("gone", "Gone")),
            apply=lambda rows, chosen: rows.filter(gone_at__isnull="open" in chosen) if len(chosen) == 1 else rows,
        ),
    )
    search_fields = ("title", "rule", "location", "scope")
    default_sort = "severity"
    empty = Empty("No report has been taken in yet.", command="manage.py compliance sarif report.sarif --scope REPO")

    def get_records(self) -> QuerySet[SecurityFinding]:
        return SecurityFinding.objects.all()


class FindingReportAddView(FormView):
    """Take in a report."""

    form_class = FindingReportForm
    heading = "Take in a report"
    intro = "SARIF 2.1.0 of a scanner, or the findings of a penetration test as CSV with id, title and severity."
    button = "Take it in"

    def back(self) -> tuple[str, str]:
        return "Weaknesses", reverse("compliance:weakness_list")

    def perform(self, request: HttpRequest, form: Any) -> HttpResponse:
        given, principal = form.cleaned_data, principal_of(request)
        raw, name = given["file"].read(), given["file"].name
        if given["kind"] == FindingReport.Kind.SARIF:
            made = import_sarif(principal=principal, raw=raw, scope=given["scope"], source=name)
        else:
            ended = end_of(given["ended_on"]) if given["ended_on"] else database_now()
            ended = min(ended, database_now())
            made = [
                import_penetration_test(
                    principal=principal,
                    raw=raw,
                    tester=given["tester"] or "unnamed",
                    scope=given["scope"],
                    ended_at=ended,
                    source=name,
                )
            ]
        messages.success(request, f"Taken in: {sum(one.results for one in made)} findings.")
        return redirect("compliance:weakness_list")
