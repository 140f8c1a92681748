"""The demo organization does to Assay itself what its controls ask, and the controls are judged from what that left."""

from typing import Any

import pytest

from accounts.data import Role, system_principal
from accounts.models import SignInPolicy, User
from compliance.models import AccessCampaign
from compliance.selectors import access_of, frameworks_visible, requirement_standings, window_to
from compliance.services import load_packaged, run_checks
from core.clock import database_now
from core.work import drain_all
from demo.services.people import load_people
from demo.services.practising import Practice, person
from ledger.services import seal_pending

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.integration]
SITE = system_principal("test")


def standing(ref: str) -> str:
    now = database_now()
    for framework in frameworks_visible(access=access_of(person("carol"))).filter(slug="iso27001"):
        for one in requirement_standings(framework, window=window_to(now), now=now):
            if one.ref == ref:
                return str(one.judgement.standing.value)
    raise AssertionError(ref)


def test_what_the_organization_does_about_assay_makes_its_controls_operate(live_server: Any) -> None:
    load_people(principal=SITE)
    load_packaged(principal=SITE)
    said: list[str] = []
    practice = Practice(site=live_server.url, say=said.append)
    run_checks()
    assert (standing("A.5.18"), standing("A.8.5")) == ("not_tested", "no_population")
    practice._sign_in()
    practice._rules()
    practice._leaver()
    practice._review()
    practice._review()
    assert any("no further access review today" in line for line in practice.left)
    drain_all()
    seal_pending()
    run_checks()
    assert (standing("A.5.18"), standing("A.8.5")) == ("operating", "operating")
    assert SignInPolicy.objects.get().second_factor_roles == [Role.ADMIN.value]
    review = AccessCampaign.objects.get()
    for entry in review.entries.all():
        assert entry.decided_by != f"user:{User.objects.get(username=entry.account).pk}"
