"""The story goes on although web, worker, scheduler and their supervisor are killed at random moments of it.

The run of every commit does so with people at their browsers: `tests/browser/test_story.py`.
"""

import random
import time
from pathlib import Path
from threading import Event, Thread

import pytest

from tests.demo.running_site import SCHEDULER, SUPERVISOR, WEB, WORKER, RunningSite, running_site

pytestmark = [pytest.mark.long, pytest.mark.integration, pytest.mark.soak]


def storm(site: RunningSite, chance: random.Random, kills: int, stop: Event) -> None:
    for _ in range(kills):
        if stop.wait(chance.uniform(7, 14)):
            return
        site.kill(chance.choice([WEB, WORKER, SCHEDULER, SUPERVISOR]))


@pytest.mark.parametrize("seed", range(1, 6))
def test_the_story_goes_on_in_a_long_storm(tmp_path: Path, seed: int) -> None:
    with running_site(tmp_path) as site:
        story, stop = site.tell_the_story(), Event()
        killer = Thread(target=storm, args=(site, random.Random(seed), 12, stop))
        try:
            time.sleep(5)
            killer.start()
            said, _ = story.communicate(timeout=600)
            assert story.returncode == 0, f"{said}\nkilled: {site.killed}"
            stop.set()
            killer.join(60)
            assert len(site.killed) >= 4, f"the story was over too soon: only {site.killed} were killed"
            site.ensure_nothing_is_lost()
        finally:
            stop.set()
            if killer.is_alive():
                killer.join(60)
            story.kill()
            story.wait()
