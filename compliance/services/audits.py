"""Audits: engagements, who may read them, and the evidence packs made for them."""

import tempfile
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from django.db import transaction

from accounts.data import Capability, Principal, PrincipalKind, Role, system_principal
from accounts.selectors import people, principal_for_user
from accounts.services import ensure_may
from compliance.data import Window
from compliance.models import AuditorGrant, Engagement, Framework, PackExport
from compliance.selectors import access_of
from compliance.selectors.evidence import entry_keys
from compliance.services.packs import pack_documents
from core.clock import database_now
from core.identifiers import new_id
from core.leases import give_up, settle
from core.parsing import refuse
from core.proving import dangerous
from core.replicas import read_as_report
from core.work import wake
from ledger.data.access import AuditedAction
from ledger.data.packs import EvidencePack, Selection
from ledger.selectors import entries
from ledger.services import (
    NothingSealedError,
    PackTooLargeError,
    make_checkpoint,
    record,
    scratch_folder,
    store_artifact_file,
    write_pack,
)

EXPORT_QUEUE = "compliance.exports"
KEYS_AT_ONCE = 5_000


@transaction.atomic
def create_engagement(
    *,
    principal: Principal,
    slug: str,
    name: str,
    frameworks: Sequence[str],
    window_start: datetime,
    window_end: datetime,
    kind: str = Engagement.Kind.TYPE_2,
    scope: str = "",
) -> Engagement:
    """Open an audit; the same slug again returns the one there is. Raises InputRefusedError."""
    ensure_may(principal, Capability.COMPLIANCE_EDIT)
    known = Engagement.objects.filter(slug=slug).first()
    if known is not None:
        return known
    if window_end <= window_start:
        raise refuse("window_end", found=window_end.isoformat(), allowed="an instant after window_start is allowed")
    chosen = list(Framework.objects.filter(slug__in=frameworks))
    if missing := set(frameworks) - {one.slug for one in chosen}:
        raise refuse("frameworks", found=", ".join(sorted(missing)), allowed="slugs of loaded frameworks are allowed")
    engagement = Engagement.objects.create(
        slug=slug,
        name=name,
        kind=kind,
        window_start=window_start,
        window_end=window_end,
        scope=scope,
        created_at=database_now(),
        created_by=principal.reference,
    )
    engagement.frameworks.set(chosen)
    after = {"frameworks": ", ".join(frameworks), "from": window_start.isoformat(), "to": window_end.isoformat()}
    _audit(principal, "engagement.created", engagement, after=after)
    return engagement


@dangerous("let an auditor in")
@transaction.atomic
def grant_auditor(*, principal: Principal, engagement: Engagement, user_id: int, expires_at: datetime) -> AuditorGrant:
    """Let a person who holds the role auditor read one engagement until a date. Raises InputRefusedError."""
    ensure_may(principal, Capability.COMPLIANCE_EDIT)
    now = database_now()
    if expires_at <= now:
        raise refuse("expires_at", found=expires_at.isoformat(), allowed="an instant to come is allowed")
    person = people().filter(pk=user_id, is_active=True).first()
    if person is None or Role.AUDITOR not in principal_for_user(user=person).site_roles:
        raise refuse("user", found=str(person or user_id), allowed="an active person with the role auditor is allowed")
    AuditorGrant.objects.filter(engagement=engagement, user_id=user_id, revoked_at__isnull=True).update(revoked_at=now)
    grant = AuditorGrant.objects.create(
        engagement=engagement,
        user_id=user_id,
        expires_at=expires_at,
        granted_by=principal.reference,
        granted_at=now,
    )
    after = {"auditor": person.username, "expires_at": expires_at.isoformat()}
    _audit(principal, "auditor.granted", engagement, after=after)
    return grant


@transaction.atomic
def revoke_auditor(*, principal: Principal, grant: AuditorGrant) -> None:
    """Take an auditor's access away."""
    ensure_may(principal, Capability.COMPLIANCE_EDIT)
    if AuditorGrant.objects.filter(pk=grant.pk, revoked_at__isnull=True).update(revoked_at=database_now()):
        _audit(principal, "auditor.revoked", grant.engagement, after={"auditor": grant.user.username})


@transaction.atomic
def revoke_all_of(*, principal: Principal, user_id: int) -> int:
    """Take every access of an auditor away, as when they leave; returns how many there were."""
    grants = list(AuditorGrant.objects.select_related("engagement", "user").filter(user_id=user_id, revoked_at=None))
    for grant in grants:
        revoke_auditor(principal=principal, grant=grant)
    return len(grants)


def note_download(*, principal: Principal, export: PackExport) -> None:
    """Record that somebody fetched a pack."""
    _audit(principal, "pack.downloaded", export.engagement, after={"pack": export.reference, "sha256": export.sha256})


