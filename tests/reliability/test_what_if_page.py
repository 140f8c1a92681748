"""Another promise, or other alerts, judged on the stored history before anything is changed."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.test import Client

from accounts.data import Role
from accounts.services import create_user, grant_role
from core.clock import database_now
from reliability.domain.alerting import BurnTier
from reliability.domain.budgets import Counts
from reliability.models import SLOVersion
from reliability.selectors import minute_of
from reliability.services import standard_tiers, tiers_as_text, written_tiers
from reliability.services.tallying import add_to_tallies
from tests.reliability.conftest import SITE, TTFT, apply

WINDOW = timedelta(days=28)


@pytest.mark.parametrize(
    "text",
    [
        "fast critical 1h/5m >14.4 min 10 p 0.01 for 2m",
        "slow warning 6h/30m share 5%; day info 1d/2h >=3",
        "short critical 7m/3m >0.5",
    ],
)
def test_tiers_are_written_as_they_are_read(text: str) -> None:
    tiers = written_tiers(text, Decimal("0.999"), WINDOW, "tiers")
    assert tiers_as_text(tiers) == text


def test_the_usual_tiers_are_written_and_read_back_to_the_same() -> None:
    tiers = standard_tiers(Decimal("0.999"), WINDOW)
    assert written_tiers(tiers_as_text(tiers), Decimal("0.999"), WINDOW, "tiers") == tiers
    assert tiers_as_text([BurnTier("one", "info", 60, 5, 14.0)]) == "one info 1h/5m >14"


@pytest.mark.django_db
class TestPage:
    @pytest.fixture(autouse=True)
    def _counted(self, catalog: None) -> None:
        """An SLO at 95 % with 3 % bad for two days and ten minutes of outage."""
        apply(TTFT)
        now = database_now()
        SLOVersion.objects.update(effective_from=now - timedelta(days=2))
        version = SLOVersion.objects.get()
        end = minute_of(now)
        add_to_tallies(
            {
                (version.tally_id, end - ago): Counts(bad=100) if 600 <= ago < 610 else Counts(good=97, bad=3)
                for ago in range(2 * 1440)
            }
        )

    @pytest.fixture
    def client(self) -> Client:
        user = create_user(principal=SITE, username="victor", password=None)
        grant_role(principal=SITE, user=user, role=Role.VIEWER)
        client = Client()
        client.force_login(user)
        return client

    def test_it_shows_the_promise_as_it_is(self, client: Client) -> None:
        page = client.get("/slos/gateway-ttft/what-if/").content.decode()
        assert "fast critical 5m/2m &gt;2 min 10" in page
        assert "As asked" not in page
        assert '<td class="num">1</td>' in page, "the outage fired once"

    def test_it_shows_another_promise_beside_it(self, client: Client) -> None:
        asked = {"target": "99 %", "window": "1d", "tiers": "fast critical 10m/2m >20"}
        page = client.get("/slos/gateway-ttft/what-if/", asked).content.decode()
        assert "99 % over 1d" in page
        assert "As asked" in page
        assert "10 min and 2 min" in page

    def test_an_impossible_alert_is_refused_with_the_reason(self, client: Client) -> None:
        page = client.get("/slos/gateway-ttft/what-if/", {"tiers": "never critical 1h/5m >21"}).content.decode()
        assert "this tier could never fire" in page
        for target in ("101 %", "0", "a lot"):
            assert "As asked" not in client.get("/slos/gateway-ttft/what-if/", {"target": target}).content.decode()

    def test_it_is_for_viewers_and_changes_nothing(self, client: Client) -> None:
        assert client.post("/slos/gateway-ttft/what-if/").status_code == 405
        assert client.get("/slos/nothing/what-if/").status_code == 404
        assert Client().get("/slos/gateway-ttft/what-if/").status_code == 302
        assert SLOVersion.objects.count() == 1
