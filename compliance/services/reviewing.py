"""Access reviews as campaigns: read who has access, decide on each, see that what was taken away is gone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import requests
from django.db import transaction
from django.utils.dateparse import parse_datetime

from accounts.data import Capability, Principal
from accounts.selectors import people, tokens_of
from accounts.services import ensure_may
from compliance.models import AccessCampaign, AccessEntry
from compliance.services.tables import read_csv
from core.clock import database_now
from core.http import guarded_session
from core.parsing import refuse
from ledger.data.access import AccessReviewed, AuditedAction
from ledger.services import record

COLUMNS = ("account",)
OPTIONAL = ("person", "roles", "privileged", "second_factor", "last_used_at")
MAX_ACCOUNTS = 50_000
PAGES = 200


@dataclass(frozen=True)
class Account:
    """One account as a source tells it."""

    account: str
    person: str = ""
    roles: str = ""
    privileged: bool = False
    second_factor: bool | None = None
    last_used_at: datetime | None = None


def accounts_of_assay() -> list[Account]:
    """Return people and live tokens of this site."""
    found = []
    for user in people().filter(is_active=True).prefetch_related("grants"):
        roles = sorted({str(grant.role) for grant in user.grants.all()})
        privileged = "admin" in roles or user.is_superuser
        found.append(Account(user.username, user.username, " ".join(roles), privileged, last_used_at=user.last_login))
        found += [
            Account(f"token:{token.pk}", user.username, " ".join(token.scopes or ()), last_used_at=token.last_used_at)
            for token in tokens_of(user_id=user.pk).filter(revoked_at__isnull=True)
        ]
    return found


def accounts_of_csv(raw: bytes, *, source: str) -> list[Account]:
    """Return the accounts of a table. Raises InputRefusedError."""
    rows = read_csv(raw, source=source, columns=COLUMNS, optional=OPTIONAL)
    return [_account(row, where=f"{source}:{number}") for number, row in enumerate(rows, start=2)]


def accounts_of_github(*, organization: str, token: str, api_url: str, allow: Sequence[str] = ()) -> list[Account]:
    """Return the members of an organization. Raises InputRefusedError, also when not every page was read."""
    found = []
    for role in ("admin", "member"):
        address = f"{api_url.rstrip('/')}/orgs/{organization}/members?per_page=100&role={role}"
        for member in _paged(address, token=token, allow=allow):
            login = str(member.get("login", ""))
            found.append(Account(login, login, role, role == "admin"))
    return found


def accounts_of_rest(*, address: str, token: str = "", allow: Sequence[str] = ()) -> list[Account]:
    """Return the accounts of an address that answers a JSON list of objects with at least `account`."""
    return [
        _account({str(key): _text(value) for key, value in one.items()}, where=f"{address} item {number}")
        for number, one in enumerate(_paged(address, token=token, allow=allow), start=1)
    ]


def _paged(address: str, *, token: str, allow: Sequence[str]) -> Iterable[dict[str, object]]:
    headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    following: str | None = address
    with guarded_session(allow=allow, max_bytes=10 * 1024 * 1024) as session:
        for _ in range(PAGES):
            if following is None:
                return
            try:
                answer = session.get(following, headers=headers)
                answer.raise_for_status()
                rows = answer.json()
            except (requests.RequestException, ValueError) as error:
                raise refuse(address, found=str(error)[:300], allowed="an address that answers is allowed") from None
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                raise refuse(address, found="something else", allowed="a JSON list of objects is allowed")
            yield from rows
            following = answer.links.get("next", {}).get("url")
    raise refuse(address, found=f"more than {PAGES} pages", allowed="fewer pages are allowed")


def _account(row: dict[str, str], *, where: str) -> Account:
    if not row.get("account", "").strip():
        raise refuse(where, found="no account", allowed="a name in `account` is required")
    used = row.get("last_used_at", "")
    moment = parse_datetime(used) if used else None
    if used and (moment is None or moment.tzinfo is None):
        raise refuse(f"{where} last_used_at", found=used, allowed="a time with its zone is allowed")
    factor = row.get("second_factor", "").lower()
    return Account(
        row["account"].strip()[:160],
        row.get("person", "").strip()[:160],
        row.get("roles", "").strip()[:300],
        row.get("privileged", "").lower() in {"yes", "true", "1"},
        None if not factor else factor in {"yes", "true", "1"},
        moment,
    )


def _text(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "" if value is None else str(value)


@transaction.atomic
def open_campaign(
    *,
    principal: Principal,
    slug: str,
    name: str,
    system: str,
    source: str,
    due_on: date,
    accounts: Sequence[Account],
) -> AccessCampaign:
    """Open a review of these accounts. Raises InputRefusedError for none, or one twice."""
    ensure_may(principal, Capability.COMPLIANCE_EDIT)
    if AccessCampaign.objects.filter(slug=slug).exists():
        raise refuse("slug", found=slug, allowed="a short name that no other review has is allowed")
    if not accounts:
        raise refuse("accounts", found="none", allowed="a source that has accounts is allowed")
    names = [one.account for one in accounts]
    if len(set(names)) != len(names):
        twice = next(one for one in names if names.count(one) > 1)
        raise refuse("accounts", found=f"{twice} twice", allowed="each account once is allowed")
    if len(names) > MAX_ACCOUNTS:
        raise refuse("accounts", found=str(len(names)), allowed=f"at most {MAX_ACCOUNTS} are allowed")
    now = database_now()
    if due_on < now.date():
        raise refuse("due_on", found=str(due_on), allowed="a day to come is allowed")
    made = AccessCampaign.objects.create(
        slug=slug,
        name=name,
        system=system,
        source=source,
        due_on=due_on,
        opened_at=now,
        opened_by=principal.reference,
        accounts_in_source=len(names),
    )
    AccessEntry.objects.bulk_create([AccessEntry(campaign=made, **vars(one)) for one in accounts], batch_size=500)
    _audit(principal, "access_review.opened", made, accounts=str(len(names)))
    return made


def is_subject(principal: Principal, entry: AccessEntry) -> bool:
    """Say whether an account is the principal's own."""
    if principal.user_id is None:
        return False
    user = people().filter(pk=principal.user_id).first()
    mine = {user.username.lower(), user.email.lower()} - {""} if user else set()
    return bool({entry.account.lower(), entry.person.lower()} & mine)


