from datetime import datetime

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


def test_a_time_to_stand_in_is_chosen_by_dragging_over_the_week(browsing: BrowserContext) -> None:
    page = sign_in(browsing, "alice")
    page.goto("/oncall/inference-primary/")
    week = page.locator("svg.axis").nth(1)
    week.scroll_into_view_if_needed()
    box = week.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] / 2, steps=4)
    assert " to " in week.locator(".axis-span-text").inner_html()
    page.mouse.up()
    sheet = page.get_by_role("dialog", name="Who stands in?")
    chosen = [sheet.get_by_label(label).input_value() for label in ("From", "Until")]
    assert all(moment.endswith(":00") for moment in chosen)
    assert chosen[0] < chosen[1]
    sheet.get_by_label("Person").select_option(label="Bob Brandt")
    sheet.get_by_role("button", name="Set the override").click()
    page.get_by_text("stands in (").wait_for()
    day, hour = (datetime.fromisoformat(chosen[0]).strftime(form) for form in ("%b", "%H:%M"))
    told = page.locator("li", has_text="Bob Brandt").first.inner_text()
    assert day in told
    assert hour in told
