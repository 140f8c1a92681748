"""What the pages of a large site cost with twenty people on it. Prints one JSON object per figure and line.

    tools/with-servers .venv/bin/python bench/scale.py [--scale 0.1] [--users 20] [--seconds 60]

Makes a site by `manage.py site generate` on the PostgreSQL that DATABASE_URL names, serves it with two processes,
finds one page of each kind by following links, and has the users ask for pages, each a moment after the last was
answered. The time of a page is that of its whole answer as seen on the loopback interface; beside it stands the CPU
time of the servers for each page, which does not depend on who else uses the machine.
"""

import argparse
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
import requests

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

from bench._site import TOKEN, free_port, percentile, say, until  # noqa: E402

PASSWORD = "generated-site-password"
LINK = re.compile(r'href="(/[^"#?]*)')
SKIPPED = ("/static/", "/sign-out/", "/api/", "/ledger/export", "/settings/account")
THINK_SECONDS = (0.5, 2.5)
SEARCHES = (
    "/search/?q=svc-00042",
    "/search/?q=Service+17",
    "/ledger/?q=svc-00120",
    "/slos/?q=Part+77",
    "/alerts/?q=Latency",
)


def sign_in(address: str, username: str) -> requests.Session:
    session = requests.Session()
    found = TOKEN.search(session.get(f"{address}/sign-in/", timeout=60).text)
    assert found is not None
    form = {"username": username, "password": PASSWORD, "csrfmiddlewaretoken": found[1]}
    answer = session.post(f"{address}/sign-in/", data=form, timeout=60)
    assert "/sign-in/" not in answer.url, "the sign-in was refused"
    return session


def kind_of(path: str) -> str:
    """Return what is common to pages of one kind."""
    path = re.sub(r"/(svc|slo|team)-\d+", r"/\1-N", path)
    return re.sub(r"/(INC-)?\d+(?=/|$)", "/N", path)


def pages_of(session: requests.Session, address: str) -> list[str]:
    """Follow links from the home page; return one path of each kind that answers with a page."""
    seen, waiting = {"/"}, ["/"]
    found: list[str] = []
    while waiting:
        path = waiting.pop(0)
        answer = session.get(address + path, timeout=120)
        if not answer.ok or "text/html" not in answer.headers.get("content-type", ""):
            continue
        found.append(path)
        for link in LINK.findall(answer.text):
            if kind_of(link) not in seen and not link.startswith(SKIPPED):
                seen.add(kind_of(link))
                waiting.append(link)
    return found


def serve(port: int) -> "subprocess.Popen[bytes]":
    arguments = "--interface wsgi --host 127.0.0.1 --workers 2 --blocking-threads 10 --no-ws --log-level error"
    command = [sys.executable, "-m", "granian", *arguments.split(), "--port", str(port), "config.wsgi:application"]
    return subprocess.Popen(command, cwd=ROOT, start_new_session=True)


def cpu_of(process: "subprocess.Popen[bytes]") -> float:
    everyone = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    return sum(sum(one.cpu_times()[:2]) for one in everyone)


def use(address: str, pages: list[str], over: float, times: dict[str, list[float]], seed: int) -> None:
    chance = random.Random(seed)
    session = sign_in(address, chance.choice(("admin", "carol", "victor")))
    while time.monotonic() < over:
        path = chance.choice(SEARCHES) if chance.random() < 0.15 else chance.choice(pages)
        began = time.perf_counter()
        answer = session.get(address + path, timeout=120)
        if answer.status_code in {403, 404}:
            continue
        assert answer.ok, f"{path}: {answer.status_code}"
        times.setdefault(path, []).append((time.perf_counter() - began) * 1000)
        time.sleep(chance.uniform(*THINK_SECONDS))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", type=float, default=0.1)
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--made", action="store_true", help="The database holds a generated site already.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as state:
        port = free_port()
        address = f"http://127.0.0.1:{port}"
        os.environ.setdefault("ASSAY_LOG_LEVEL", "ERROR")
        os.environ.update(ASSAY_STATE_DIR=os.environ.get("ASSAY_STATE_DIR") or state, ASSAY_SITE_URL=address)
        if not given.made:
            began = time.perf_counter()
            command = [sys.executable, "manage.py", "site", "generate", "--scale", str(given.scale)]
            subprocess.run(command, cwd=ROOT, check=True)
            say("scale", "generate", time.perf_counter() - began, "s", scale=given.scale, load=os.getloadavg()[0])
        server = serve(port)
        try:
            until(lambda: _answers(address), seconds=120, what="the site answers")
            pages = pages_of(sign_in(address, "admin"), address)
            times: dict[str, list[float]] = {}
            cpu, over = cpu_of(server), time.monotonic() + given.seconds
            users = [
                threading.Thread(target=use, args=(address, pages, over, times, number))
                for number in range(given.users)
            ]
            for user in users:
                user.start()
            for user in users:
                user.join()
            cpu = cpu_of(server) - cpu
        finally:
            server.terminate()
            server.wait(30)
    about = {"scale": given.scale, "users": given.users, "load": round(os.getloadavg()[0], 1)}
    looked = [one for path, spent in times.items() if path not in SEARCHES for one in spent]
    searched = [one for path, spent in times.items() if path in SEARCHES for one in spent]
    say("scale", "page_p50", percentile(looked, 0.5), "ms", pages=len(pages), **about)
    say("scale", "page_p95", percentile(looked, 0.95), "ms", limit=200, **about)
    say("scale", "search_p95", percentile(searched, 0.95), "ms", limit=300, **about)
    say("scale", "server_cpu_per_page", cpu / (len(looked) + len(searched)) * 1000, "ms", **about)
    for path, spent in sorted(times.items(), key=lambda item: -percentile(item[1], 0.5))[:12]:
        say("scale", "slow_page_p50", percentile(spent, 0.5), "ms", page=path, asked=len(spent))


def _answers(address: str) -> bool:
    try:
        return requests.get(f"{address}/readyz", timeout=5).ok
    except requests.RequestException:
        return False


if __name__ == "__main__":
    main()
