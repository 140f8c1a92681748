"""A held site: it was restored, and nothing leaves it until a person has looked and releases it.

A copy of a site that starts by itself would page people for incidents of last week and act on targets that the original
still works on. While a site is held, only queues and recurring jobs that say `while_held` go on: those that keep the
ledger. Everything else stays due.
"""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.db import DatabaseError, models

UNFINISHED_RESTORE = "restore-unfinished.json"


class SiteHold(models.Model):
    """The site is held since `held_at`, until somebody releases it."""

    held_at = models.DateTimeField()
    reason = models.CharField(max_length=300)
    backup = models.CharField(max_length=60, blank=True, default="", help_text="The backup it was restored from.")
    released_at = models.DateTimeField(null=True, blank=True)
    released_by = models.CharField(max_length=120, blank=True, default="", help_text="A principal's reference.")
    note = models.CharField(max_length=300, blank=True, default="")

    class Meta:
        app_label = "core"
        ordering = ("-held_at",)

    def __str__(self) -> str:
        return self.reason


_known_free: list[bool] = []


def current_hold() -> SiteHold | None:
    """Return the hold that is on the site now, or None."""
    return SiteHold.objects.filter(released_at__isnull=True).first()


def site_is_held() -> bool:
    """Say whether the site is held."""
    return SiteHold.objects.filter(released_at__isnull=True).exists()


def shown_hold() -> SiteHold | None:
    """Return the hold for a page to show.

    A site is held only by a restore, which no running process outlives: once seen free, a process need not ask again.
    """
    if _known_free:
        return None
    try:
        hold = current_hold()
    except DatabaseError:
        return None
    if hold is None:
        _known_free.append(True)
    return hold


def forget_what_is_known() -> None:
    """Make the next page ask again (after a restore in this process, and for tests)."""
    _known_free.clear()


def unfinished_restore() -> Path:
    """Return where a restore notes that it has begun; the file is there until it is whole."""
    return Path(settings.STATE_DIR) / UNFINISHED_RESTORE


@register()
def check_for_an_unfinished_restore(**_: Any) -> list[CheckMessage]:
    """Refuse to start on half a site."""
    if not unfinished_restore().exists():
        return []
    return [
        Error(
            "A restore of this site was interrupted; what is here is not whole.",
            hint="Run the same manage.py site restore again.",
            id="core.E001",
        )
    ]
