"""Changes of GitHub and GitLab: who wrote, approved and merged, as the forge says, by webhook and by its API."""

import hashlib
import hmac
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

import requests
from django.db import transaction
from django.utils.dateparse import parse_datetime

from accounts.data import Capability, Principal, system_principal
from accounts.services import ensure_may
from compliance.models import ChangeRecord, ChangeSource
from core.clock import database_now
from core.http import guarded_session
from core.parsing import refuse
from core.proving import dangerous
from ledger.data.access import AuditedAction
from ledger.data.changes import ChangeMerged
from ledger.services import record

COLLECTOR = system_principal("change-collector")
APIS = {ChangeSource.Forge.GITHUB: "https://api.github.com", ChangeSource.Forge.GITLAB: "https://gitlab.com/api/v4"}
NEWEST = 100


class NotGenuineError(PermissionError):
    """The webhook was not signed with the secret of its source."""


@dataclass(frozen=True)
class Merged:
    """A change as a forge tells it."""

    change: str
    title: str
    author: str
    merged_by: str
    merged_at: datetime
    commit: str
    url: str
    approvers: tuple[str, ...] = ()
    checks_passed: bool | None = None


@dangerous("change the secrets of a repository")
@transaction.atomic
def save_change_source(
    *,
    principal: Principal,
    slug: str,
    forge: str,
    repository: str,
    secret: str,
    token: str = "",
    api_url: str = "",
    allow: Sequence[str] = (),
) -> ChangeSource:
    """Connect a repository, or change how. Raises InputRefusedError."""
    ensure_may(principal, Capability.COMPLIANCE_EDIT)
    if forge not in APIS:
        raise refuse("forge", found=forge, allowed="github or gitlab is allowed")
    if len(secret) < 16:
        raise refuse("secret", found=f"{len(secret)} characters", allowed="at least 16 are allowed")
    values = {
        "forge": forge,
        "repository": repository.strip("/"),
        "secret": secret,
        "token": token,
        "api_url": (api_url or APIS[ChangeSource.Forge(forge)]).rstrip("/"),
        "allow": list(allow),
    }
    made, _ = ChangeSource.objects.update_or_create(
        slug=slug, defaults=values, create_defaults={**values, "created_at": database_now()}
    )
    record(
        AuditedAction(action="change_source.saved", target=slug, after={"repository": repository, "forge": forge}),
        actor=principal.reference,
        subject=f"change-source:{slug}",
    )
    return made


def ensure_genuine(source: ChangeSource, *, body: bytes, signature: str, token: str) -> None:
    """Raise NotGenuineError unless the forge knows the secret: a signature (GitHub) or the secret itself (GitLab)."""
    if source.forge == ChangeSource.Forge.GITHUB:
        wanted = "sha256=" + hmac.new(source.secret.encode(), body, hashlib.sha256).hexdigest()
        good = hmac.compare_digest(wanted, signature)
    else:
        good = hmac.compare_digest(source.secret.encode(), token.encode())
    if not good:
        raise NotGenuineError("The webhook is not signed with the secret of this source.")


def take_webhook(source: ChangeSource, *, event: str, body: dict[str, Any]) -> str:
    """Take in what a forge tells; return what was done with it, in words. Raises InputRefusedError."""
    github = source.forge == ChangeSource.Forge.GITHUB
    told = (
        str((body.get("repository") or body.get("project") or {}).get("full_name") or "")
        if github
        else str((body.get("project") or {}).get("path_with_namespace", ""))
    )
    if told.lower() != source.repository.lower():
        raise refuse("repository", found=told[:200] or "none", allowed=f"{source.repository} is allowed")
    ChangeSource.objects.filter(pk=source.pk).update(last_received_at=database_now(), last_error="")
    return _github_event(source, event, body) if github else _gitlab_event(source, event, body)


def _github_event(source: ChangeSource, event: str, body: dict[str, Any]) -> str:
    pull = body.get("pull_request") or {}
    if event == "pull_request_review" and body.get("action") in {"submitted", "dismissed"}:
        review = body.get("review") or {}
        approves = str(review.get("state", "")).lower() == "approved" and body["action"] == "submitted"
        _note_approval(source, str(pull.get("number")), _login(review.get("user")), approves=approves)
        return "approval noted" if approves else "review noted"
    if event == "pull_request" and body.get("action") == "closed" and pull.get("merged"):
        return _keep(source, _github_pull(pull))
    return "nothing to record"


def _gitlab_event(source: ChangeSource, event: str, body: dict[str, Any]) -> str:
    merge = body.get("object_attributes") or {}
    action = merge.get("action")
    if event != "Merge Request Hook":
        return "nothing to record"
    change, who = str(merge.get("iid")), str((body.get("user") or {}).get("username", ""))
    if action in {"approved", "approval", "unapproved", "unapproval"}:
        _note_approval(source, change, who, approves=action in {"approved", "approval"})
        return "approval noted"
    if action != "merge":
        return "nothing to record"
    author = merge.get("author_username") or (merge.get("last_commit") or {}).get("author", {}).get("name", "")
    return _keep(
        source,
        Merged(
            change,
            str(merge.get("title", ""))[:300],
            str(author),
            who,
            _moment(merge.get("merged_at") or merge.get("updated_at")),
            str(merge.get("merge_commit_sha") or ""),
            str(merge.get("url", "")),
        ),
    )


def _note_approval(source: ChangeSource, change: str, who: str, *, approves: bool) -> None:
    with transaction.atomic():
        row, _ = ChangeRecord.objects.select_for_update().get_or_create(source=source, change=change)
        if row.recorded_at is None:
            others = [one for one in row.approvers if one != who]
            row.approvers = sorted({*others, who}) if approves else others
            row.save(update_fields=["approvers"])