@transaction.atomic
def decide_access(*, principal: Principal, entry: AccessEntry, decision: str, note: str = "") -> None:
    """Keep an account or take it away; nobody decides on their own. Raises InputRefusedError."""
    ensure_may(principal, Capability.COMPLIANCE_EDIT)
    if entry.campaign.closed_at is not None:
        raise refuse("campaign", found="a review that has ended", allowed="an open one is allowed")
    if decision not in {AccessEntry.Decision.KEEP, AccessEntry.Decision.REVOKE}:
        raise refuse("decision", found=decision, allowed="keep or revoke is allowed")
    if is_subject(principal, entry):
        raise refuse("reviewer", found="your own account", allowed="somebody else must decide on it")
    if entry.revoked_at is not None:
        raise refuse("decision", found="an account that was taken away already", allowed="another is allowed")
    AccessEntry.objects.filter(pk=entry.pk).update(
        decision=decision,
        note=note[:300],
        decided_by=principal.reference,
        decided_by_label=principal.label[:160],
        decided_at=database_now(),
    )


@transaction.atomic
def confirm_revocation(*, principal: Principal, entry: AccessEntry) -> None:
    """Note that an account that was to be taken away is gone."""
    ensure_may(principal, Capability.COMPLIANCE_EDIT)
    waiting = AccessEntry.objects.filter(
        pk=entry.pk, decision=AccessEntry.Decision.REVOKE, revoked_at__isnull=True, campaign__closed_at__isnull=True
    )
    if not waiting.update(revoked_at=database_now(), revoked_by=principal.reference):
        raise refuse("entry", found=entry.decision, allowed="an account to be taken away is allowed")
    _audit(principal, "access_review.revoked", entry.campaign, account=entry.account)


@transaction.atomic
def compare_with_source(*, principal: Principal, campaign: AccessCampaign, accounts: Sequence[Account]) -> int:
    """Read the source again and note which accounts to be taken away are gone from it; return how many."""
    ensure_may(principal, Capability.COMPLIANCE_EDIT)
    there = {one.account for one in accounts}
    waiting = campaign.entries.filter(decision=AccessEntry.Decision.REVOKE, revoked_at__isnull=True)
    gone = [one for one in waiting if one.account not in there]
    for one in gone:
        confirm_revocation(principal=principal, entry=one)
    return len(gone)


@transaction.atomic
def close_campaign(*, principal: Principal, campaign: AccessCampaign) -> None:
    """End a review once every account is decided; what was not yet taken away is counted as it is."""
    ensure_may(principal, Capability.COMPLIANCE_EDIT)
    rows = list(campaign.entries.all())
    undecided = sum(one.decision == AccessEntry.Decision.PENDING for one in rows)
    if undecided:
        raise refuse(
            "campaign", found=f"{undecided} accounts without a decision", allowed="a decision on each is needed"
        )
    now = database_now()
    if not AccessCampaign.objects.filter(pk=campaign.pk, closed_at__isnull=True).update(
        closed_at=now, closed_by=principal.reference
    ):
        raise refuse("campaign", found="a review that has ended", allowed="an open one is allowed")
    revoked = [one for one in rows if one.decision == AccessEntry.Decision.REVOKE]
    record(
        AccessReviewed(
            campaign=campaign.slug,
            system=campaign.system,
            accounts_in_source=campaign.accounts_in_source,
            accounts_reviewed=len(rows),
            kept=len(rows) - len(revoked),
            revoked=len(revoked),
            revocations_done=sum(one.revoked_at is not None for one in revoked),
            reviewer=principal.reference,
            self_reviewed=0,
            finished_at=now,
        ),
        actor=principal.reference,
        subject=f"access:{campaign.system}"[:200],
        period=(campaign.opened_at, now),
    )


def _audit(principal: Principal, action: str, campaign: AccessCampaign, **after: str) -> None:
    record(
        AuditedAction(action=action, target=campaign.slug, after=after),
        actor=principal.reference,
        subject=f"access:{campaign.system}"[:200],
    )
