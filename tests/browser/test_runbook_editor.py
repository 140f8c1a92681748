"""The editor of runbooks in a real browser: it lints while one writes, and loses nothing."""

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.browser.crawling import sign_in

pytestmark = [pytest.mark.browser, pytest.mark.integration]
WAIT = 30_000


def test_the_editor_lints_while_one_writes_and_leads_to_the_line(browsing: BrowserContext) -> None:
    page = sign_in(browsing, "admin")
    page.goto("/runbooks/new/")
    expect(page.locator("#preview")).to_contain_text("nothing to mend", ignore_case=True, timeout=WAIT)
    text = page.get_by_label("Markdown")
    whole = text.input_value().replace("a-short-name", "written-in-a-browser")
    text.fill(whole.replace("action: http.check", "action: http.chek"))
    problem = page.locator("#preview li", has_text="http.chek")
    expect(problem).to_be_visible(timeout=WAIT)
    problem.get_by_role("button").click()
    line = text.evaluate("(box) => box.value.slice(box.selectionStart, box.selectionEnd)")
    assert line.startswith("```check")
    text.fill(whole)
    expect(page.locator("#preview")).to_contain_text("nothing to mend", ignore_case=True, timeout=WAIT)
    page.get_by_role("button", name="Put into force").click()
    page.wait_for_url("**/runbooks/written-in-a-browser/")
    expect(page.get_by_text("It is in force.")).to_be_visible()
