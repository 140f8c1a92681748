import pytest
from playwright.sync_api import BrowserContext

from demo.services.people import PEOPLE
from tests.browser.crawling import QUICK, THOROUGH, Gallery, sign_in, walk

pytestmark = [pytest.mark.browser, pytest.mark.integration]
# Who operates, who audits and who may all: they meet what the others meet, and more of it.
THOROUGHLY = ("alice", "ada", "admin")


@pytest.fixture(scope="module")
def gallery() -> Gallery:
    return Gallery()


@pytest.mark.parametrize("who", [person.username for person in PEOPLE])
def test_every_link_leads_to_a_page_without_errors(who: str, browsing: BrowserContext, gallery: Gallery) -> None:
    seen = walk(browsing, who, gallery, THOROUGH if who in THOROUGHLY else QUICK)
    assert not seen.problems, "\n".join(seen.problems)
    assert seen.asked > 5


def test_the_search_finds_a_service_from_the_keyboard(browsing: BrowserContext) -> None:
    page = sign_in(browsing, "dana")
    page.keyboard.press("/")
    page.keyboard.type("gateway")
    hit = page.locator("#search-hits a[href='/services/gateway/']")
    hit.wait_for(timeout=5000)
    hit.click()
    page.wait_for_url("**/services/gateway/")
    assert page.get_by_role("heading", level=1).inner_text().startswith("Inference gateway")


def test_the_theme_is_remembered(browsing: BrowserContext) -> None:
    page = sign_in(browsing, "dana")
    before = page.locator("html").get_attribute("data-bs-theme")
    page.get_by_role("button", name="Change between light and dark").first.click()
    page.reload()
    assert page.locator("html").get_attribute("data-bs-theme") != before


def test_a_page_that_is_not_there_says_so_with_an_id(browsing: BrowserContext) -> None:
    page = sign_in(browsing, "dana")
    page.goto("/services/nothing/")
    assert page.get_by_role("heading", level=1).inner_text() == "Not found"
    assert "req_" in page.locator(".request-id").inner_text()
