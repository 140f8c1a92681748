"""What the pages of a large site cost with twenty people on it. Prints one JSON object per figure and line.

    tools/with-servers .venv/bin/python bench/scale.py [--scale 0.1] [--users 20] [--seconds 60]
    DATABASE_URL=postgresql://… .venv/bin/python bench/scale.py --scale 1 --made

Makes a site by `manage.py site generate` on the PostgreSQL that DATABASE_URL names (`--made`: it is there already),
finds a page of each kind from the URL map and by following links, serves the site with two processes of granian on the
same machine, and has the users ask for pages and searches at random, twice: each a second after the last was answered,
and at once (which asks for all that the machine has). The time of a page is that of its whole answer as seen on the
loopback interface; beside it stands the CPU time of the web servers for each page, which does not depend on who else
uses the machine. The first answers of each process are not counted: `--warm` seconds.

One line for each page has p50 and p95 with thinking users, the queries and this process's own CPU time; the summary
comes last.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import django
import psutil
import requests

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

from bench._site import free_port, percentile, say, until  # noqa: E402

SEARCH_SHARE = 0.15
SEARCHES = (
    "/search/?q=svc-00042",
    "/search/?q=Service+17",
    "/ledger/?q=svc-00120",
    "/slos/?q=Part+77",
    "/alerts/?q=Latency",
    "/alerts/?q=service+1717",
    "/incidents/?q=Service+99",
    "/services/?q=service+15",
)


def session_of(client: Any) -> requests.Session:
    """Return a connection of its own that carries a signed-in browser's cookies."""
    session = requests.Session()
    for name, cookie in client.cookies.items():
        session.cookies.set(name, cookie.value)
    return session


def serve(port: int) -> "subprocess.Popen[bytes]":
    arguments = "--interface wsgi --host 127.0.0.1 --workers 2 --blocking-threads 4 --no-ws --log-level error"
    command = [sys.executable, "-m", "granian", *arguments.split(), "--port", str(port), "config.wsgi:application"]
    return subprocess.Popen(command, cwd=ROOT, start_new_session=True)


def cpu_of(process: "subprocess.Popen[bytes]") -> float:
    everyone = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    return sum(sum(one.cpu_times()[:2]) for one in everyone)


def use(
    session: requests.Session,
    address: str,
    pages: Sequence[str],
    over: float,
    seen: list[tuple[float, str, float]],
    *,
    seed: int,
    think: float,
) -> None:
    chance = random.Random(seed)
    time.sleep(chance.random() * think)
    while time.monotonic() < over:
        path = chance.choice(SEARCHES) if chance.random() < SEARCH_SHARE else chance.choice(pages)
        began = time.perf_counter()
        answer = session.get(address + path, timeout=120)
        took = (time.perf_counter() - began) * 1000
        assert answer.ok, f"{path}: {answer.status_code}"
        seen.append((time.monotonic(), path, took))
        time.sleep(think)


def load(
    sessions: Sequence[requests.Session],
    address: str,
    server: "subprocess.Popen[bytes]",
    pages: Sequence[str],
    *,
    given: Any,
    think: float,
) -> dict[str, list[float]]:
    """Have the users look for a while; print what they saw in all, and return the times of each page."""
    seen: list[tuple[float, str, float]] = []
    began = time.monotonic()
    counted_from, over = began + given.warm, began + given.warm + given.seconds
    users = [
        threading.Thread(
            target=use, args=(session, address, pages, over, seen), kwargs={"seed": number, "think": think}
        )
        for number, session in enumerate(sessions)
    ]
    for user in users:
        user.start()
    time.sleep(max(counted_from - time.monotonic(), 0))
    cpu = cpu_of(server)
    for user in users:
        user.join()
    cpu = cpu_of(server) - cpu
    times: dict[str, list[float]] = {}
    for at, path, took in seen:
        if at >= counted_from:
            times.setdefault(path, []).append(took)
    looked = [one for path, spent in times.items() if path not in SEARCHES for one in spent]
    searched = [one for path, spent in times.items() if path in SEARCHES for one in spent]
    many = len(looked) + len(searched)
    about = {"think_seconds": think, "users": given.users, "load": round(os.getloadavg()[0], 1)}
    say("scale", "page_p50", percentile(looked, 0.5), "ms", kinds=len(pages), asked=len(looked), **about)
    say("scale", "page_p95", percentile(looked, 0.95), "ms", limit=200, **about)
    say("scale", "search_p95", percentile(searched, 0.95), "ms", limit=300, asked=len(searched), **about)
    say("scale", "pages_per_second", many / given.seconds, "1/s", **about)
    say("scale", "server_cpu_per_page", cpu / many * 1000, "ms", **about)
    return times


def generate(scale: float) -> None:
    began = time.perf_counter()
    command = [sys.executable, "manage.py", "site", "generate", "--scale", str(scale)]
    subprocess.run(command, cwd=ROOT, check=True)
    say("scale", "generate", time.perf_counter() - began, "s", limit=600, scale=scale, load=os.getloadavg()[0])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", type=float, default=0.1)
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--warm", type=float, default=20)
    parser.add_argument("--made", action="store_true", help="The database holds a generated site already.")
    parser.add_argument("--settled", action="store_true", help="Leave out the users who do not think.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as state:
        port = free_port()
        address = f"http://127.0.0.1:{port}"
        os.environ.setdefault("ASSAY_LOG_LEVEL", "CRITICAL")
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
        os.environ.update(ASSAY_STATE_DIR=os.environ.get("ASSAY_STATE_DIR") or state, ASSAY_SITE_URL=address)
        if not given.made:
            generate(given.scale)
        django.setup()
        from bench._walk import cost_of, pages_of, reader  # noqa: PLC0415 models are there after setup

        client = reader("admin")
        pages = sorted(pages_of(client).values())
        costs = {path: cost_of(client, path, times=1) for path in (*pages, *SEARCHES)}
        sessions = [session_of(reader("admin")) for _ in range(given.users)]
        server = serve(port)
        try:
            until(lambda: _answers(address), seconds=120, what="the site answers")
            times = load(sessions, address, server, pages, given=given, think=1.0)
            if not given.settled:
                load(sessions, address, server, pages, given=given, think=0.0)
        finally:
            server.terminate()
            server.wait(30)
    for path, spent in sorted(times.items(), key=lambda item: -percentile(item[1], 0.95)):
        cost = costs[path]
        kind = "search" if path in SEARCHES else "page"
        more = {"p95": round(percentile(spent, 0.95), 1), "asked": len(spent), "queries": cost["queries"]}
        say("scale", f"{kind}_p50", percentile(spent, 0.5), "ms", **{kind: path}, **more, cpu_ms=cost["cpu_ms"])
    over = [path for path, spent in times.items() if percentile(spent, 0.5) > (300 if path in SEARCHES else 200)]
    say("scale", "kinds_over_their_limit_at_p50", len(over), "pages", of=len(times), which=over[:20])


def _answers(address: str) -> bool:
    try:
        return requests.get(f"{address}/readyz", timeout=5).status_code in {200, 503}
    except requests.RequestException:
        return False


if __name__ == "__main__":
    main()
