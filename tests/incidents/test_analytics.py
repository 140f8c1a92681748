"""The measures of incidents: each definition on a worked example, cuts, interruptions by one's own clock, noise."""

import csv
import io
from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.data import Role
from accounts.models import User
from accounts.services import grant_role
from core.work import drain_all
from incidents.data import Severity
from incidents.domain.interruptions import Hours, hours_of
from incidents.domain.statistics import evenness, median_ranks, summarize
from incidents.models import EscalationRun, Incident, Page
from incidents.selectors.analytics import Cut, analytics, time_between
from incidents.selectors.people_load import load_of, noise_of
from incidents.services import Opening, merge_incident, open_incident
from tests.incidents.conftest import ADMIN, World, an_alert

MINUTE = timedelta(minutes=1)
DAY = datetime(2026, 11, 2, 12, tzinfo=UTC)


class TestStatistics:
    def test_percentiles_are_values_that_happened(self) -> None:
        found = summarize([n * MINUTE for n in (10, 1, 9, 2, 8, 3, 7, 4, 6, 5)])
        assert (found.n, found.median, found.p90) == (10, 5 * MINUTE, 9 * MINUTE)
        assert found.median_between == (2 * MINUTE, 9 * MINUTE)

    def test_five_values_say_nothing_certain_of_the_median(self) -> None:
        assert summarize([MINUTE] * 5).median_between is None
        assert summarize([]).hint == "nothing to count"

    def test_the_ranks_are_those_of_the_published_table(self) -> None:
        # Conover, Practical Nonparametric Statistics, sign-test intervals at 95 %.
        assert [median_ranks(n) for n in (6, 10, 15, 20, 30)] == [(1, 6), (2, 9), (4, 12), (6, 15), (10, 21)]

    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(st.integers(0, 10_000), min_size=1, max_size=60))
    def test_the_order_of_the_figures_holds(self, seconds: list[int]) -> None:
        found = summarize(timedelta(seconds=one) for one in seconds)
        assert found.median is not None
        assert found.p90 is not None
        assert min(seconds) <= found.median.total_seconds() <= found.p90.total_seconds() <= max(seconds)
        if found.median_between:
            assert found.median_between[0] <= found.median <= found.median_between[1]

    def test_evenness_is_one_when_all_have_the_same_and_a_share_when_one_has_all(self) -> None:
        assert evenness([3, 3, 3]) == 1
        assert evenness([9, 0, 0]) == pytest.approx(1 / 3)
        assert evenness([0, 0]) is None


class TestTimeBetweenFailures:
    def test_overlapping_impacts_are_one(self) -> None:
        at = [DAY + timedelta(hours=n) for n in range(12)]
        assert time_between([(at[0], at[1]), (at[3], at[4])]) == timedelta(hours=2)
        assert time_between([(at[0], at[2]), (at[1], at[3]), (at[7], at[8])]) == timedelta(hours=4)
        assert time_between([(at[0], at[1])]) is None
        assert time_between([(at[0], None), (at[3], at[4])]) is None


@pytest.mark.parametrize(
    ("local", "hours"),
    [
        ("2026-11-20T08:00", Hours.BUSINESS),
        ("2026-11-20T17:59", Hours.BUSINESS),
        ("2026-11-20T18:00", Hours.OFF),
        ("2026-11-21T12:00", Hours.OFF),
        ("2026-11-20T22:00", Hours.SLEEP),
        ("2026-11-21T07:59", Hours.SLEEP),
    ],
)
def test_hours_are_told_by_the_persons_own_clock(local: str, hours: Hours) -> None:
    assert hours_of(datetime.fromisoformat(local)) is hours


def _incident(world: World, n: int, *, acknowledged: int | None = 5, **changes: object) -> Incident:
    """An incident whose impact began on day n, detected after 2, paged after 3, resolved after 60 minutes."""
    incident = open_incident(
        principal=world.who("alice"),
        opening=Opening(title=f"Incident {n}", severity=Severity.SEV2, team_id=world.team.pk),
    )
    start = DAY + timedelta(days=n)
    times = {
        "impact_started_at": start,
        "detected_at": start + 2 * MINUTE,
        "triggered_at": start + 2 * MINUTE,
        "first_notified_at": start + 3 * MINUTE,
        "acknowledged_at": None if acknowledged is None else start + (3 + acknowledged) * MINUTE,
        "engaged_at": None if acknowledged is None else start + 4 * MINUTE,
        "mitigated_at": start + 30 * MINUTE,
        "resolved_at": start + 60 * MINUTE,
        "status": "resolved",
        "grouping_key": "gateway:route",
    }
    Incident.objects.filter(pk=incident.pk).update(**{**times, **changes})
    incident.refresh_from_db()
    return incident


