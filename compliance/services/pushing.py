"""Evidence that collectors elsewhere push, signed with a key of theirs."""

import base64
import hashlib

import orjson
from django.db import transaction

from accounts.data import Capability, Principal
from accounts.services import ensure_may
from compliance.domain.attestations import Envelope, ForgedError, Statement, opened, raw_key, subject_problem
from compliance.models import CollectorKey, Control, Evidence
from compliance.services.evidence import Submission, submit_evidence
from core.clock import database_now
from core.parsing import InputRefusedError, parse_document, refuse
from core.proving import dangerous
from ledger.data.access import AuditedAction
from ledger.data.evidence import EvidenceRefused
from ledger.services import record


@dangerous("trust the key of a collector")
@transaction.atomic
def add_collector_key(*, principal: Principal, name: str, public_key: str) -> CollectorKey:
    """Trust a collector's key (Ed25519, base64). Raises InputRefusedError."""
    ensure_may(principal, Capability.COMPLIANCE_EDIT)
    try:
        raw = raw_key(public_key)
    except ForgedError as error:
        raise refuse("public_key", found=str(error), allowed="32 bytes in base64 are allowed") from None
    if CollectorKey.objects.filter(name=name).exists():
        raise refuse("name", found=name, allowed="a name that no other key has is allowed")
    made = CollectorKey.objects.create(
        name=name,
        public_key=base64.b64encode(raw).decode(),
        created_at=database_now(),
        created_by=principal.reference,
    )
    _audit(principal, "collector.key_added", name)
    return made


@dangerous("no longer trust the key of a collector")
@transaction.atomic
def revoke_collector_key(*, principal: Principal, key: CollectorKey) -> None:
    """No longer trust a key; what it signed before stays."""
    ensure_may(principal, Capability.COMPLIANCE_EDIT)
    if CollectorKey.objects.filter(pk=key.pk, revoked_at__isnull=True).update(revoked_at=database_now()):
        _audit(principal, "collector.key_revoked", key.name)


def push_evidence(*, principal: Principal, envelope: object, content: bytes | None, file_name: str = "") -> Evidence:
    """Take signed evidence for review. A forged one raises InputRefusedError with the reason, which is recorded."""
    ensure_may(principal, Capability.COMPLIANCE_EDIT)
    try:
        parsed = parse_document(Envelope, envelope, source="envelope")
        known = CollectorKey.objects.filter(revoked_at__isnull=True)
        signed = opened(parsed, {one.name: base64.b64decode(one.public_key) for one in known})
        statement = parse_document(Statement, orjson.loads(signed.payload), source="statement")
    except (ForgedError, orjson.JSONDecodeError) as error:
        _refused(principal, str(error))
        raise refuse(
            "envelope", found=str(error), allowed="an envelope signed by a known collector is allowed"
        ) from None
    except InputRefusedError as error:
        _refused(principal, str(error))
        raise
    said = statement.predicate
    control = Control.objects.filter(slug=said.control, retired_at__isnull=True).first()
    if control is None:
        _refused(principal, f"no control {said.control}")
        raise refuse("control", found=said.control, allowed="the short name of a control is allowed")
    if content is not None and (problem := subject_problem(statement, hashlib.sha256(content).hexdigest())):
        _refused(principal, problem, control=control.slug, title=said.title)
        raise refuse("file", found=problem, allowed="the file that the statement names is allowed")
    named = ", ".join(f"{one.name} {one.digest.get('sha256', '')}" for one in statement.subject)
    return submit_evidence(
        principal=principal,
        control=control,
        submission=Submission(
            title=said.title,
            statement=said.statement or f"Signed by {signed.key} for {named}.",
            period_start=said.period_start,
            period_end=said.period_end,
            observed_at=said.observed_at,
            collected_at=said.collected_at,
            source=said.source,
            collector=signed.key,
            query=said.query,
            evidence_type=said.evidence_type[:3],
            external_id=said.external_id,
            content=content,
            file_name=file_name or statement.subject[0].name,
            pushed=True,
        ),
    )


def _refused(principal: Principal, reason: str, *, control: str = "", title: str = "") -> None:
    record(
        EvidenceRefused(evidence="", control=control, title=title[:160], reason=reason[:500], by_rule=True),
        actor=principal.reference,
        subject=f"control:{control}" if control else "evidence:pushed",
    )


def _audit(principal: Principal, action: str, name: str) -> None:
    record(AuditedAction(action=action, target=name), actor=principal.reference, subject=f"collector:{name}")
