"""What makes a number doubtful: no data, constant burn, nothing that succeeds or fails, resets, unknown outcomes."""

import random
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from hypothesis import given, settings
from hypothesis import strategies as st

from accounts.data import Role
from accounts.services import create_user, grant_role
from core.clock import database_now
from reliability.domain.budgets import Counts
from reliability.domain.findings import FindingKind, findings_of_hours, index_of_dispersion, resets, silence
from reliability.models import SLO, SLOVersion
from reliability.selectors import minute_of
from reliability.selectors.findings import findings_of
from reliability.services.tallying import add_to_tallies
from tests.reliability.conftest import SITE, TTFT, apply

HOUR = Counts(good=980, bad=20, minutes_measured=60)
DAY = timedelta(days=1)


def kinds(hours: list[Counts], *, target: float | None = 0.95, lived: int = 0) -> set[FindingKind]:
    return {one.kind for one in findings_of_hours(hours, target=target, lived=lived)}


def by_chance(seed: int, *, hours: int = 48, ratio: float = 0.02) -> list[Counts]:
    rolled = random.Random(seed)
    found = []
    for _ in range(hours):
        bad = sum(rolled.random() < ratio for _ in range(1000))
        found.append(Counts(good=1000 - bad, bad=bad, minutes_measured=60))
    return found


def test_failures_more_even_than_chance_are_a_constant_burn() -> None:
    assert kinds([HOUR] * 24) == {FindingKind.CONSTANT_BURN}
    assert not kinds([HOUR] * 11), "too few hours tell nothing"
    assert not kinds([Counts(good=999, bad=1, minutes_measured=60)] * 24), "too few failures tell nothing"


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_failures_by_chance_are_no_constant_burn(seed: int) -> None:
    hours = by_chance(seed)
    assert FindingKind.CONSTANT_BURN not in kinds(hours)
    dispersion = index_of_dispersion(hours)
    assert dispersion is not None
    assert 0.3 < dispersion < 3


def test_nothing_that_succeeds_and_nothing_that_fails_are_told() -> None:
    assert kinds([Counts(bad=50, minutes_measured=60)] * 12) == {FindingKind.NOTHING_SUCCEEDS}
    assert kinds([Counts(good=50, minutes_measured=60)] * 12) == {FindingKind.NEVER_FAILS}
    assert not kinds([Counts(good=50, minutes_measured=60)] * 12, target=0.999), "so few are allowed that none is usual"
    assert not kinds([Counts(good=50, minutes_measured=60)] * 12, target=None)


def test_unknown_outcomes_and_gaps_are_told() -> None:
    assert FindingKind.MUCH_UNKNOWN in kinds([Counts(good=90, bad=5, unknown=5, minutes_measured=60)] * 12)
    half = [Counts(good=90, bad=5, minutes_measured=30)] * 12
    assert FindingKind.GAPS in kinds(half, lived=12)
    assert FindingKind.GAPS not in kinds(half, lived=1), "an SLO that was just declared has no gaps yet"


def test_silence_and_resets_have_names() -> None:
    quiet = silence(since_last=timedelta(hours=3), lived=DAY, vanished=False, detail="")
    assert quiet is not None
    assert (quiet.kind, quiet.says) == (FindingKind.NO_DATA, "Nothing was measured for 3 hours.")
    assert silence(since_last=timedelta(minutes=2), lived=DAY, vanished=False, detail="") is None
    assert silence(since_last=None, lived=timedelta(minutes=2), vanished=False, detail="") is None
    gone = silence(since_last=timedelta(hours=3), lived=DAY, vanished=True, detail="the source has no metric x.")
    assert gone is not None
    assert gone.kind is FindingKind.VANISHED
    many = resets(5000, lived=10 * DAY)
    assert many is not None
    assert many.kind is FindingKind.ENDLESS_RESETS
    assert resets(30, lived=timedelta(hours=1)) is None


@pytest.mark.django_db
@pytest.mark.usefixtures("catalog")
class TestStored:
    def counted(self, counts: Counts, *, until: int = 0) -> SLOVersion:
        apply(TTFT)
        now = database_now()
        SLOVersion.objects.update(effective_from=now - 2 * DAY)
        version = SLOVersion.objects.get()
        end = minute_of(now)
        add_to_tallies({(version.tally_id, end - ago): counts for ago in range(until, 2 * 1440)})
        return version

    def test_the_page_and_the_finding_say_the_same(self) -> None:
        version = self.counted(Counts(good=9, bad=1), until=30)
        found = findings_of(slos=[version.slo], now=database_now())[version.slo_id]
        assert {one.kind for one in found} == {FindingKind.NO_DATA, FindingKind.CONSTANT_BURN}
        user = create_user(principal=SITE, username="victor", password=None)
        grant_role(principal=SITE, user=user, role=Role.VIEWER)
        client = Client()
        client.force_login(user)
        page = client.get("/slos/gateway-ttft/").content.decode()
        assert "Can the number be trusted?" in page
        assert all(one.says in page for one in found)

    def test_an_slo_without_doubt_has_no_finding(self) -> None:
        version = self.counted(Counts(good=1))
        rolled = random.Random(3)
        end = minute_of(database_now())
        add_to_tallies(
            {(version.tally_id, end - ago): Counts(bad=int(rolled.random() < 0.03)) for ago in range(2 * 1440)}
        )
        assert findings_of(slos=[version.slo], now=database_now()) == {}

    def test_many_slos_ask_a_fixed_number_of_queries(self, django_assert_num_queries: Any) -> None:
        self.counted(Counts(good=1, bad=1))
        for number in range(4):
            apply(TTFT.replace("gateway-ttft", f"copy-{number}"))
        slos = list(SLO.objects.select_related("service"))
        now = database_now()
        with django_assert_num_queries(15):
            findings_of(slos=slos, now=now)
