"""What the pages of a large site cost with twenty people on it. Prints one JSON object per figure and line.

    tools/with-servers .venv/bin/python bench/scale.py [--scale 0.1] [--users 20] [--seconds 60]
    DATABASE_URL=postgresql://… .venv/bin/python bench/scale.py --scale 1 --made

Makes a site by `manage.py site generate` on the PostgreSQL that DATABASE_URL names (`--made`: it is there already),
finds a page of each kind from the URL map and by following links, serves the site with two processes of granian on the
same machine, and has the users ask for pages and searches in a random order, twice: each a second after the last was
answered, until every kind was asked for `--each` times, and at once for `--seconds` (which asks for all that the
machine has). The time of a page is that of its whole answer as seen on the loopback interface; beside it stands the CPU
time of the web servers for each page, which does not depend on who else uses the machine. The first answers of each
process are not counted: `--warm` seconds, in which every kind is asked for too.

One line for each kind has p50, p95 and the worst with thinking users, whether its limit is held at p95, the queries and
this process's own CPU time, the slowest first; the summary comes last. With `--each 20` the p95 of a kind is its second
worst time.
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

PAGE_LIMIT_MS, SEARCH_LIMIT_MS = 200, 300
SEARCHES_IN_SEVEN = 1
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


class Deck:
    """What the users ask for next: all kinds of pages in a random order, again and again, and a search after six.

    So every kind is asked for as often as another, whatever the others cost.
    """

    def __init__(self, pages: Sequence[str], *, seed: int) -> None:
        self._pages, self._chance, self._lock = list(pages), random.Random(seed), threading.Lock()
        self._left: list[str] = []
        self._drawn = self._searched = 0
        self.rounds = 0

    def draw(self) -> str:
        """Return the next address."""
        with self._lock:
            self._drawn += 1
            if self._drawn % 7 < SEARCHES_IN_SEVEN:
                self._searched += 1
                return SEARCHES[self._searched % len(SEARCHES)]
            if not self._left:
                self._left = self._chance.sample(self._pages, len(self._pages))
                self.rounds += 1
            return self._left.pop()


class Visits:
    """What the users saw: when an answer came, of what address, and after how many milliseconds."""

    def __init__(self, deck: Deck) -> None:
        self.deck = deck
        self.seen: list[tuple[float, str, float]] = []
        self.enough = threading.Event()
        self.failed: list[str] = []

    def go_on(self, session: requests.Session, address: str, *, think: float, wait: float) -> None:
        """Be one user until there is enough."""
        time.sleep(wait)
        while not self.enough.is_set():
            path = self.deck.draw()
            began = time.perf_counter()
            answer = session.get(address + path, timeout=120)
            took = (time.perf_counter() - began) * 1000
            if not answer.ok:
                self.failed.append(f"{path}: {answer.status_code}")
                self.enough.set()
            self.seen.append((time.monotonic(), path, took))
            self.enough.wait(think)

    def times(self, since: float) -> dict[str, list[float]]:
        """Return the times of each address, of answers that came after an instant."""
        found: dict[str, list[float]] = {}
        for at, path, took in list(self.seen):
            if at >= since:
                found.setdefault(path, []).append(took)
        return found


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
    visits = Visits(Deck(pages, seed=len(sessions)))
    users = [
        threading.Thread(
            target=visits.go_on,
            args=(session, address),
            kwargs={"think": think, "wait": think * number / len(sessions)},
        )
        for number, session in enumerate(sessions)
    ]
    for user in users:
        user.start()
    time.sleep(given.warm)
    counted_from, cpu = time.monotonic(), cpu_of(server)
    # Thinking users go through the whole deck so many times; the others take what they get in the time.
    rounds = visits.deck.rounds + given.each + 1
    while not visits.enough.is_set():
        time.sleep(0.2)
        over = time.monotonic() - counted_from > given.seconds
        if visits.deck.rounds >= rounds if think else over:
            visits.enough.set()
    for user in users:
        user.join()
    lasted, cpu = time.monotonic() - counted_from, cpu_of(server) - cpu
    if visits.failed:
        raise RuntimeError(visits.failed[0])
    times = visits.times(counted_from)
    looked = [one for path, spent in times.items() if path not in SEARCHES for one in spent]
    searched = [one for path, spent in times.items() if path in SEARCHES for one in spent]
    many = len(looked) + len(searched)
    about = {"think_seconds": think, "users": given.users, "load": round(os.getloadavg()[0], 1)}
    say("scale", "page_p50", percentile(looked, 0.5), "ms", kinds=len(pages), asked=len(looked), **about)
    say("scale", "page_p95", percentile(looked, 0.95), "ms", limit=PAGE_LIMIT_MS, **about)
    say("scale", "search_p95", percentile(searched, 0.95), "ms", limit=SEARCH_LIMIT_MS, asked=len(searched), **about)
    say("scale", "pages_per_second", many / lasted, "1/s", **about)
    say("scale", "server_cpu_per_page", cpu / many * 1000, "ms", **about)
    return times


def say_of_each_kind(times: dict[str, list[float]], costs: dict[str, dict[str, Any]]) -> None:
    """Print what each kind of page took, the slowest at p95 first, and which do not hold their limit."""
    over: dict[float, list[str]] = {0.5: [], 0.95: []}
    for path, spent in sorted(times.items(), key=lambda item: -percentile(item[1], 0.95)):
        kind, limit = ("search", SEARCH_LIMIT_MS) if path in SEARCHES else ("page", PAGE_LIMIT_MS)
        figures = {share: percentile(spent, share) for share in over}
        for share, figure in figures.items():
            if figure > limit:
                over[share].append(path)
        more = {"p95": round(figures[0.95], 1), "worst": round(max(spent), 1), "held": figures[0.95] <= limit}
        cost = {"asked": len(spent), "queries": costs[path]["queries"], "cpu_ms": costs[path]["cpu_ms"]}
        say("scale", f"{kind}_p50", figures[0.5], "ms", **{kind: path}, **more, **cost)
    least = min((len(spent) for spent in times.values()), default=0)
    for share, paths in over.items():
        name = f"kinds_over_their_limit_at_p{share * 100:.0f}"
        say("scale", name, len(paths), "pages", of=len(times), each_asked_at_least=least, which=paths[:20])


def generate(scale: float) -> None:
    began = time.perf_counter()
    command = [sys.executable, "manage.py", "site", "generate", "--scale", str(scale)]
    subprocess.run(command, cwd=ROOT, check=True)
    say("scale", "generate", time.perf_counter() - began, "s", limit=600, scale=scale, load=os.getloadavg()[0])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", type=float, default=0.1)
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--each", type=int, default=20, help="How often thinking users ask for each kind at least.")
    parser.add_argument("--seconds", type=float, default=60, help="How long the users who do not think go on.")
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
    say_of_each_kind(times, costs)


def _answers(address: str) -> bool:
    try:
        return requests.get(f"{address}/readyz", timeout=5).status_code in {200, 503}
    except requests.RequestException:
        return False


if __name__ == "__main__":
    main()
