"""Walk a site as a signed-in person, look at each page, and remember what is wrong with it.

Every link that a person meets is asked for, up to a number of records of one kind of page. Looking at a page (axe,
the width of a phone, pictures) takes a second of a core: each kind is looked at by whoever comes first, and once more
by somebody whose rights put on it what was not there before.
"""

import os
import re
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from urllib.parse import urldefrag, urljoin, urlsplit

import requests
from axe_playwright_python.sync_playwright import Axe
from django.urls import Resolver404, resolve
from playwright.sync_api import BrowserContext, ConsoleMessage, Page

from demo.services.people import PASSWORD

SCREENSHOTS = Path("test-artifacts") / "screenshots"
# Pictures in the dark theme too, for who looks at them; no test reads them.
ALSO_DARK = bool(os.environ.get("ASSAY_DARK_PICTURES"))
LOOKS_PER_KIND = 2
QUALITY = 80
LINK = re.compile(r"<a\s([^>]*)>")
HREF = re.compile(r'href="([^"]*)"')
STYLED = re.compile(r"<[^>]* style=")
PART = re.compile(r'name="(?!csrf)([\w-]+)"|data-dialog="([\w-]+)"')
# The rows of a table are alike: the first ones are looked at. So is the frame around the pages, on a walk's first look.
ALIKE = ["tbody > tr:nth-child(n+7)"]
FRAME = ["aside.navbar"], ["header.topbar"], ["footer.site-footer"]
AXE_OPTIONS = {"resultTypes": ["violations"], "preload": False}


@dataclass(frozen=True)
class Depth:
    """How many pages of one kind are asked for: records, and addresses with a query."""

    records: int
    queries: int


THOROUGH, QUICK = Depth(3, 2), Depth(1, 1)


@dataclass
class Walk:
    """What a walk saw."""

    who: str
    problems: list[str] = field(default_factory=list)
    looked_at: list[str] = field(default_factory=list)
    asked: int = 0


@dataclass
class Gallery:
    """What all walks of a session have looked at, by kind of page."""

    parts: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    looks: Counter[str] = field(default_factory=Counter)
    pictured: set[str] = field(default_factory=set)

    def wants(self, kind: str, html: str) -> bool:
        """Say whether a page is worth a look: its kind is new, or it has a form or button that none of them had."""
        parts = set(PART.findall(html))
        known = self.parts.setdefault(kind, set())
        if self.looks[kind] and (parts <= known or self.looks[kind] == LOOKS_PER_KIND):
            return False
        known |= parts
        self.looks[kind] += 1
        return True


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


def client_of(context: BrowserContext) -> requests.Session:
    """Return a client that is signed in as the browser is, for what needs no browser."""
    client = requests.Session()
    client.max_redirects = 3
    for cookie in context.cookies():
        client.cookies.set(cookie["name"], cookie["value"])
    return client


def walk(context: BrowserContext, who: str, gallery: Gallery, depth: Depth, *, start: str = "/") -> Walk:
    """Follow every link from `start`; the gallery says which pages are looked at."""
    page = sign_in(context, who)
    client = client_of(context)
    seen = Walk(who)
    page.on("console", lambda message: _note_console(seen, page, message))
    page.on("pageerror", lambda error: seen.problems.append(f"{page.url}: script failed: {error}"))
    origin = "{0.scheme}://{0.netloc}".format(urlsplit(page.url))
    waiting, known = deque([(start, "(start)")]), {start}
    asked: Counter[tuple[str, bool]] = Counter()
    while waiting:
        path, found_on = waiting.popleft()
        kind, query = kind_of(path), bool(urlsplit(path).query)
        asked[kind, query] += 1
        if asked[kind, query] > (depth.queries if query else depth.records):
            continue
        seen.asked += 1
        answer = client.get(origin + path, timeout=60)
        if answer.status_code >= 400:
            seen.problems.append(f"{path}: answers {answer.status_code}; linked from {found_on}")
            continue
        if "text/html" not in answer.headers.get("content-type", "") or query:
            continue
        html = answer.text
        # Scripts may set styles; the markup that the server sends may not.
        if STYLED.search(html):
            seen.problems.append(f"{path}: a style attribute in the markup")
        if gallery.wants(kind, html):
            look(page, path, seen, gallery)
        for link in links_of(html):
            target = urldefrag(urljoin(origin + path, link)).url
            if not target.startswith(origin):
                continue
            target = target.removeprefix(origin)
            if target not in known and not target.startswith(("/static/", "/api/")):
                known.add(target)
                waiting.append((target, path))
    return seen


def links_of(html: str) -> Iterator[str]:
    """Return where a page's links lead, downloads apart."""
    for attributes in LINK.findall(html):
        if "download" not in attributes and (found := HREF.search(attributes)):
            yield unescape(found.group(1))


def look(page: Page, path: str, seen: Walk, gallery: Gallery) -> None:
    """Look at one page with axe and at the width of a phone; keep pictures of the first of its kind."""
    kind = kind_of(path)
    pictures = kind not in gallery.pictured
    gallery.pictured.add(kind)
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto(path, wait_until="load")
    page.wait_for_timeout(100)
    apart = [ALIKE, *FRAME] if seen.looked_at else [ALIKE]
    found = Axe().run(page, context={"include": [["html"]], "exclude": apart}, options=AXE_OPTIONS)
    seen.looked_at.append(path)
    for violation in found.response["violations"]:
        if violation["impact"] in {"serious", "critical"}:
            where = "; ".join(str(node["target"]) + " " + node["html"][:160] for node in violation["nodes"][:3])
            seen.problems.append(f"{path}: axe {violation['id']} ({violation['impact']}): {where}")
    if pictures:
        _take(page, path, seen.who)
    sideways = _sideways_at_375(page)
    if sideways > 1:
        seen.problems.append(f"{path}: {sideways} px wider than a screen of 375 px")
    if pictures:
        page.screenshot(path=_file(path, seen.who, "375"), full_page=True, type="jpeg", quality=QUALITY)


def _sideways_at_375(page: Page) -> int:
    page.set_viewport_size({"width": 375, "height": 800})
    page.wait_for_timeout(50)
    return int(page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))


def _take(page: Page, path: str, who: str) -> None:
    height = int(page.evaluate("document.documentElement.scrollHeight"))
    page.set_viewport_size({"width": 1440, "height": min(max(height, 900), 4000)})
    page.screenshot(path=_file(path, who, "1440"), type="jpeg", quality=QUALITY)
    if ALSO_DARK:
        with _dark(page):
            page.screenshot(path=_file(path, who, "1440-dark"), type="jpeg", quality=QUALITY)


@contextmanager
def _dark(page: Page) -> Iterator[None]:
    _set_theme(page, "dark")
    yield
    _set_theme(page, "light")


def _set_theme(page: Page, theme: str) -> None:
    page.evaluate(f"document.documentElement.setAttribute('data-bs-theme', '{theme}')")
    page.evaluate("document.dispatchEvent(new CustomEvent('assay:theme'))")


def _file(path: str, who: str, size: str) -> Path:
    name = re.sub(r"[^a-z0-9]+", "-", kind_of(path).lower()).strip("-")
    folder = SCREENSHOTS / who
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}-{size}.jpg"


def _note_console(seen: Walk, page: Page, message: ConsoleMessage) -> None:
    if message.type == "error":
        seen.problems.append(f"{page.url}: console: {message.text}")