@transaction.atomic
def close_engagement(*, principal: Principal, engagement: Engagement) -> None:
    """Close an audit: its auditors no longer read it, and evidence for its window is no longer taken."""
    ensure_may(principal, Capability.COMPLIANCE_EDIT)
    if Engagement.objects.filter(pk=engagement.pk, closed_at__isnull=True).update(closed_at=database_now()):
        _audit(principal, "engagement.closed", engagement, after={})


@transaction.atomic
def request_export(*, principal: Principal, engagement: Engagement) -> PackExport:
    """Ask for an evidence pack of an engagement; a worker makes it. Its auditors may, and compliance managers."""
    access = access_of(principal)
    if engagement.pk not in access.engagement_ids:
        ensure_may(principal, Capability.AUDIT_EXPORT)
    now = database_now()
    export = PackExport.objects.create(
        engagement=engagement,
        reference=new_id("pack"),
        requested_by=principal.reference,
        requested_by_label=principal.label[:160],
        requested_at=now,
        due_at=now,
    )
    _audit(principal, "pack.requested", engagement, after={"pack": export.reference})
    wake(EXPORT_QUEUE)
    return export


def run_export(export: PackExport) -> None:
    """Make a pack that was asked for. What cannot succeed by trying again is settled as failed with its reason."""
    engagement = export.engagement
    window = Window(engagement.window_start, min(engagement.window_end, database_now()))

    def progress(step: str, done: int, total: int) -> None:
        PackExport.objects.filter(pk=export.pk, fence=export.fence).update(
            state=PackExport.State.RUNNING, step=step, done=done, total=total
        )

    try:
        # The log as it is signed now: what the pack is read from has at least that, and what was asked for before.
        checkpoint = make_checkpoint()

        def write(target: Path) -> tuple[EvidencePack, int]:
            draft = pack_documents(engagement, window=window, progress=progress)
            keys: set[int] = set().union(*(entry_keys(control, window=window) for control in draft.controls))
            progress("Collecting entries and proofs", draft.steps - 1, draft.steps)
            pack = write_pack(
                target,
                principal=_requester(export),
                title=f"{engagement.name} evidence",
                selection=Selection(seqs=frozenset(_places(sorted(keys)))),
                omissions=draft.omissions,
                documents=draft.documents,
                progress=lambda step: progress(step, draft.steps - 1, draft.steps),
                checkpoint=checkpoint,
            )
            return pack, draft.steps

        # The file is written outside a transaction: nobody waits for the database while gigabytes are copied.
        with tempfile.TemporaryDirectory(prefix="assay-pack-", dir=scratch_folder()) as folder:
            target = Path(folder) / "pack.zip"
            pack, steps = read_as_report(lambda _: write(target))
            digest = store_artifact_file(target, media_type="application/zip", name=pack.name)
        with transaction.atomic():
            settle(
                export,
                state=PackExport.State.COMPLETED,
                step="Done",
                done=steps,
                total=steps,
                name=pack.name,
                sha256=digest,
                manifest_sha256=pack.manifest_sha256,
                entries=pack.entries,
                omissions=[{"what": one.what, "reason": one.reason} for one in pack.omissions],
                key=pack.key,
                finished_at=database_now(),
                last_error="",
            )
    except (NothingSealedError, PackTooLargeError, ValueError) as error:
        give_up(export, error=str(error) or type(error).__name__, state=PackExport.State.FAILED, step=str(error)[:160])


def _places(keys: Sequence[int]) -> Iterator[int]:
    """Yield the places of entries in the log, some at a time: a log of millions is not read for a pack of a few."""
    for start in range(0, len(keys), KEYS_AT_ONCE):
        some = entries().filter(pk__in=keys[start : start + KEYS_AT_ONCE], seal__isnull=False).order_by()
        yield from some.values_list("seal__seq", flat=True)


def _requester(export: PackExport) -> Principal:
    """Return a principal that carries the name of whoever asked; the right was checked when they asked."""
    kind, _, key = export.requested_by.partition(":")
    if kind == PrincipalKind.USER:
        return Principal(kind=PrincipalKind.USER, label=export.requested_by_label, user_id=int(key))
    if kind == PrincipalKind.TOKEN:
        return Principal(kind=PrincipalKind.TOKEN, label=export.requested_by_label, token_id=int(key))
    return system_principal(key)


def _audit(principal: Principal, action: str, engagement: Engagement, *, after: dict[str, str]) -> None:
    record(
        AuditedAction(action=action, target=engagement.slug, after=after),
        actor=principal.reference,
        subject=f"engagement:{engagement.slug}",
    )
