"""The Celery application. A message here only wakes a worker; the rows in the database are what counts."""

import os
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

from celery import Celery
from celery.signals import worker_init
from django.conf import settings

from config.telemetry import start_telemetry
from core.broker import SCHEME, register_transport, remote_options, transport_options

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

register_transport()

app = Celery("assay")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.update(
    task_ignore_result=True,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    worker_enable_remote_control=False,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    # A worker asks for its broker again for as long as it takes.
    broker_connection_max_retries=None,
    broker_connection_timeout=1,
    event_queue_prefix="assay.events",
    # Else Celery would close each thread's database connection before and after every wake-up, and a new one costs as
    # much as a page. `core.tasks` asks for each task whether it still lives.
    CELERY_DB_REUSE_MAX=sys.maxsize,
)
if settings.CELERY_BROKER_URL.startswith(f"{SCHEME}:"):
    app.conf.broker_transport_options = transport_options(Path(unquote(urlsplit(settings.CELERY_BROKER_URL).path)))
else:
    app.conf.broker_transport_options = remote_options(urlsplit(settings.CELERY_BROKER_URL).scheme)
app.autodiscover_tasks()


@worker_init.connect
def _start_telemetry(**_: object) -> None:
    start_telemetry("worker")
