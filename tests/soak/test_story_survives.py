"""The story goes on although web, worker and scheduler are killed at random moments of it."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import psutil
import pytest

pytestmark = [pytest.mark.soak, pytest.mark.integration]

VICTIMS = ("granian", "celery", "manage.py scheduler")
CHECK = """
import django
django.setup()
from collections import Counter
from chaos.data import FaultState
from chaos.models import Fault
from delivery.models import Delivery
from ledger.services import verify_log
assert verify_log().holds
assert not Fault.objects.exclude(state=FaultState.REVERTED).exists(), "a fault stays injected"
keys = Counter(Delivery.objects.values_list("idempotency_key", flat=True))
assert keys and max(keys.values()) == 1, "a page has more than one delivery row"
"""


def processes_of(state_dir: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("ASSAY_STATE_DIR") == str(state_dir):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def kill_some(state_dir: Path, chance: random.Random, times: int) -> None:
    for _ in range(times):
        time.sleep(chance.uniform(8, 16))
        part = chance.choice(VICTIMS)
        for process in processes_of(state_dir):
            try:
                if part in " ".join(process.cmdline()):
                    process.kill()
            except psutil.NoSuchProcess:
                continue


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1]) % 20_000 + 20_000


@pytest.mark.parametrize("seed", [1])
def test_the_story_goes_on_whatever_is_killed(tmp_path: Path, seed: int) -> None:
    port = free_port()
    environment = {
        **os.environ,
        "ASSAY_STATE_DIR": str(tmp_path),
        "PORT": str(port),
        "DATABASE_URL": "",
        "BROKER_URL": "",
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def start(*command: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "manage.py", "demo", *command], env=environment)

    site = start("serve", "--port", str(port))
    try:
        time.sleep(30)
        story = start("story")
        killer = Thread(target=kill_some, args=(tmp_path, random.Random(seed), 5))
        killer.start()
        assert story.wait(600) == 0
        killer.join()
        subprocess.run(
            [sys.executable, "-c", CHECK], env={**environment, "DJANGO_SETTINGS_MODULE": "config.settings"}, check=True
        )
        assert not [p for p in processes_of(tmp_path) if p.status() == psutil.STATUS_STOPPED]
    finally:
        site.send_signal(signal.SIGINT)
        site.wait(60)
