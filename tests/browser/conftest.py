"""A served site and a browser for all of the browser tests. Without Chromium each is skipped by name."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip by name where there is no Chromium."""
    if CHROMIUM.exists():
        return
    skip = pytest.mark.skip(reason=f"needs chromium: {CHROMIUM} is missing (set CHROMIUM to its path)")
    for item in items:
        if "browser" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def django_db_setup() -> None:
    """The served site has a database of its own; this process opens none."""


@pytest.fixture(scope="session", autouse=True)
def _tables_can_be_flushed() -> None:
    """Nothing to take away: this process opens no database."""


@pytest.fixture(scope="session")
def site_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a site made for these tests alone."""
    state = tmp_path_factory.mktemp("site")
    environment = {
        **os.environ,
        "ASSAY_STATE_DIR": str(state),
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DATABASE_URL": "",
    }
    log = (state / "server.log").open("w")
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.browser.served_site"],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdin is not None
        address = process.stdout.readline().strip()
        if not address.startswith("http"):
            pytest.fail(f"the site did not start:\n{(state / 'server.log').read_text()[-3000:]}")
        yield address
        process.stdin.close()
        process.wait(timeout=20)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
        log.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for each module: while it runs, its loop would make Django refuse the database in this process."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def browsing(chromium: Browser, site_address: str) -> Iterator[BrowserContext]:
    """A fresh set of cookies at desktop width."""
    one = chromium.new_context(base_url=site_address, viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
    yield one
    one.close()
