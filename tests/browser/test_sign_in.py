"""Signing in with Chromium: by a provider that runs, and with a passkey of a virtual authenticator."""

import pytest
import requests
from playwright.sync_api import Browser, BrowserContext, Page

from tests.accounts.oidc_provider import running_provider
from tests.browser.crawling import sign_in

pytestmark = [pytest.mark.browser, pytest.mark.integration]
PASSWORD = "a-long-enough-secret"


@pytest.fixture
def by_name(chromium: Browser, site_address: str) -> BrowserContext:
    """A browser that reaches the site under a name: passkeys are kept to names."""
    return chromium.new_context(
        base_url=site_address.replace("127.0.0.1", "localhost"), viewport={"width": 1280, "height": 900}
    )


def with_authenticator(page: Page) -> None:
    """Give the page a device that keeps passkeys and always agrees."""
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    session.send("WebAuthn.addVirtualAuthenticator", {"options": options})


def sign_out(page: Page) -> None:
    page.get_by_role("button", name="Your menu").click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in/")


def test_a_passkey_opens_the_site_without_a_password(by_name: BrowserContext) -> None:
    page = sign_in(by_name, "admin")
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
    page.goto("/settings/people/add/")
    page.get_by_label("User name").fill("paula")
    page.get_by_label("Full name").fill("Paula Pass")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Add the person").click()
    page.wait_for_url("**/settings/people/paula/")
    sign_out(page)
    page.get_by_label("Username").fill("paula")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/")
    with_authenticator(page)
    page.goto("/settings/account/factors/passkeys/add/")
    page.get_by_label("Passwordless").check()
    page.get_by_role("button", name="Add it").click()
    page.wait_for_url("**/recovery-codes/")
    assert page.locator("#recovery-codes li").count() == 10
    sign_out(page)
    page.get_by_role("button", name="A passkey").click()
    page.get_by_role("button", name="Your menu: Paula Pass").wait_for()
    page.goto("/settings/account/")
    assert "passkey" in page.get_by_role("main").inner_text()
    assert not problems, problems


def test_a_provider_is_set_up_on_its_page_and_signs_people_in(browsing: BrowserContext) -> None:
    with running_provider() as issuer:
        requests.put(
            f"{issuer}/users/okta-7",
            json={"preferred_username": "otto", "name": "Otto Oak", "groups": ["SRE"]},
            timeout=10,
        ).raise_for_status()
        page = sign_in(browsing, "admin")
        page.goto("/settings/sign-in/providers/add/oidc/")
        page.get_by_label("Short name").fill("example")
        page.locator("#id_name").fill("Example login")
        page.get_by_label("Issuer").fill(issuer)
        page.get_by_label("Client ID").fill("assay")
        page.get_by_label("Secret").fill("any secret")
        page.get_by_label("It is on a private network").check()
        page.get_by_label("What its groups mean").fill("SRE: responder")
        page.get_by_role("button", name="Add the provider").click()
        page.wait_for_url("**/providers/example/")
        page.get_by_role("button", name="Try it").click()
        page.get_by_text("Discovery answers").wait_for()
        sign_out(page)
        page.get_by_role("link", name="Example login").click()
        page.wait_for_url(f"{issuer}/**")
        page.locator("input[name=sub]").first.fill("okta-7")
        page.locator("button[type=submit]").first.click()
        page.get_by_role("button", name="Your menu: Otto Oak").wait_for()
        page.goto("/settings/account/")
        assert "provider:example" in page.get_by_role("main").inner_text()
        sign_out(page)
    page.get_by_role("link", name="Example login").click()
    assert "does not answer" in page.get_by_role("main").inner_text()
