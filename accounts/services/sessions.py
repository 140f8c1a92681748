"""The browsers that people are signed in with: begun, kept in sight, ended."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.backends.db import SessionStore
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from accounts.data import Capability, Principal, ProviderKind
from accounts.domain.sessions import Ended, SessionRules, why_over
from accounts.models import IdentityProvider, SignInSession, User
from accounts.selectors import active_providers, has_second_factor, needs_second_factor, session_rules
from core.database_trouble import written_if_possible

KEPT = "assay_sign_in"
# Where django-allauth notes that somebody has shown again who they are.
RECORDS = "account_authentication_methods"
# Where a SAML provider's name for the session waits until the person is signed in.
SAML_TOLD = "assay_saml"
# Which session a browser that has just signed out here may end at its provider too.
SIGNING_OUT = "assay_signing_out"
# When a provider says that the person proved who they are, until the session here begins.
PROVED_THERE = "assay_proved_there"
SEEN_RESOLUTION = timedelta(minutes=1)


def begin_session(
    *,
    request: HttpRequest,
    user: User,
    method: str,
    trusted_factor: bool = False,
    told: dict[str, Any] | None = None,
    proved: float | None = None,
) -> None:
    """Note that somebody has signed in with this browser; `trusted_factor`: a second factor was shown elsewhere.

    `told` is what a provider calls the person and its session, by which either side can end it; `proved` is when they
    last showed there who they are, if that was earlier than now.
    """
    session, now = request.session, timezone.now()
    if session.session_key is None:
        session.create()
    must_enrol = not trusted_factor and needs_second_factor(user=user) and not has_second_factor(user=user)
    proved_at = now if proved is None else min(now, _instant(proved))
    _keep(session, signed_in_at=now, seen_at=now, proved_at=proved_at, rules=session_rules(), enrol=must_enrol)
    with transaction.atomic():
        SignInSession.objects.update_or_create(
            session_key=session.session_key,
            defaults={
                "user": user,
                "method": method[:120],
                "address": request.META.get("REMOTE_ADDR", "")[:64],
                "agent": request.headers.get("User-Agent", "")[:300],
                "signed_in_at": now,
                "seen_at": now,
                "ended_at": None,
                "ended_why": "",
                **_names(method, told or {}),
            },
        )


def see_session(*, session: SessionBase) -> Ended | None:
    """Note that a session is in use, at most once a minute; says why it is over, if it is.

    The rules are read anew with each note, so that a change of them reaches open sessions within that time.
    """
    kept, now = session[KEPT], timezone.now()
    open_here = SignInSession.objects.filter(session_key=session.session_key or "")
    rules = SessionRules(idle=timedelta(seconds=kept["idle"]), life=timedelta(seconds=kept["life"]), fresh=timedelta(0))
    seen_at, signed_in_at = _instant(kept["seen"]), _instant(kept["at"])
    why = why_over(signed_in_at=signed_in_at, seen_at=seen_at, now=now, rules=rules)
    if why is None and abs(now - seen_at) >= SEEN_RESOLUTION:
        rules = session_rules()
        why = why_over(signed_in_at=signed_in_at, seen_at=seen_at, now=now, rules=rules)
        proved = _instant(kept["proved"])
        # A database that takes no writes keeps nobody from reading: the session just ages.
        if written_if_possible(lambda: open_here.update(seen_at=now)):
            _keep(session, signed_in_at=signed_in_at, seen_at=now, proved_at=proved, rules=rules, enrol=kept["enrol"])
    if why is not None:
        over = open_here.filter(ended_at__isnull=True)
        written_if_possible(lambda: over.update(ended_at=now, ended_why=f"over: {why.value}"))
    return why


def session_is_known(session: SessionBase) -> bool:
    """Say whether a session was begun here (one that a test or an older version made was not)."""
    return KEPT in session


def must_enrol(session: SessionBase) -> bool:
    """Say whether the person has to set up a second factor before anything else."""
    return bool(session.get(KEPT, {}).get("enrol"))


def proved_at(request: HttpRequest) -> datetime | None:
    """Return when the person in this browser last showed who they are."""
    kept = request.session.get(KEPT)
    if not kept:
        return None
    again = [float(one["at"]) for one in request.session.get(RECORDS, ()) if one.get("reauthenticated")]
    return _instant(max([kept["proved"], *again]))


def proved_there(request: HttpRequest, *, said: Any) -> None:
    """Keep when a provider says that the person proved who they are: its own session may be hours old."""
    request.session.pop(PROVED_THERE, None)
    if isinstance(said, int | float) and not isinstance(said, bool) and said > 0:
        request.session[PROVED_THERE] = float(said)


def note_proof(session: SessionBase, *, enrolled: bool = False) -> None:
    """Note that the person has just shown again who they are, or has set up a second factor."""
    if KEPT in session:
        kept = dict(session[KEPT])
        kept["proved"] = time.time()
        kept["enrol"] = kept["enrol"] and not enrolled
        session[KEPT] = kept


def note_factor_gone(session: SessionBase, *, user: User) -> None:
    """Lead somebody who has removed the last second factor that their role asks for to its set-up again."""
    if KEPT in session and needs_second_factor(user=user) and not has_second_factor(user=user):
        session[KEPT] = {**session[KEPT], "enrol": True}


def move_session(*, before: str | None, session: SessionBase) -> None:
    """Follow a session that got another key (after a change of the password)."""
    if before and session.session_key and before != session.session_key:
        SignInSession.objects.filter(session_key=before).update(session_key=session.session_key)


def session_closed(*, session_key: str | None, why: str) -> None:
    """Note that a browser has signed out."""
    if session_key:
        SignInSession.objects.filter(session_key=session_key, ended_at__isnull=True).update(
            ended_at=timezone.now(), ended_why=why[:40]
        )


def end_sessions_of(*, user: User, why: str, keys: list[str] | None = None, but: str = "") -> int:
    """End a person's sessions (those with `keys`, but for one); returns how many were open."""
    rows = SignInSession.objects.filter(user=user, ended_at__isnull=True).exclude(session_key=but)
    if keys is not None:
        rows = rows.filter(session_key__in=keys)
    open_keys = list(rows.values_list("session_key", flat=True))
    SignInSession.objects.filter(session_key__in=open_keys).update(ended_at=timezone.now(), ended_why=why[:40])
    SessionStore.get_model_class().objects.filter(session_key__in=open_keys).delete()
    return len(open_keys)


