"""The story, told by people at their browsers on a running demo: nothing here knows the site's code or database."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.crawling import Gallery, Walk, look, sign_in

pytestmark = [pytest.mark.browser, pytest.mark.integration]

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENT = "/chaos/model-servers-freeze/"
PROVEN = ("/compliance/soc2/cc7-2/", "/compliance/soc2/cc7-4/", "/compliance/iso27001/a-5-26/")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1]) % 20_000 + 20_000


@pytest.fixture(scope="module")
def demo_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the demo, started as `make run` starts it once everything is installed."""
    state, port = tmp_path_factory.mktemp("demo"), free_port()
    environment = {**os.environ, "ASSAY_STATE_DIR": str(state), "DATABASE_URL": "", "BROKER_URL": ""}
    environment.update(PORT=str(port), ASSAY_SITE_URL=f"http://127.0.0.1:{port}")
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    said = state / "said.log"
    with said.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "demo", "serve", "--port", str(port)],
            cwd=ROOT,
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + 240
        while "Sign in as one of these" not in said.read_text():
            assert process.poll() is None, said.read_text()
            assert time.monotonic() < deadline, said.read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


class People:
    """The demo's people, each signed in at a browser of their own."""

    def __init__(self, chromium: Browser, address: str) -> None:
        self._chromium, self._address = chromium, address
        self._pages: dict[str, Page] = {}
        self._contexts: list[BrowserContext] = []
        self.problems: list[str] = []

    def __getitem__(self, username: str) -> Page:
        if username not in self._pages:
            context = self._chromium.new_context(
                base_url=self._address, viewport={"width": 1440, "height": 900}, reduced_motion="reduce"
            )
            self._contexts.append(context)
            self._pages[username] = sign_in(context, username)
            self._pages[username].on("pageerror", lambda error: self.problems.append(f"{username}: {error}"))
        return self._pages[username]

    def look_at(self, username: str, path: str, moment: str) -> None:
        """Look at a page as it is in this moment of the story, in a window beside the person's own."""
        self[username]
        context = self._contexts[list(self._pages).index(username)]
        page = context.new_page()
        seen = Walk(f"story/{moment}")
        look(page, path, seen, Gallery())
        self.problems += seen.problems
        page.close()

    def close(self) -> None:
        for context in self._contexts:
            context.close()


@pytest.fixture
def people(chromium: Browser, demo_address: str) -> Iterator[People]:
    everyone = People(chromium, demo_address)
    yield everyone
    everyone.close()


def path_of(page: Page) -> str:
    return re.sub(r"^https?://[^/]+", "", page.url)


def ask_again_until(page: Page, path: str, selector: str, *, seconds: float) -> None:
    """Ask for a page again, as a person who waits does, until something is on it."""
    deadline = time.monotonic() + seconds
    while True:
        page.goto(path)
        if page.locator(selector).count():
            return
        assert time.monotonic() < deadline, f"{selector} not on {path}:\n{page.locator('main').inner_text()[:3000]}"
        page.wait_for_timeout(1000)


def hurt_the_model_servers(people: People) -> Page:
    """Bob approves the plan, Olga starts it as soon as every guard agrees. Returns Olga's page of the run."""
    bob, olga = people["bob"], people["olga"]
    ask_again_until(bob, EXPERIMENT, "button:has-text('Approve this plan')", seconds=60)
    bob.get_by_role("button", name="Approve this plan").click()
    ask_again_until(olga, EXPERIMENT, "button[data-dialog='run-it']:enabled", seconds=180)
    people.look_at("olga", EXPERIMENT, "1-before")
    olga.get_by_role("button", name="Run it").click()
    expect(olga.locator("dialog#run-it .confirm-targets li")).to_have_count(2)
    olga.locator("dialog#run-it").get_by_role("button", name="Run it").click()
    olga.wait_for_url("**/chaos/runs/**")
    olga.locator("#run .rows code", has_text="process.stop").first.wait_for(timeout=30_000)
    people.look_at("olga", path_of(olga), "2-frozen")
    return olga