def _keep(source: ChangeSource, merged: Merged) -> str:
    """Note a merged change, with what the API adds, and record it once."""
    if source.token:
        try:
            merged = _completed(source, merged)
        except (requests.RequestException, ValueError) as error:
            # The forge is asked again by `fetch_changes`; what the webhooks told is not held back for it.
            ChangeSource.objects.filter(pk=source.pk).update(last_error=str(error)[:2000])
    with transaction.atomic():
        row, _ = ChangeRecord.objects.select_for_update().get_or_create(source=source, change=merged.change)
        if row.recorded_at is not None:
            return "recorded before"
        approvers = sorted({*row.approvers, *merged.approvers})
        for name, value in vars(merged).items():
            setattr(row, name, value)
        row.approvers, row.recorded_at = approvers, database_now()
        row.save()
        record(
            ChangeMerged(
                forge=source.forge,
                repository=source.repository,
                change=row.change,
                title=row.title,
                author=row.author,
                approvers=approvers,
                approved_by_another=row.approved_by_another,
                checks_passed=row.checks_passed,
                commit=row.commit,
                merged_by=row.merged_by,
                merged_at=merged.merged_at,
                url=row.url,
            ),
            actor=COLLECTOR.reference,
            subject=f"repository:{source.repository}"[:200],
            occurred_at=merged.merged_at,
        )
    return "recorded"


def fetch_changes(*, principal: Principal, source: ChangeSource) -> int:
    """Read the newest merged changes from the forge's API and record those that are not; return how many.

    Raises InputRefusedError when the forge does not answer.
    """
    ensure_may(principal, Capability.COMPLIANCE_EDIT)
    try:
        found = list(_merged(source))
    except (requests.RequestException, ValueError) as error:
        ChangeSource.objects.filter(pk=source.pk).update(last_error=str(error)[:2000])
        raise refuse(source.api_url, found=str(error)[:300], allowed="an API that answers is allowed") from None
    return sum(_keep(source, one) == "recorded" for one in found)


def _merged(source: ChangeSource) -> Iterator[Merged]:
    done = set(source.changes.filter(recorded_at__isnull=False).values_list("change", flat=True))
    if source.forge == ChangeSource.Forge.GITHUB:
        address = f"repos/{source.repository}/pulls?state=closed&sort=updated&direction=desc&per_page={NEWEST}"
        for pull in _get(source, address):
            if pull.get("merged_at") and str(pull["number"]) not in done:
                yield _github_pull(pull)
        return
    project = quote(source.repository, safe="")
    for one in _get(source, f"projects/{project}/merge_requests?state=merged&order_by=updated_at&per_page={NEWEST}"):
        if str(one["iid"]) not in done:
            yield Merged(
                str(one["iid"]),
                str(one["title"])[:300],
                _login(one.get("author")),
                _login(one.get("merge_user") or one.get("merged_by")),
                _moment(one.get("merged_at")),
                str(one.get("merge_commit_sha") or one.get("sha") or ""),
                str(one.get("web_url", "")),
            )


def _github_pull(pull: dict[str, Any]) -> Merged:
    return Merged(
        str(pull["number"]),
        str(pull.get("title", ""))[:300],
        _login(pull.get("user")),
        _login(pull.get("merged_by")),
        _moment(pull.get("merged_at")),
        str(pull.get("merge_commit_sha") or ""),
        str(pull.get("html_url", "")),
    )


def _completed(source: ChangeSource, merged: Merged) -> Merged:
    """Add approvers and the result of checks, which webhooks and lists do not tell."""
    if source.forge == ChangeSource.Forge.GITHUB:
        base = f"repos/{source.repository}"
        states: dict[str, str] = {}
        for review in _get(source, f"{base}/pulls/{merged.change}/reviews?per_page=100"):
            if review.get("state") in {"APPROVED", "CHANGES_REQUESTED", "DISMISSED"}:
                states[_login(review.get("user"))] = str(review["state"])
        runs = _get(source, f"{base}/commits/{merged.commit}/check-runs?per_page=100")["check_runs"]
        good = {"success", "neutral", "skipped"}
        passed = all(run.get("conclusion") in good for run in runs) if runs else None
        approvers = tuple(sorted(who for who, state in states.items() if state == "APPROVED"))
        return Merged(**(vars(merged) | {"approvers": approvers, "checks_passed": passed}))
    base = f"projects/{quote(source.repository, safe='')}/merge_requests/{merged.change}"
    approved = _get(source, f"{base}/approvals").get("approved_by") or []
    pipelines = _get(source, f"{base}/pipelines")
    passed = pipelines[0].get("status") == "success" if pipelines else None
    approvers = tuple(sorted(_login(one.get("user")) for one in approved))
    return Merged(**(vars(merged) | {"approvers": approvers, "checks_passed": passed}))


def _get(source: ChangeSource, path: str) -> Any:
    if source.forge == ChangeSource.Forge.GITHUB:
        headers = {"Accept": "application/vnd.github+json", "Authorization": f"Bearer {source.token}"}
    else:
        headers = {"PRIVATE-TOKEN": source.token}
    with guarded_session(allow=source.allow, max_bytes=10 * 1024 * 1024) as session:
        answer = session.get(f"{source.api_url}/{path}", headers=headers if source.token else {})
    answer.raise_for_status()
    return answer.json()


def _login(user: Any) -> str:
    return str((user or {}).get("login") or (user or {}).get("username") or "")


def _moment(text: Any) -> datetime:
    moment = parse_datetime(str(text or "").replace(" UTC", "+00:00"))
    if moment is None or moment.tzinfo is None:
        raise refuse("merged_at", found=str(text)[:60], allowed="a time with its zone is allowed")
    return moment
