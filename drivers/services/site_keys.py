"""Rotate the key that stored secrets are encrypted under."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from django.conf import settings

from accounts.data import Capability, Principal
from accounts.services import ensure_may
from core.proving import dangerous
from core.rekeying import FieldKeys, store_under_current_key, survey_keys
from drivers.services.site_database import SiteError
from ledger.data.recovery import SiteKeysRotated
from ledger.services import record

FILE = "secret_key"
PREVIOUS = "secret_key_previous"


@dangerous("make a new key of the site")
def make_new_key(*, principal: Principal) -> Path:
    """Put a new key into the state folder; the one in use is accepted from now on. Raises SiteError.

    The old key is written down before the new one takes its place: whatever kills this leaves nothing unreadable.
    """
    ensure_may(principal, Capability.SITE_ADMIN)
    path = Path(settings.STATE_DIR) / FILE
    if settings.ENVIRONMENT.secret_key or settings.ENVIRONMENT.secret_key_previous:
        raise SiteError(
            "The key comes from the environment: put the new one into SECRET_KEY and the one in use into "
            "SECRET_KEY_PREVIOUS there. Nothing was changed."
        )
    accepted = [path.read_text("ascii").strip(), *settings.SECRET_KEY_FALLBACKS]
    _write(Path(settings.STATE_DIR) / PREVIOUS, "\n".join(dict.fromkeys(accepted)) + "\n")
    fresh = secrets.token_urlsafe(48)
    _write(path, fresh)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = fresh, accepted
    return path


@dangerous("store every secret under the key in use")
def rotate_keys(*, principal: Principal, progress: Callable[[str, int], None] = lambda *_: None) -> list[FieldKeys]:
    """Store every secret under the key in use, and record it. May be stopped and run again."""
    ensure_may(principal, Capability.SITE_ADMIN)
    found = store_under_current_key(progress=progress)
    rewritten = sum(one.rewritten for one in found)
    if rewritten:
        record(
            SiteKeysRotated(
                fields=len(found),
                stored=sum(one.current + one.older + one.unreadable for one in found),
                rewritten=rewritten,
                unreadable=sum(one.unreadable for one in found),
            ),
            actor=principal.reference,
            subject="site:assay",
        )
    return found


@dangerous("forget the keys of before")
def forget_previous_keys(*, principal: Principal) -> list[FieldKeys]:
    """Accept no older key any more. Raises SiteError while anything is stored under one."""
    ensure_may(principal, Capability.SITE_ADMIN)
    found = survey_keys()
    if left := sum(one.older for one in found):
        raise SiteError(f"{left} secrets are still stored under an older key; run site rotate-keys first.", code=1)
    (Path(settings.STATE_DIR) / PREVIOUS).unlink(missing_ok=True)
    settings.SECRET_KEY_FALLBACKS = []
    return found


def _write(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    draft.replace(path)