def work_the_incident(people: People) -> Page:
    """Alice acknowledges, Bob approves the restart. Returns Alice's page of the incident."""
    alice, bob = people["alice"], people["bob"]
    ask_again_until(alice, "/incidents/", "main a[href^='/incidents/INC-']", seconds=150)
    alice.locator("main a[href^='/incidents/INC-']").first.click()
    alice.wait_for_url("**/incidents/INC-*/")
    alice.get_by_role("button", name="Acknowledge").click()
    expect(alice.get_by_role("button", name="Acknowledge")).to_have_count(0)
    people.look_at("alice", path_of(alice), "3-acknowledged")
    ask_again_until(bob, path_of(alice), "a[href^='/runbooks/runs/']", seconds=30)
    bob.locator("a[href^='/runbooks/runs/']").first.click()
    bob.wait_for_url("**/runbooks/runs/**")
    # The page refreshes itself: the button comes when the checks before it are done.
    agree = bob.get_by_role("button", name="Approve", exact=True)
    agree.wait_for(timeout=60_000)
    people.look_at("bob", path_of(bob), "4-waits-for-approval")
    agree.click()
    expect(bob.locator("#run .state", has_text=re.compile("succeeded", re.IGNORECASE)).first).to_be_visible(
        timeout=90_000
    )
    people.look_at("bob", path_of(bob), "5-restarted")
    return alice


def review(people: People, alice: Page) -> None:
    """Alice finishes the drafted review and settles what it still needs, Bob approves it."""
    alice.get_by_role("link", name="Review").first.click()
    alice.get_by_label("Lessons").fill("The retry of the gateway hides one frozen replica, not two.")
    for label, text in (
        ("Contributing factors", "capacity: two of three replicas did not answer"),
        ("What went well", "The runbook had looked before anybody was awake."),
        ("What went poorly", "Nothing warned while one replica was frozen."),
    ):
        field = alice.get_by_label(label, exact=True)
        if not field.input_value().strip():
            field.fill(text)
    alice.get_by_role("button", name="Save the draft").click()
    alice.get_by_text("Add a follow-up").click()
    alice.get_by_label("Title").fill("Warn when one replica does not answer")
    alice.get_by_role("button", name="Add it").click()
    done = alice.locator("form[action$='/task/']").get_by_role("button", name="Done")
    while count := done.count():
        done.first.click()
        expect(done).to_have_count(count - 1)
    bob = people["bob"]
    bob.goto(path_of(alice))
    bob.get_by_role("button", name="Approve", exact=True).click()
    expect(bob.get_by_role("heading", level=1)).to_contain_text(re.compile("approved", re.IGNORECASE))
    people.look_at("bob", path_of(bob), "8-reviewed")


def audit(people: People, folder: Path) -> None:
    """Carol sees the evidence of today; Ada exports a pack and verifies it with nothing of the site."""
    for path in PROVEN:
        ask_again_until(people["carol"], path, "main a[href*='/controls/']", seconds=30)
        people.look_at("carol", path, "9-proven")
    ada = people["ada"]
    ask_again_until(ada, "/audits/", "main a[href^='/audits/']", seconds=10)
    ada.locator("main a[href^='/audits/']").first.click()
    ada.get_by_role("button", name="Make an evidence pack").click()
    pack = ada.locator("a[href$='/file/']").first
    pack.wait_for(timeout=180_000)
    people.look_at("ada", path_of(ada), "10-exported")
    key = ada.get_by_label("The key of this log").inner_text().strip()
    with ada.expect_download() as download:
        pack.click()
    content = folder / "pack.zip"
    download.value.save_as(content)
    unpacked = folder / "pack"
    subprocess.run([sys.executable, "-m", "zipfile", "-e", str(content), str(unpacked)], check=True)
    verifier = next(unpacked.rglob("verify.py"))
    answer = subprocess.run(
        [sys.executable, str(verifier), "--key", key],
        cwd=verifier.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_people_tell_the_whole_story_in_their_browsers(people: People, tmp_path: Path) -> None:
    olga = hurt_the_model_servers(people)
    alice = work_the_incident(people)
    # Both pages refresh themselves; nobody presses reload.
    expect(olga.locator("#run .state", has_text=re.compile("passed", re.IGNORECASE)).first).to_be_visible(
        timeout=330_000
    )
    expect(alice.locator("#incident-live .state", has_text=re.compile("resolved", re.IGNORECASE)).first).to_be_visible(
        timeout=240_000
    )
    people.look_at("olga", path_of(olga), "6-run-over")
    people.look_at("alice", path_of(alice), "7-resolved")
    review(people, alice)
    audit(people, tmp_path)
    assert not people.problems, "\n".join(people.problems)
