"""The embedded broker with real Celery processes."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection, Exchange, Queue
from kombu.simple import SimpleQueue

from core.broker import register_transport, transport_options
from tests.forking import DATABASE, do, fork, make_tables

pytestmark = [pytest.mark.long, pytest.mark.integration]


def connect(folder: Path) -> Connection:
    register_transport()
    return Connection(f"atomicfile://{folder}", transport_options=transport_options(folder))


def test_fast_readers_and_writers_lose_and_double_nothing(tmp_path: Path) -> None:
    queue = Queue("storm", Exchange("storm", type="direct"), routing_key="storm")
    received: list[Any] = []
    stop = threading.Event()

    def read() -> None:
        with connect(tmp_path) as connection, SimpleQueue(connection, queue) as simple:  # type: ignore[arg-type]
            while not stop.is_set() or len(received) < 300:
                try:
                    message = simple.get(block=False)
                except simple.Empty:
                    time.sleep(0.0005)
                    continue
                received.append(message.payload)
                message.ack()

    def write(writer: int) -> None:
        with connect(tmp_path) as connection, SimpleQueue(connection, queue) as simple:  # type: ignore[arg-type]
            for number in range(100):
                simple.put([writer, number])

    readers = [threading.Thread(target=read) for _ in range(2)]
    writers = [threading.Thread(target=write, args=(n,)) for n in range(3)]
    for thread in (*readers, *writers):
        thread.start()
    for thread in writers:
        thread.join(30)
    stop.set()
    for thread in readers:
        thread.join(30)
    assert sorted(received) == [[writer, number] for writer in range(3) for number in range(100)]


def wait_for(condition: Callable[[], bool], *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the deadline has passed"
        time.sleep(0.1)


PUBLISH = """
from core.events import Event, EventDelivery, publish
from core.work import wake
from core.clock import database_now
event = Event.objects.create(kind="nobody.listens", payload={}, published_at=database_now())
EventDelivery.objects.create(event=event, subscriber="delivery.subscribers.fan_out", due_at=database_now())
wake("core.events")
"""


def test_a_commit_wakes_a_real_worker_and_a_lost_wake_up_costs_only_delay(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "DATABASE_URL": "",
        "ASSAY_STATE_DIR": str(tmp_path),
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "BROKER_URL": "",
    }

    def heard(times: int) -> bool:
        with closing(sqlite3.connect(tmp_path / DATABASE, timeout=20)) as database:
            return len(database.execute("SELECT 1 FROM core_eventdelivery WHERE attempts > 0").fetchall()) >= times

    make_tables(tmp_path)
    worker = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "celery",
            "-A",
            "config",
            "worker",
            "--pool=threads",
            "--concurrency=2",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
            "--loglevel=WARNING",
        ],
        env=environment,
    )
    try:
        assert do("-c", PUBLISH, environment=environment) == 0
        wait_for(lambda: heard(1), seconds=240)
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait(10)
    # Nobody hears this one; the scheduler finds the row and, as no worker answers, does the work.
    assert do("-c", PUBLISH, environment=environment) == 0
    scheduler = fork("manage.py", "scheduler", environment=environment)
    try:
        wait_for(lambda: heard(2), seconds=240)
    finally:
        scheduler.terminate()
        assert scheduler.wait(120) == 0
