"""The registers of vendors and policies."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import transaction

from accounts.data import Capability, Principal, PrincipalKind, system_principal
from accounts.selectors import people
from accounts.services import ensure_may, ensure_other_person
from compliance.models import Policy, PolicyAcknowledgement, PolicyVersion, Vendor, VendorReport
from core.clock import database_now
from core.parsing import refuse
from ledger.data.access import AuditedAction
from ledger.data.policies import PolicyAcknowledged, PolicyApproved, PolicyCampaignClosed
from ledger.data.vendors import VendorReviewed
from ledger.services import record, store_artifact

CLOSER = system_principal("policy-campaigns")
DAYS_TO_READ = 30
DAYS_TO_REVIEW = 365


@transaction.atomic
def save_vendor(
    *,
    principal: Principal,
    slug: str,
    name: str,
    tier: str,
    owner: str,
    provides: str,
    data_shared: str = "",
    subprocessors: Sequence[str] = (),
) -> tuple[Vendor, str]:
    """Put a vendor into the register, or change what it says; returns it and created, changed or unchanged."""
    ensure_may(principal, Capability.COMPLIANCE_EDIT)
    says = {
        "name": name,
        "tier": tier,
        "owner": owner,
        "provides": provides,
        "data_shared": data_shared,
        "subprocessors": list(subprocessors),
    }
    known = Vendor.objects.filter(slug=slug).first()
    if known is not None and all(getattr(known, field) == value for field, value in says.items()):
        return known, "unchanged"
    made, created = Vendor.objects.update_or_create(
        slug=slug, defaults=says, create_defaults={**says, "created_at": database_now()}
    )
    _audit(principal, "vendor.added" if created else "vendor.changed", f"vendor:{slug}", tier=tier)
    return made, "created" if created else "changed"


@transaction.atomic
def review_vendor(
    *,
    principal: Principal,
    vendor: Vendor,
    kind: str,
    period_start: date,
    period_end: date,
    conclusion: str,
    exceptions_read: bool = False,
    bridged_until: date | None = None,
) -> VendorReport:
    """Note that a vendor's report was read, with the period that it speaks of. Raises InputRefusedError."""
    ensure_may(principal, Capability.COMPLIANCE_EDIT)
    now = database_now()
    if period_end < period_start:
        raise refuse("period_end", found=str(period_end), allowed="a day after the start is allowed")
    if kind != VendorReport.Kind.ISO_27001 and period_end > now.date():
        raise refuse("period_end", found=str(period_end), allowed="a period that is over is allowed")
    if not conclusion.strip():
        raise refuse("conclusion", found="nothing", allowed="what was concluded is required")
    made = VendorReport.objects.create(
        vendor=vendor,
        kind=kind,
        period_start=period_start,
        period_end=period_end,
        bridged_until=bridged_until,
        exceptions_read=exceptions_read,
        conclusion=conclusion,
        reviewed_by=principal.reference,
        reviewed_by_label=principal.label[:160],
        reviewed_at=now,
    )
    record(
        VendorReviewed(
            vendor=vendor.slug,
            tier=vendor.tier,
            report=kind,
            report_period_start=str(period_start),
            report_period_end=str(period_end),
            exceptions_read=exceptions_read,
            bridge_letter=bridged_until is not None,
            subprocessors=list(vendor.subprocessors),
            conclusion=conclusion[:2000],
        ),
        actor=principal.reference,
        subject=f"vendor:{vendor.slug}",
    )
    return made


def vendor_standing(vendor: Vendor, report: VendorReport | None, *, today: date) -> tuple[str, str]:
    """Return how a vendor's assurance stands, as word and tone: its age counts from the report's own period."""
    if vendor.ended_at is not None:
        return "ended", "plain"
    if report is None:
        return "never reviewed", "bad"
    covered = max(report.period_end, report.bridged_until or report.period_end)
    age = (today - covered).days
    if age > vendor.review_days:
        return "stale", "unknown"
    return ("due soon", "risk") if age > vendor.review_days - 30 else ("covered", "ok")


@transaction.atomic
def write_policy(
    *, principal: Principal, slug: str, title: str, owner: str, text: str, due_at: datetime | None = None
) -> PolicyVersion:
    """Write a version of a policy; it is in force once somebody else has approved it."""
    ensure_may(principal, Capability.COMPLIANCE_EDIT)
    if not text.strip():
        raise refuse("text", found="nothing", allowed="what the policy says is required")
    now = database_now()
    policy, _ = Policy.objects.update_or_create(
        slug=slug,
        defaults={"title": title, "owner": owner},
        create_defaults={
            "title": title,
            "owner": owner,
            "created_at": now,
        },
    )
    latest = policy.versions.first()
    if latest is not None and latest.approved_at is None:
        latest.delete()
        latest = policy.versions.first()
    made = PolicyVersion.objects.create(
        policy=policy,
        number=(latest.number if latest else 0) + 1,
        text=text,
        review_on=(now + timedelta(days=DAYS_TO_REVIEW)).date(),
        due_at=due_at or now + timedelta(days=DAYS_TO_READ),
        author=principal.reference,
        author_label=principal.label[:160],
        written_at=now,
    )
    _audit(principal, "policy.written", f"policy:{slug}", version=str(made.number))
    return made


