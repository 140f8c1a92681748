"""How long a newcomer waits. Prints one JSON object per figure and line.

    .venv/bin/python bench/start.py

A clone of the committed tree in a temporary folder, with nothing installed in it: `make run` until the site answers and
until the first SLO number measured from the running stack is served; then stopped and started again.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import requests

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

from bench._site import Site, free_port, running, say, until  # noqa: E402

SLO = "gateway-ttft"


def has_live_number(session: requests.Session, site: Site) -> bool:
    """Tell whether the API that feeds the page says a ratio of events for the SLO, measured just now."""
    answer = session.get(f"{site.address}/api/v1/slos/{SLO}/", timeout=10)
    if not answer.ok:
        return False
    return any(status["total"] and status["sli"] is not None for status in answer.json())


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        clone, port = Path(temporary) / "assay", free_port()
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        started = time.perf_counter()
        with running(clone, port=port, log=Path(temporary) / "first.log") as site:
            until(lambda: site.password() and site.answers(), seconds=300, what="the site answers")
            say("start", "fresh_clone_to_site", time.perf_counter() - started, "s")
            session = site.sign_in("dana")
            until(lambda: has_live_number(session, site), seconds=300, what="an SLO has a number")
            say("start", "fresh_clone_to_live_slo", time.perf_counter() - started, "s", limit=60)
            time.sleep(5)
        started = time.perf_counter()
        with running(clone, port=port, log=Path(temporary) / "second.log") as site:
            until(lambda: site.password() and site.answers(), seconds=120, what="the site answers")
            say("start", "second_start", time.perf_counter() - started, "s", limit=8)


if __name__ == "__main__":
    main()
