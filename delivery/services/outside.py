"""Tell somebody outside that this site lives, as long as it does its work; when it does not, stay silent.

The word goes out through the same scheduler and worker as pages do. It is withheld while urgent work is overdue, so
that a site which answers but pages nobody is missed as well.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import requests

from core.clock import database_now
from core.health import OVERDUE_LIMIT
from core.http import guarded_session
from core.leases import settle
from core.parsing import refuse
from core.proving import dangerous
from core.work import oldest_overdue
from delivery.data import Actor
from delivery.models import OutsideWatch
from delivery.services.outbox import ensure_may_edit

SHORTEST = timedelta(seconds=10)
LONGEST = timedelta(days=1)
TIMEOUT_SECONDS = 10.0
# A word that did not arrive is tried again soon, well before the one outside gives up waiting.
TRIED_AGAIN = timedelta(seconds=10)


@dangerous("change who watches this site")
def save_outside_watch(
    *, principal: Actor, slug: str, url: str, every: timedelta, allow: Sequence[str] = ()
) -> OutsideWatch:
    """Set up whom to tell, or change it; the first word goes out at once. Raises InputRefusedError."""
    ensure_may_edit(principal)
    if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname:
        raise refuse("url", found="an address", allowed="an http or https address is allowed")
    if not SHORTEST <= every <= LONGEST:
        raise refuse("every", found=every, allowed="between 10 s and a day are allowed")
    watch, _ = OutsideWatch.objects.update_or_create(
        slug=slug, defaults={"url": url, "every": every, "allow": list(allow), "due_at": database_now()}
    )
    return watch


def remove_outside_watch(*, principal: Actor, slug: str) -> bool:
    """Tell no more; says whether there was one of this name."""
    ensure_may_edit(principal)
    return bool(OutsideWatch.objects.filter(slug=slug).delete()[0])


def tell_outside(watch: OutsideWatch) -> None:
    """Send a claimed word, or withhold it, and set when the next one is due."""
    now = database_now()
    if late := _overdue():
        settle(watch, due_at=now + TRIED_AGAIN, last_tried_at=now, last_error=f"withheld: {late}", attempts=0)
        return
    error = _send(watch)
    # Counted from when it was due, so that the words keep their distance whatever sending takes.
    next_at = _next(watch.due_at, watch.every, now) if not error else now + min(TRIED_AGAIN, watch.every)
    arrived = {} if error else {"last_word_at": now}
    settle(watch, due_at=next_at, last_tried_at=now, last_error=error[:1000], attempts=0, **arrived)


def _send(watch: OutsideWatch) -> str:
    try:
        with guarded_session(allow=watch.allow, timeout_seconds=TIMEOUT_SECONDS, max_bytes=64 * 1024) as session:
            status = session.get(watch.url).status_code
    except requests.RequestException as error:
        # The message of an error may hold the address, which is a secret.
        return type(error).__name__
    return "" if 200 <= status < 300 else f"it answered {status}"


def _overdue() -> str:
    late = {name: age for name, age in oldest_overdue().items() if age > OVERDUE_LIMIT}
    return ", ".join(f"{name} is {age.total_seconds():.0f} s late" for name, age in sorted(late.items()))


def _next(due_at: datetime, every: timedelta, now: datetime) -> datetime:
    return due_at + every * max((now - due_at) // every + 1, 1)
