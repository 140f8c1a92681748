"""What the demo's pages cost. Prints one JSON object per figure and line.

    .venv/bin/python bench/pages.py

Starts the demo from this checkout on a copy of the committed tree, with its stack and load running beside it, finds
the pages by following links as three people do, and asks for each some times. The time is the whole answer as seen on
the loopback interface by one reader, so a little more than the server's own.
"""

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import requests

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

from bench._site import Site, free_port, percentile, running, say, until  # noqa: E402

PEOPLE = ("admin", "carol", "ada")
ROUNDS = 12
SETTLE_SECONDS = 45
MOST_PAGES = 150
LINK = re.compile(r'href="(/[^"#?]*)')
SKIPPED = ("/static/", "/sign-out/", "/api/")


def pages_of(session: requests.Session, site: Site) -> list[str]:
    """Follow links from the home page; return the paths that answer with a page."""
    seen, waiting = {"/"}, ["/"]
    found: list[str] = []
    while waiting and len(found) < MOST_PAGES:
        path = waiting.pop(0)
        answer = session.get(site.address + path, timeout=30)
        if not answer.ok or "text/html" not in answer.headers.get("content-type", ""):
            continue
        found.append(path)
        for link in LINK.findall(answer.text):
            if link not in seen and not link.startswith(SKIPPED):
                seen.add(link)
                waiting.append(link)
    return found


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        clone, port = Path(temporary) / "assay", free_port()
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        with running(clone, port=port, log=Path(temporary) / "site.log") as site:
            until(lambda: site.password() and site.answers(), seconds=300, what="the site answers")
            time.sleep(SETTLE_SECONDS)
            times: dict[tuple[str, str], list[float]] = {}
            for person in PEOPLE:
                session = site.sign_in(person)
                for path in pages_of(session, site):
                    for _ in range(ROUNDS):
                        began = time.perf_counter()
                        session.get(site.address + path, timeout=30)
                        times.setdefault((person, path), []).append((time.perf_counter() - began) * 1000)
            everything = [one for spent in times.values() for one in spent]
            say("pages", "page_p50", percentile(everything, 0.5), "ms", pages=len(times))
            say("pages", "page_p95", percentile(everything, 0.95), "ms", pages=len(times), limit=150)
            slowest = sorted(times.items(), key=lambda item: percentile(item[1], 0.95), reverse=True)
            for (person, path), spent in slowest[:5]:
                say("pages", "slowest_page_p95", percentile(spent, 0.95), "ms", page=path, person=person)


if __name__ == "__main__":
    main()
