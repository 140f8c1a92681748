"""How the disk, the broker, the certificate and the backups stand."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

from core.measuring import Figure, figures
from drivers.services.site_certificate import own_certificate_until
from drivers.services.site_check import Verdict, ask_broker, ask_storage
from ledger.selectors import entries


@figures("storage", of_database=False)
def storage() -> Iterator[Figure]:
    """Say whether the state folder takes files, and how much room it has."""
    takes = ask_storage().verdict is not Verdict.BAD
    yield Figure("state_writable", "1 when the state folder and the artifact store take files.", float(takes))
    room = shutil.disk_usage(Path(settings.STATE_DIR))
    yield Figure("state_free_bytes", "Free on the disk of the state folder.", room.free)
    yield Figure("state_size_bytes", "Size of the disk of the state folder.", room.total)


@figures("broker", of_database=False)
def broker() -> Iterator[Figure]:
    """Say whether the broker answers."""
    up = ask_broker().verdict is Verdict.GOOD
    yield Figure("broker_up", "1 when the broker answers. Without it work goes on, seconds later.", float(up))


@figures("certificate", of_database=False)
def certificate() -> Iterator[Figure]:
    """Say when the certificate at the site's address runs out; nothing without TLS. Unanswered: nothing listens."""
    until = own_certificate_until()
    if until is not None:
        says = "When the certificate at the site's own address runs out."
        yield Figure("certificate_expiry_timestamp_seconds", says, until.timestamp())


@figures("backup")
def backup() -> Iterator[Figure]:
    """Say when the last backup was made; 0 without any."""
    last = entries(types=("recovery.backup_made",)).first()
    at = last.recorded_at.timestamp() if last else 0.0
    yield Figure("backup_last_timestamp_seconds", "When the last backup was made; 0: never.", at)