@transaction.atomic
def declare_policy(
    *, principal: Principal, slug: str, title: str, owner: str, text: str, days_to_read: int = DAYS_TO_READ
) -> tuple[Policy, str]:
    """Bring a policy to what a file says; returns it and created, changed or unchanged.

    Another text is a new version, which waits for somebody to approve it; another owner or title alone is not.
    """
    ensure_may(principal, Capability.COMPLIANCE_EDIT)
    known = Policy.objects.filter(slug=slug).first()
    latest = known.versions.first() if known else None
    if known is None or latest is None or latest.text != text:
        due_at = database_now() + timedelta(days=days_to_read)
        made = write_policy(principal=principal, slug=slug, title=title, owner=owner, text=text, due_at=due_at)
        return made.policy, "changed" if known else "created"
    if (known.title, known.owner) == (title, owner):
        return known, "unchanged"
    known.title, known.owner = title, owner
    known.save(update_fields=("title", "owner"))
    _audit(principal, "policy.renamed", f"policy:{slug}", owner=owner)
    return known, "changed"


@transaction.atomic
def approve_policy(*, principal: Principal, version: PolicyVersion) -> None:
    """Put a version in force. Raises PermissionDenied for its author."""
    ensure_may(principal, Capability.APPROVE)
    ensure_other_person(principal, requester=version.author)
    now = database_now()
    waiting = PolicyVersion.objects.filter(pk=version.pk, approved_at__isnull=True)
    if not waiting.update(approved_by=principal.reference, approved_by_label=principal.label[:160], approved_at=now):
        raise refuse("policy", found="a version that is in force", allowed="one that waits is allowed")
    policy = version.policy
    digest = store_artifact(
        version.text.encode(), media_type="text/markdown", name=f"{policy.slug}-v{version.number}.md"
    )
    record(
        PolicyApproved(
            policy=policy.slug,
            policy_version=version.number,
            title=policy.title,
            owner=policy.owner,
            author=version.author,
            approved_by=principal.reference,
            document_sha256=digest,
            review_on=str(version.review_on),
        ),
        actor=principal.reference,
        subject=f"policy:{policy.slug}",
        artifacts=(digest,),
    )


@transaction.atomic
def acknowledge_policy(*, principal: Principal, version: PolicyVersion) -> None:
    """Say that one has read a version. Everybody who signs in may, for themselves."""
    if principal.kind != PrincipalKind.USER or principal.user_id is None:
        raise PermissionDenied("Only a person reads a policy.")
    if version.approved_at is None:
        raise refuse("policy", found="a version that is not in force", allowed="one in force is allowed")
    now = database_now()
    _, created = PolicyAcknowledgement.objects.get_or_create(
        version=version, user_id=principal.user_id, defaults={"at": now}
    )
    if created:
        record(
            PolicyAcknowledged(policy=version.policy.slug, policy_version=version.number, person=principal.reference),
            actor=principal.reference,
            subject=f"policy:{version.policy.slug}",
        )


def outstanding_readers(version: PolicyVersion) -> list[Any]:
    """Return the people who have not yet said that they have read a version."""
    done = set(version.acknowledgements.values_list("user_id", flat=True))
    return [one for one in people().filter(is_active=True) if one.pk not in done]


@transaction.atomic
def close_campaigns() -> int:
    """End acknowledging of each version whose time is over or that everybody has read; return how many ended."""
    now, closed = database_now(), 0
    for version in PolicyVersion.objects.filter(approved_at__isnull=False, closed_at__isnull=True):
        missing = outstanding_readers(version)
        if missing and version.due_at > now:
            continue
        if not PolicyVersion.objects.filter(pk=version.pk, closed_at__isnull=True).update(closed_at=now):
            continue
        done = version.acknowledgements.count()
        record(
            PolicyCampaignClosed(
                policy=version.policy.slug,
                policy_version=version.number,
                people=done + len(missing),
                acknowledged=done,
                outstanding=[f"user:{one.pk}" for one in missing],
                due_at=version.due_at,
            ),
            actor=CLOSER.reference,
            subject=f"policy:{version.policy.slug}",
        )
        closed += 1
    return closed


def end_of(day: date) -> datetime:
    """Return the last instant of a day, UTC."""
    return datetime.combine(day, time.max, UTC)


def _audit(principal: Principal, action: str, subject: str, **after: str) -> None:
    record(
        AuditedAction(action=action, target=subject.partition(":")[2], after=after),
        actor=principal.reference,
        subject=subject,
    )