def end_every_session(*, why: str) -> None:
    """End the sessions of everybody."""
    SignInSession.objects.filter(ended_at__isnull=True).update(ended_at=timezone.now(), ended_why=why[:40])
    SessionStore.get_model_class().objects.all().delete()


def session_to_end_elsewhere(*, session_key: str | None) -> tuple[int, IdentityProvider] | None:
    """Return the number of a session that its provider wants to be told the end of, and that provider."""
    row = SignInSession.objects.filter(session_key=session_key or "").exclude(name_id="").first()
    if row is None:
        return None
    provider = active_providers(kinds=(ProviderKind.SAML,)).filter(slug=row.method.removeprefix("provider:")).first()
    return (row.pk, provider) if provider is not None and provider.configuration.get("slo_url") else None


def may_end_sessions_of(*, principal: Principal, user: User) -> bool:
    """Say whether the principal may end the person's sessions: their own, or an administrator anybody's."""
    return principal.user_id == user.pk or principal.may(Capability.SITE_ADMIN)


def _names(method: str, told: dict[str, Any]) -> dict[str, Any]:
    if method != f"provider:{told.get('provider')}":
        return {"name_id": "", "name_id_told": {}, "session_index": ""}
    return {"name_id": told["name_id"][:512], "name_id_told": told["told"], "session_index": told["index"][:255]}


def _keep(
    session: SessionBase,
    *,
    signed_in_at: datetime,
    seen_at: datetime,
    proved_at: datetime,
    rules: SessionRules,
    enrol: bool,
) -> None:
    kept: dict[str, Any] = {
        "at": signed_in_at.timestamp(),
        "seen": seen_at.timestamp(),
        "proved": proved_at.timestamp(),
        "idle": rules.idle.total_seconds(),
        "life": rules.life.total_seconds(),
        "enrol": enrol,
    }
    session[KEPT] = kept


def _instant(stamp: float) -> datetime:
    return datetime.fromtimestamp(stamp, tz=UTC)