@pytest.mark.django_db
class TestAnalytics:
    def test_each_measure_is_the_published_difference(self, world: World) -> None:
        for n in range(3):
            _incident(world, n, acknowledged=5 + n)
        whole = analytics(viewer=world.who("alice"), since=DAY, until=DAY + timedelta(days=9)).whole
        medians = {name: found.median for name, found in whole.measures.items()}
        assert medians == {
            "time_to_detect": 2 * MINUTE,
            "time_to_acknowledge": 6 * MINUTE,
            "time_to_engage": MINUTE,
            "time_to_mitigate": 30 * MINUTE,
            "time_to_resolve": 60 * MINUTE,
        }
        assert whole.time_between == timedelta(days=1) - 30 * MINUTE
        assert whole.repeats == 2

    def test_what_nobody_acknowledged_does_not_flatter_the_time_to_acknowledge(self, world: World) -> None:
        _incident(world, 0, acknowledged=10)
        _incident(world, 1, acknowledged=None)
        whole = analytics(viewer=world.who("alice"), since=DAY, until=DAY + timedelta(days=9)).whole
        assert (whole.measures["time_to_acknowledge"].n, whole.resolved_unseen) == (1, 1)
        assert whole.measures["time_to_acknowledge"].median == 10 * MINUTE

    def test_a_merged_incident_counts_once(self, world: World) -> None:
        alice = world.who("alice")
        one, other = (
            open_incident(principal=alice, opening=Opening(title=title, severity=Severity.SEV3, team_id=world.team.pk))
            for title in "ab"
        )
        merge_incident(principal=alice, incident=one, into=other)
        now = datetime.now(UTC)
        assert analytics(viewer=alice, since=now - MINUTE, until=now + MINUTE).whole.count == 1

    @pytest.mark.parametrize("by", list(Cut))
    def test_the_parts_of_every_cut_are_the_whole(self, world: World, by: Cut) -> None:
        world.post_alertmanager(an_alert())
        drain_all()
        _incident(world, 0)
        now = datetime.now(UTC)
        found = analytics(viewer=world.who("alice"), since=DAY, until=now + MINUTE, by=by)
        assert sum(row.count for row in found.parts) == found.whole.count == 2

    def test_a_stranger_sees_no_incident_of_the_team(self, world: World) -> None:
        _incident(world, 0)
        found = analytics(viewer=world.who("charlie"), since=DAY, until=DAY + timedelta(days=9))
        assert found.whole.count == 0


@pytest.mark.django_db
def test_a_page_interrupts_by_the_clock_of_the_person(world: World) -> None:
    User.objects.filter(pk=world.alice.pk).update(time_zone="Pacific/Auckland")
    incident = _incident(world, 0)
    run = EscalationRun.objects.create(
        incident=incident, snapshot={"policy": "p", "repeat": 1, "steps": []}, started_at=DAY, due_at=DAY
    )
    # Noon in UTC on a Monday is one at night in Auckland.
    for step, folded in ((0, False), (1, True), (2, True)):
        Page.objects.create(
            run=run,
            incident=incident,
            user=world.alice,
            step=step,
            loop=0,
            at=DAY,
            why="w",
            folded=folded,
            digest_key="digest:1:1" if folded else "",
        )
    Page.objects.create(run=run, incident=incident, user=world.bob, step=0, loop=0, at=DAY, why="w")
    load = load_of(viewer=world.who("alice"), since=DAY, until=DAY + timedelta(hours=1))
    found = {one.username: (one.business, one.off, one.sleep) for one in load.people}
    assert found["alice"] == (0, 0, 2)
    assert found["bob"] == (1, 0, 0)


@pytest.mark.django_db
def test_noise_is_what_nobody_acted_upon(world: World) -> None:
    world.post_alertmanager(an_alert(), an_alert("Quiet", severity="info"))
    drain_all()
    Incident.objects.update(acknowledged_at=datetime.now(UTC))
    now = datetime.now(UTC)
    (found,) = noise_of(viewer=world.who("alice"), since=now - timedelta(hours=1), until=now + MINUTE)
    assert (found.source, found.episodes, found.incidents, found.unheeded) == ("prometheus", 2, 1, 1)


@pytest.mark.django_db
def test_page_csv_and_api_tell_the_same(world: World, client: Client) -> None:
    world.post_alertmanager(an_alert())
    drain_all()
    client.force_login(world.alice)
    assert '<option value="gateway">' in client.get("/incidents/analytics/").content.decode()
    refused = client.get("/incidents/analytics/?days=365&by=service&service=nobody").content.decode()
    assert "Select a valid choice" in refused
    assert '<option value="365" selected>' in refused
    rows = list(csv.DictReader(io.StringIO(client.get("/incidents/analytics/?csv=1&days=30").content.decode())))
    assert [(row["service"], row["count"]) for row in rows] == [("gateway", "1"), ("all", "1")]
    found = client.get("/api/v1/incident-analytics/?by=severity").json()
    assert [(row["label"], row["count"]) for row in found["parts"]] == [("sev2", 1)]
    assert client.get("/api/v1/incident-analytics/?by=moon").status_code == 400
    listed = client.get("/incidents/?service=gateway&opened=7&source=alert:prometheus").content.decode()
    assert Incident.objects.get().reference in listed


@pytest.mark.django_db
def test_a_scraper_gets_histograms_by_its_token(world: World, client: Client) -> None:
    _incident(world, 0)
    grant_role(principal=ADMIN, user=world.charlie, role=Role.VIEWER)
    assert client.get("/api/v1/incident-analytics/prometheus/").status_code in {401, 403}
    client.force_login(world.charlie)
    text = client.get("/api/v1/incident-analytics/prometheus/").content.decode()
    assert 'assay_incident_time_to_acknowledge_seconds_bucket{le="300.0",severity="sev2",team="inference"} 1.0' in text
    assert 'assay_incident_time_to_acknowledge_seconds_bucket{le="120.0",severity="sev2",team="inference"} 0.0' in text
