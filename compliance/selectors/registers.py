"""Every register as a table, for pages' CSV and for evidence packs."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from compliance.models import (
    AccessCampaign,
    AccessEntry,
    Applicability,
    AuditFinding,
    AuditRequest,
    ChangeRecord,
    ControlException,
    ControlRequirement,
    Engagement,
    Evidence,
    Framework,
    Policy,
    Risk,
    RiskAcceptance,
    RiskIndicator,
    SecurityFinding,
    Vendor,
    VendorReport,
)

Rows = Iterable[Sequence[Any]]


@dataclass(frozen=True)
class Register:
    """A table: its name, what it is in words, its columns, and how its rows are read."""

    name: str
    title: str
    columns: Sequence[str]
    rows: Callable[[], Rows]


def _risks() -> Rows:
    for one in Risk.objects.prefetch_related("controls", "services"):
        yield (
            one.slug,
            one.title,
            one.category,
            one.owner,
            one.inherent_likelihood,
            one.inherent_impact,
            one.inherent_score,
            one.residual_likelihood,
            one.residual_impact,
            one.residual_score,
            one.treatment,
            one.plan,
            one.due_on,
            one.review_on,
            [control.slug for control in one.controls.all()],
            [service.slug for service in one.services.all()],
            one.incidents,
            one.closed_at,
        )


def _acceptances() -> Rows:
    for one in RiskAcceptance.objects.select_related("risk"):
        yield one.risk.slug, one.residual_score, one.reason, one.accepted_by, one.accepted_at, one.expires_on


def _indicators() -> Rows:
    for one in RiskIndicator.objects.select_related("risk"):
        yield one.risk.slug, one.slug, one.title, one.value, one.state, one.warn_at, one.breach_at, one.evaluated_at


def _vendors() -> Rows:
    for one in Vendor.objects.all():
        yield one.slug, one.name, one.tier, one.owner, one.provides, one.data_shared, one.subprocessors, one.ended_at


def _vendor_reports() -> Rows:
    for one in VendorReport.objects.select_related("vendor"):
        yield (
            one.vendor.slug,
            one.kind,
            one.period_start,
            one.period_end,
            one.bridged_until,
            one.exceptions_read,
            one.conclusion,
            one.reviewed_by,
            one.reviewed_at,
        )


def _policies() -> Rows:
    for policy in Policy.objects.prefetch_related("versions__acknowledgements"):
        for one in policy.versions.all():
            yield (
                policy.slug,
                policy.title,
                policy.owner,
                one.number,
                one.author,
                one.approved_by,
                one.approved_at,
                one.review_on,
                len(one.acknowledgements.all()),
            )


def _campaigns() -> Rows:
    for one in AccessCampaign.objects.all():
        yield one.slug, one.system, one.source, one.accounts_in_source, one.due_on, one.opened_at, one.closed_at


def _access_entries() -> Rows:
    for one in AccessEntry.objects.select_related("campaign"):
        yield (
            one.campaign.slug,
            one.account,
            one.person,
            one.roles,
            one.privileged,
            one.decision,
            one.decided_by,
            one.decided_at,
            one.revoked_at,
        )


def _changes() -> Rows:
    for one in ChangeRecord.objects.select_related("source"):
        yield (
            one.source.repository,
            one.change,
            one.title,
            one.author,
            one.approvers,
            one.approved_by_another,
            one.checks_passed,
            one.commit,
            one.merged_at,
            one.url,
        )


def _weaknesses() -> Rows:
    for one in SecurityFinding.objects.all():
        yield one.tool, one.scope, one.rule, one.severity, one.title, one.location, one.first_seen_at, one.gone_at


def _exceptions() -> Rows:
    for one in ControlException.objects.select_related("control"):
        yield (
            one.control.slug,
            one.reason,
            one.compensation,
            one.covers,
            one.starts_at,
            one.expires_at,
            one.requested_by,
            one.approved_by,
            one.rejected_by,
        )


def _evidence() -> Rows:
    for one in Evidence.objects.select_related("control"):
        yield (
            one.reference,
            one.control.slug,
            one.kind,
            one.state,
            one.title,
            one.period_start,
            one.period_end,
            one.observed_at,
            one.collected_at,
            one.received_at,
            one.source,
            one.collector,
            one.sha256,
            one.reason,
        )


def registers() -> list[Register]:
    """Return every register that does not belong to one audit."""
    return [
        Register(
            "risks",
            "Risks",
            (
                "risk",
                "title",
                "category",
                "owner",
                "inherent_likelihood",
                "inherent_impact",
                "inherent_score",
                "residual_likelihood",
                "residual_impact",
                "residual_score",
                "treatment",
                "plan",
                "due_on",
                "review_on",
                "controls",
                "services",
                "incidents",
                "closed_at",
            ),
            _risks,
        ),
        Register(
            "risk-acceptances",
            "Accepted risks",
            ("risk", "residual_score", "reason", "accepted_by", "accepted_at", "expires_on"),
            _acceptances,
        ),
        Register(
            "risk-indicators",
            "Key risk indicators",
            ("risk", "indicator", "title", "value", "state", "warn_at", "breach_at", "evaluated_at"),
            _indicators,
        ),
        Register(
            "vendors",
            "Vendors",
            ("vendor", "name", "tier", "owner", "provides", "data_shared", "subprocessors", "ended_at"),
            _vendors,
        ),
        Register(
            "vendor-reports",
            "Reports of vendors",
            (
                "vendor",
                "kind",
                "period_start",
                "period_end",
                "bridged_until",
                "exceptions_read",
                "conclusion",
                "reviewed_by",
                "reviewed_at",
            ),
            _vendor_reports,
        ),
        Register(
            "policies",
            "Policies",
            (
                "policy",
                "title",
                "owner",
                "version",
                "author",
                "approved_by",
                "approved_at",
                "review_on",
                "acknowledged",
            ),
            _policies,
        ),
        Register(
            "access-reviews",
            "Access reviews",
            ("campaign", "system", "source", "accounts", "due_on", "opened_at", "closed_at"),
            _campaigns,
        ),
        Register(
            "access-entries",
            "Accounts reviewed",
            (
                "campaign",
                "account",
                "person",
                "roles",
                "privileged",
                "decision",
                "decided_by",
                "decided_at",
                "revoked_at",
            ),
            _access_entries,
        ),
        Register(
            "changes",
            "Merged changes",
            (
                "repository",
                "change",
                "title",
                "author",
                "approvers",
                "approved_by_another",
                "checks_passed",
                "commit",
                "merged_at",
                "url",
            ),
            _changes,
        ),
        Register(
            "weaknesses",
            "Weaknesses that scanners and testers reported",
            ("tool", "scope", "rule", "severity", "title", "location", "first_seen_at", "gone_at"),
            _weaknesses,
        ),
        Register(
            "exceptions",
            "Exceptions",
            (
                "control",
                "reason",
                "compensation",
                "covers",
                "starts_at",
                "expires_at",
                "requested_by",
                "approved_by",
                "rejected_by",
            ),
            _exceptions,
        ),
        Register(
            "evidence",
            "Evidence handed in",
            (
                "evidence",
                "control",
                "kind",
                "state",
                "title",
                "period_start",
                "period_end",
                "observed_at",
                "collected_at",
                "received_at",
                "source",
                "collector",
                "sha256",
                "reason",
            ),
            _evidence,
        ),
    ]


def audit_registers(engagement: Engagement) -> list[Register]:
    """Return the registers of one audit: what was asked for, and what was found."""

    def requests() -> Rows:
        for one in AuditRequest.objects.filter(engagement=engagement).select_related("control"):
            control = one.control.slug if one.control else ""
            yield f"R-{one.number}", one.title, control, one.state, one.due_on, one.asked_by, one.asked_at

    def findings() -> Rows:
        for one in AuditFinding.objects.filter(engagement=engagement).select_related("control"):
            control = one.control.slug if one.control else ""
            yield f"F-{one.number}", one.title, one.severity, control, one.status, one.response, one.due_on

    return [
        Register(
            "audit-requests",
            "Requests",
            ("request", "title", "control", "state", "due_on", "asked_by", "asked_at"),
            requests,
        ),
        Register(
            "audit-findings",
            "Findings",
            ("finding", "title", "severity", "control", "state", "response", "due_on"),
            findings,
        ),
    ]


def control_matrix(frameworks: Iterable[Framework]) -> Register:
    """Return which control serves which requirement, by how much and why."""

    def rows() -> Rows:
        links = ControlRequirement.objects.filter(
            requirement__framework__in=list(frameworks),
            requirement__retired_at__isnull=True,
            control__retired_at__isnull=True,
        )
        for link in links.select_related("control", "requirement__framework").order_by(
            "requirement__framework__position", "requirement__position", "control__slug"
        ):
            yield (
                link.requirement.framework.slug,
                link.requirement.ref,
                link.requirement.label,
                link.control.slug,
                link.control.title,
                link.control.owner,
                link.strength,
                link.rationale,
            )

    columns = ("framework", "ref", "requirement", "control", "control_title", "owner", "strength", "rationale")
    return Register("control-matrix", "Control matrix", columns, rows)


def decisions_on(framework: Framework) -> dict[int, Applicability]:
    """Return what was decided about the requirements of a framework, by their key."""
    found = Applicability.objects.filter(requirement__framework=framework)
    return {one.requirement_id: one for one in found}
