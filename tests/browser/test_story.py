"""The story, told by people at their browsers on a running demo, while its processes are killed.

Nothing here knows the site's code or database. `manage.py demo story --watch` looks on and checks what nobody sees on a
page. Web, worker, scheduler and supervisor are killed at random moments in which people wait for what the site does by
itself; nobody presses reload, and nothing is lost.
"""

import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from playwright.sync_api import Error as BrowserError

from tests.browser.crawling import Gallery, Walk, look, sign_in
from tests.demo.running_site import SCHEDULER, SUPERVISOR, WEB, WORKER, RunningSite, running_site

pytestmark = [pytest.mark.browser, pytest.mark.integration]

EXPERIMENT = "/chaos/model-servers-freeze/"
PROVEN = ("/compliance/soc2/cc7-2/", "/compliance/soc2/cc7-4/", "/compliance/iso27001/a-5-26/")
CALM = "nothing is wrong"
RUN_IT = r"<button(?=[^>]*data-dialog=.run-it)(?![^>]*\sdisabled)"
AN_INCIDENT = r'<main.*href="/incidents/INC-'


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSite]:
    """The demo, started as `make run` starts it once everything is installed."""
    with running_site(tmp_path_factory.mktemp("demo")) as site:
        yield site


@contextmanager
def killing(site: RunningSite, *victims: str, within: float) -> Iterator[None]:
    """Kill these, each at a random moment of so many seconds, while people wait; in the end the site answers again."""
    over, began = Event(), time.monotonic()
    order = sorted((random.uniform(0, within), victim) for victim in victims)
    # Shown where the test fails.
    sys.stdout.write(f"killed after so many seconds: {order}\n")

    def kill() -> None:
        for moment, victim in order:
            over.wait(max(began + moment - time.monotonic(), 0))
            site.kill(victim)

    killer = Thread(target=kill)
    killer.start()
    try:
        yield
    finally:
        over.set()
        killer.join(60)
    deadline = time.monotonic() + 90
    while not site.answers():
        assert time.monotonic() < deadline, "the site does not answer after a kill"
        time.sleep(0.2)


@pytest.fixture
def watcher(site: RunningSite) -> Iterator["subprocess.Popen[str]"]:
    process = site.tell_the_story("--watch")
    yield process
    process.kill()
    process.communicate()


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
def people(chromium: Browser, site: RunningSite) -> Iterator[People]:
    everyone = People(chromium, site.address)
    yield everyone
    everyone.close()


def path_of(page: Page) -> str:
    return re.sub(r"^https?://[^/]+", "", page.url)


def ask_again_until(page: Page, path: str, words: str, *, seconds: float) -> None:
    """Ask for a page again, as a person who waits does, until its text matches, and open it then.

    Asking needs no browser: it draws the page once.
    """
    deadline, text = time.monotonic() + seconds, ""
    while not re.search(words, text, re.DOTALL):
        assert time.monotonic() < deadline, f"{words} not on {path}:\n{text[-3000:]}"
        page.wait_for_timeout(500)
        try:
            text = page.request.get(path).text()
        except BrowserError:
            continue
    page.goto(path)


def hurt_the_model_servers(people: People) -> Page:
    """Bob approves the plan, Olga starts it as soon as every guard agrees. Returns Olga's page of the run."""
    bob, olga = people["bob"], people["olga"]
    ask_again_until(bob, EXPERIMENT, "Approve this plan", seconds=60)
    bob.get_by_role("button", name="Approve this plan").click()
    bob.goto("about:blank")
    ask_again_until(olga, EXPERIMENT, RUN_IT, seconds=180)
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
    ask_again_until(alice, "/incidents/", AN_INCIDENT, seconds=150)
    alice.locator("main a[href^='/incidents/INC-']").first.click()
    alice.wait_for_url("**/incidents/INC-*/")
    alice.get_by_role("button", name="Acknowledge").click()
    expect(alice.get_by_role("button", name="Acknowledge")).to_have_count(0)
    people.look_at("alice", path_of(alice), "3-acknowledged")
    ask_again_until(bob, path_of(alice), 'href="/runbooks/runs/', seconds=60)
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
    # Each of these loads the page anew: what it says is read when all of it is there.
    with alice.expect_navigation():
        alice.get_by_role("button", name="Save the draft").click()
    alice.get_by_text("Add a follow-up").click()
    alice.get_by_label("Title").fill("Warn when one replica does not answer")
    with alice.expect_navigation():
        alice.get_by_role("button", name="Add it").click()
    done = alice.locator("form[action$='/task/']").get_by_role("button", name="Done")
    while count := done.count():
        with alice.expect_navigation():
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
        ask_again_until(people["carol"], path, r'<main.*href="[^"]*/controls/', seconds=30)
    people.look_at("carol", path_of(people["carol"]), "9-proven")
    ada = people["ada"]
    ask_again_until(ada, "/audits/", r'<main.*href="/audits/', seconds=30)
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


def test_people_tell_the_whole_story_in_their_browsers_whatever_is_killed(
    people: People, site: RunningSite, watcher: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    assert watcher.stdout is not None
    while CALM not in (said := watcher.stdout.readline()):
        assert watcher.poll() is None, said
    olga = hurt_the_model_servers(people)
    alice = people["alice"]
    with killing(site, WEB, WORKER, SCHEDULER, within=30):
        ask_again_until(alice, "/incidents/", AN_INCIDENT, seconds=150)
    alice = work_the_incident(people)
    # Both pages refresh themselves; nobody presses reload, though for some seconds nothing answers.
    with killing(site, SUPERVISOR, within=20):
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
    said, _ = watcher.communicate(timeout=120)
    assert watcher.returncode == 0, said
    site.ensure_nothing_is_lost()
    assert not people.problems, "\n".join(people.problems)
