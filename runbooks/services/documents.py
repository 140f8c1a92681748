"""Put revisions of runbooks into force."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from django.db import transaction

from accounts.data import Capability, Principal
from accounts.selectors import team_by_slug
from accounts.services import ensure_may
from catalog.selectors import services_by_slugs
from core.clock import database_now
from core.parsing import InputRefusedError, Problem
from ledger.data.runbooks import RunbookPublished
from ledger.services import record
from runbooks.models import Runbook, RunbookRevision
from runbooks.services.linting import Parsed, parse_runbook

PLAYBOOKS = Path(__file__).resolve().parent.parent / "playbooks"


def lint_documents(documents: Sequence[tuple[str, str]]) -> list[Problem]:
    """Return everything that is wrong with files, in their order; `documents` are (name of the file, text)."""
    problems: list[Problem] = []
    for source, text in documents:
        try:
            parse_runbook(text, source=source)
        except InputRefusedError as error:
            problems += error.problems
    return problems


def shipped_playbooks() -> list[tuple[str, str]]:
    """Return the playbooks that come with the site, as documents."""
    return [(path.name, path.read_text("utf-8")) for path in sorted(PLAYBOOKS.glob("*.md"))]


@transaction.atomic
def apply_documents(*, principal: Principal, documents: Sequence[tuple[str, str]]) -> list[str]:
    """Put runbooks into force, all or nothing; `documents` are (name of the file, text). Returns those that changed."""
    parsed: list[tuple[str, Parsed]] = []
    problems: list[Problem] = []
    for source, text in documents:
        try:
            parsed.append((source, parse_runbook(text, source=source)))
        except InputRefusedError as error:
            problems += error.problems
    if problems:
        raise InputRefusedError(problems)
    return [item.front.runbook for source, item in parsed if _apply(principal, item, source)]


def _apply(principal: Principal, parsed: Parsed, source: str) -> bool:
    front = parsed.front
    team = team_by_slug(slug=front.owner) if front.owner else None
    if front.owner and team is None:
        raise InputRefusedError([Problem(f"{source} owner", front.owner, "the slug of a team is allowed")])
    ensure_may(principal, Capability.RUNBOOK_EDIT, team_id=team.pk if team is not None else None)
    known = Runbook.objects.filter(slug=front.runbook).first()
    if known is not None and known.team_id != (team.pk if team else None):
        # Whoever takes a runbook over must be allowed to edit what it was, too.
        ensure_may(principal, Capability.RUNBOOK_EDIT, team_id=known.team_id)
    services = list(services_by_slugs(front.services))
    if missing := set(front.services) - {service.slug for service in services}:
        raise InputRefusedError([Problem(f"{source} services", min(missing), "slugs of services are allowed")])
    runbook, _ = Runbook.objects.update_or_create(
        slug=front.runbook,
        defaults={
            "title": front.title,
            "team": team,
            "review_by": date.fromisoformat(front.review_by) if front.review_by else None,
            "triggers": [trigger.model_dump() for trigger in front.triggers],
            "schedule": front.schedule.model_dump() if front.schedule else None,
        },
    )
    runbook.services.set(services)
    newest = runbook.revisions.order_by("-created_at", "-pk").first()
    if newest is not None and newest.sha256 == parsed.sha256:
        return False
    RunbookRevision.objects.update_or_create(
        runbook=runbook,
        sha256=parsed.sha256,
        defaults={
            "source": parsed.source,
            "blocks": parsed.blocks,
            "inputs": {name: spec.model_dump(mode="json", by_alias=True) for name, spec in front.inputs.items()},
            "policy": front.model_dump(mode="json", by_alias=True, include={"permissions", "unattended", "timeout"}),
            "author": principal.reference,
            "created_at": database_now(),
        },
    )
    record(
        RunbookPublished(runbook=front.runbook, revision=parsed.sha256, owner=front.owner, review_by=front.review_by),
        actor=principal.reference,
        subject=f"runbook:{front.runbook}",
    )
    return True
