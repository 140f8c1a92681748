"""Walk a site as a signed-in person, look at each page, and remember what is wrong with it."""

import re
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urldefrag, urljoin, urlsplit

from axe_playwright_python.sync_playwright import Axe
from django.urls import Resolver404, resolve
from playwright.sync_api import BrowserContext, ConsoleMessage, Page

from demo.services.people import PASSWORD

SCREENSHOTS = Path("test-artifacts") / "screenshots"
LOOKS_PER_KIND = 2
QUERIES_PER_PAGE = 6


@dataclass
class Walk:
    """What a walk saw."""

    who: str
    problems: list[str] = field(default_factory=list)
    looked_at: list[str] = field(default_factory=list)
    asked: int = 0


def kind_of(path: str) -> str:
    """Return the name of the page that answers: pages of one name differ only in their record."""
    try:
        return resolve(urlsplit(path).path).view_name
    except Resolver404:
        return urlsplit(path).path


def sign_in(context: BrowserContext, who: str) -> Page:
    """Sign in through the page, as a person does."""
    page = context.new_page()
    page.goto("/sign-in/")
    page.get_by_label("Username").fill(who)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/")
    return page


def walk(context: BrowserContext, who: str, *, start: str = "/", screenshots: bool) -> Walk:
    """Follow every link from `start`: each page of a kind is asked for, a few of each kind are looked at."""
    page = sign_in(context, who)
    seen = Walk(who)
    page.on("console", lambda message: _note_console(seen, page, message))
    page.on("pageerror", lambda error: seen.problems.append(f"{page.url}: script failed: {error}"))
    origin = "{0.scheme}://{0.netloc}".format(urlsplit(page.url))
    waiting, known = deque([(start, "(start)")]), {start}
    kinds: Counter[str] = Counter()
    queries: Counter[str] = Counter()
    while waiting:
        path, found_on = waiting.popleft()
        kind = kind_of(path)
        if urlsplit(path).query:
            queries[kind] += 1
            if queries[kind] > QUERIES_PER_PAGE:
                continue
        seen.asked += 1
        answer = context.request.get(path, max_redirects=3)
        if answer.status >= 400:
            seen.problems.append(f"{path}: answers {answer.status}; linked from {found_on}")
            continue
        if "text/html" not in answer.headers.get("content-type", "") or urlsplit(path).query:
            continue
        kinds[kind] += 1
        if kinds[kind] > LOOKS_PER_KIND:
            continue
        for link in look(page, path, seen, screenshots=screenshots and kinds[kind] == 1):
            target = urldefrag(urljoin(origin + path, link)).url
            if not target.startswith(origin):
                continue
            target = target.removeprefix(origin)
            if target not in known and not target.startswith(("/static/", "/api/")):
                known.add(target)
                waiting.append((target, path))
    return seen


def look(page: Page, path: str, seen: Walk, *, screenshots: bool) -> list[str]:
    """Look at one page with axe and at the width of a phone, keep pictures of it, and return its links."""
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto(path, wait_until="load")
    page.wait_for_timeout(100)
    seen.looked_at.append(path)
    found = Axe().run(page, options={"resultTypes": ["violations"]})
    for violation in found.response["violations"]:
        if violation["impact"] in {"serious", "critical"}:
            where = "; ".join(str(node["target"]) + " " + node["html"][:160] for node in violation["nodes"][:3])
            seen.problems.append(f"{path}: axe {violation['id']} ({violation['impact']}): {where}")
    if page.locator("[style]:not([data-chart] *):not(.uplot)").count() and _styled_in_markup(page, path):
        seen.problems.append(f"{path}: a style attribute in the markup")
    if screenshots:
        _take(page, path, seen.who)
    sideways = _sideways_at_375(page)
    if sideways > 1:
        seen.problems.append(f"{path}: {sideways} px wider than a screen of 375 px")
    if screenshots:
        page.screenshot(path=_file(path, seen.who, "375"), full_page=True)
        with _dark(page):
            page.screenshot(path=_file(path, seen.who, "375-dark"), full_page=True)
    links: list[str] = page.eval_on_selector_all(
        "a[href]:not([download])", "links => links.map(one => one.getAttribute('href'))"
    )
    return links


def _sideways_at_375(page: Page) -> int:
    page.set_viewport_size({"width": 375, "height": 800})
    page.wait_for_timeout(50)
    return int(page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))


def _take(page: Page, path: str, who: str) -> None:
    height = int(page.evaluate("document.documentElement.scrollHeight"))
    page.set_viewport_size({"width": 1440, "height": min(max(height, 900), 4000)})
    page.screenshot(path=_file(path, who, "1440"))
    with _dark(page):
        page.screenshot(path=_file(path, who, "1440-dark"))


@contextmanager
def _dark(page: Page) -> Iterator[None]:
    _set_theme(page, "dark")
    yield
    _set_theme(page, "light")


def _set_theme(page: Page, theme: str) -> None:
    page.evaluate(f"document.documentElement.setAttribute('data-bs-theme', '{theme}')")
    page.evaluate("document.dispatchEvent(new CustomEvent('assay:theme'))")


def _styled_in_markup(page: Page, path: str) -> bool:
    """Scripts may set styles; the markup that the server sends may not."""
    return " style=" in page.request.get(path).text()


def _file(path: str, who: str, size: str) -> Path:
    name = re.sub(r"[^a-z0-9]+", "-", kind_of(path).lower()).strip("-")
    folder = SCREENSHOTS / who
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}-{size}.png"


def _note_console(seen: Walk, page: Page, message: ConsoleMessage) -> None:
    if message.type == "error":
        seen.problems.append(f"{page.url}: console: {message.text}")
