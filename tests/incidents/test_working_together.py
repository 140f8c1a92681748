"""Tasks, corrections, merging and splitting, targets with pauses, what the outside is told, and the review's way."""

from datetime import UTC, date, datetime, time, timedelta

import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog.data import ActionItemState
from catalog.selectors import action_items_from
from core.clock import database_now
from core.parsing import InputRefusedError, load_yaml_documents
from core.work import drain_all
from delivery.models import Delivery, Notification
from incidents.data import IncidentStatus, PublicState, Severity
from incidents.domain.review_templates import TEMPLATES, factors_in
from incidents.domain.targets import Calendar, ClockState, read_clock, running_spans
from incidents.models import Alert, FollowUp, Incident, Review, StatusPage, StatusSubscription, TimelineEntry
from incidents.selectors import board_of, clocks_of, timeline_of
from incidents.services import (
    Opening,
    accept_risk,
    acknowledge_incident,
    add_follow_up,
    add_task,
    apply_documents,
    approve_review,
    change_severity,
    correct_entry,
    edit_review,
    look_after_follow_ups,
    merge_incident,
    note_authority_notified,
    note_awareness,
    open_incident,
    pause_clocks,
    publish_status,
    resolve_incident,
    resume_clocks,
    settle_review_task,
    settle_task,
    split_incident,
    subscribe,
    take_words,
    watch_targets,
    write_note,
)
from tests.incidents.conftest import ADMIN, World, an_alert

TARGETS = """
apiVersion: assay/v1
kind: IncidentTargets
metadata: {name: everybody}
spec:
  pauses: [vendor]
  severities:
    sev1: {acknowledge: 5m, mitigate: 1h, resolve: 4h}
    sev2: {acknowledge: 15m, first_update: 30m, resolve: 8h, review: 5d}
---
apiVersion: assay/v1
kind: StatusPage
metadata: {name: public, title: Our services}
spec: {visibility: public, services: [gateway]}
"""
NINE_TO_FIVE = Calendar("Europe/Berlin", frozenset(range(5)), time(9), time(17))


def _configure(world: World) -> None:
    apply_documents(principal=ADMIN, documents=load_yaml_documents(TARGETS, source="targets.yaml"))


def _open(world: World, severity: Severity = Severity.SEV2, title: str = "Customers wait") -> Incident:
    return open_incident(
        principal=world.who("alice"), opening=Opening(title=title, severity=severity, team_id=world.team.pk)
    )


@pytest.mark.django_db
class TestTasksAndTimeline:
    def test_a_task_is_told_to_its_owner_and_settled_once(self, world: World) -> None:
        incident = _open(world)
        task = add_task(principal=world.who("alice"), incident=incident, title="Call the vendor", owner_id=world.bob.pk)
        drain_all()
        assert Notification.objects.filter(recipient=f"user:{world.bob.pk}", title__contains="Call the vendor").exists()
        settle_task(principal=world.who("bob"), task=task)
        settle_task(principal=world.who("alice"), task=task, dropped=True)
        task.refresh_from_db()
        assert (task.state, task.settled_by) == ("done", str(world.bob))

    def test_a_stranger_adds_no_task(self, world: World) -> None:
        from django.core.exceptions import PermissionDenied

        with pytest.raises(PermissionDenied):
            add_task(principal=world.who("charlie"), incident=_open(world), title="x")

    def test_an_entry_is_put_right_and_stays_as_it_was_written(self, world: World) -> None:
        incident = _open(world)
        note = write_note(principal=world.who("alice"), incident=incident, text="The disk is full")
        right = correct_entry(principal=world.who("bob"), entry=note, text="The inode table is full")
        note.refresh_from_db()
        assert note.text == "The disk is full"
        assert (right.corrects_id, right.at, right.actor_label) == (note.pk, note.at, str(world.bob))
        with pytest.raises(InputRefusedError, match="correct the later one"):
            correct_entry(principal=world.who("bob"), entry=note, text="No, neither")
        correct_entry(principal=world.who("bob"), entry=right, text="Quota, in truth")
        assert timeline_of(incident=incident).filter(kind="note").count() == 3

    def test_words_with_a_slash_are_commands(self, world: World) -> None:
        incident = _open(world)
        alice = world.who("alice")
        assert take_words(principal=alice, incident=incident, text="/ack") == "You have it."
        take_words(principal=alice, incident=incident, text="/sev1 all requests fail")
        take_words(principal=alice, incident=incident, text="/scribe bob")
        take_words(principal=alice, incident=incident, text="/task Call the vendor @bob")
        take_words(principal=alice, incident=incident, text="//etc/hosts was wrong")
        with pytest.raises(InputRefusedError, match="are known"):
            take_words(principal=alice, incident=incident, text="/dance")
        incident.refresh_from_db()
        assert (incident.severity, incident.status) == ("sev1", IncidentStatus.ACKNOWLEDGED)
        assert incident.roles.get(role="scribe").user == world.bob
        assert incident.tasks.get().owner == world.bob
        assert incident.timeline.filter(text="/etc/hosts was wrong").exists()
        assert incident.engaged_at == incident.acknowledged_at


@pytest.mark.django_db
class TestMergeAndSplit:
    def test_later_alerts_of_a_merged_incident_join_the_other(self, world: World) -> None:
        world.post_alertmanager(an_alert())
        drain_all()
        first = Incident.objects.get()
        other = _open(world, title="The network is down")
        merge_incident(principal=world.who("alice"), incident=first, into=other)
        first.refresh_from_db()
        assert (first.status, first.merged_into) == (IncidentStatus.RESOLVED, other)
        assert Alert.objects.get().incident == other
        assert not Review.objects.filter(incident=first).exists()
        world.post_alertmanager(an_alert("GatewayErrors"), group="h")
        drain_all()
        assert Alert.objects.filter(incident=other).count() == 2
        assert Incident.objects.count() == 2

    def test_an_incident_is_not_merged_into_itself_or_into_what_is_over(self, world: World) -> None:
        one, over = _open(world), _open(world)
        resolve_incident(principal=world.who("alice"), incident=over)
        for into in (one, over):
            with pytest.raises(InputRefusedError, match="two different incidents"):
                merge_incident(principal=world.who("alice"), incident=one, into=into)

    def test_alerts_are_split_off_into_an_incident_of_their_own(self, world: World) -> None:
        world.post_alertmanager(an_alert(), an_alert("DiskFull"))
        drain_all()
        incident = Incident.objects.get()
        disk = Alert.objects.get(labels__alertname="DiskFull")
        new = split_incident(
            principal=world.who("alice"),
            incident=incident,
            alert_ids=[disk.pk],
            title="Disk full",
            severity=Severity.SEV3,
        )
        assert list(new.alerts.all()) == [disk]
        assert incident.alerts.count() == 1
        assert new.timeline.filter(text__contains=incident.reference).exists()


class TestClocks:
    def test_business_hours_and_pauses_do_not_count(self) -> None:
        friday = datetime(2026, 11, 20, 15, tzinfo=UTC)  # 16:00 in Berlin
        monday = datetime(2026, 11, 23, 9, tzinfo=UTC)  # 10:00
        found = read_clock(
            target=timedelta(hours=2), start=friday, stop=None, pauses=(), calendar=NINE_TO_FIVE, now=monday
        )
        assert (found.elapsed, found.state) == (timedelta(hours=2), ClockState.AT_RISK)
        assert found.due_at == monday
        paused = read_clock(
            target=timedelta(hours=2),
            start=friday,
            stop=None,
            pauses=[(friday, friday + timedelta(minutes=30)), (monday - timedelta(minutes=15), None)],
            calendar=NINE_TO_FIVE,
            now=monday,
        )
        assert (paused.elapsed, paused.state, paused.due_at) == (timedelta(minutes=75), ClockState.PAUSED, None)

    def test_a_day_of_summer_time_has_its_business_hours(self) -> None:
        span = list(
            running_spans(
                Calendar("Europe/Berlin", frozenset(range(7)), time(0, 30), time(9)),
                datetime(2026, 3, 28, 23, tzinfo=UTC),
                datetime(2026, 3, 29, 22, tzinfo=UTC),
                [],
            )
        )
        assert sum(((b - a) for a, b in span), timedelta(0)) == timedelta(hours=7, minutes=30)

    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        st.integers(0, 500),
        st.integers(1, 300),
        st.lists(st.tuples(st.integers(0, 400), st.integers(0, 90)), max_size=4),
    )
    def test_elapsed_is_what_is_left_of_the_span_without_pauses(
        self, now_at: int, target: int, pauses: list[tuple[int, int]]
    ) -> None:
        start = datetime(2026, 11, 2, tzinfo=UTC)
        spans = [
            (start + timedelta(minutes=at), start + timedelta(minutes=at + length)) for at, length in pauses if length
        ]
        now = start + timedelta(minutes=now_at)
        found = read_clock(
            target=timedelta(minutes=target), start=start, stop=None, pauses=spans, calendar=None, now=now
        )
        minutes = set(range(now_at))
        for at, length in pauses:
            minutes -= set(range(at, at + length))
        assert found.elapsed == timedelta(minutes=len(minutes))
        assert (found.state is ClockState.BREACHED) == (len(minutes) > target)


@pytest.mark.django_db
class TestTargets:
    def test_an_incident_keeps_the_targets_that_it_was_opened_under(self, world: World) -> None:
        _configure(world)
        incident = _open(world)
        stricter = TARGETS.replace("acknowledge: 15m", "acknowledge: 1m")
        apply_documents(principal=ADMIN, documents=load_yaml_documents(stricter, source="targets.yaml"))
        clocks = {one.key: one for one in clocks_of(incident=incident, now=database_now())}
        assert clocks["acknowledge"].clock.target == timedelta(minutes=15)
        change_severity(principal=world.who("alice"), incident=incident, severity=Severity.SEV1, reason="worse")
        incident.refresh_from_db()
        after = {one.key: one for one in clocks_of(incident=incident, now=database_now())}
        assert after["acknowledge"].clock.target == timedelta(minutes=5)
        assert after["acknowledge"].started_at == incident.triggered_at

    def test_a_missed_target_is_told_once(self, world: World) -> None:
        _configure(world)
        incident = _open(world)
        acknowledge_incident(principal=world.who("alice"), incident=incident)
        Incident.objects.update(impact_started_at=database_now() - timedelta(hours=9))
        Incident.objects.update(triggered_at=database_now() - timedelta(minutes=28))
        assert watch_targets() == 2
        assert watch_targets() == 0
        texts = set(incident.timeline.filter(kind="target").values_list("text", flat=True))
        assert texts == {
            "Target missed: resolve within 8 h",
            "90 % of the time is used up: first word to the outside within 30 min",
        }

    def test_clocks_stand_still_only_for_reasons_that_the_targets_allow(self, world: World) -> None:
        _configure(world)
        incident = _open(world)
        with pytest.raises(InputRefusedError, match="vendor is allowed"):
            pause_clocks(principal=world.who("alice"), incident=incident, reason="lunch")
        pause_clocks(principal=world.who("alice"), incident=incident, reason="vendor")
        with pytest.raises(InputRefusedError, match="stand still already"):
            pause_clocks(principal=world.who("alice"), incident=incident, reason="vendor")
        states = {one.clock.state for one in clocks_of(incident=incident, now=database_now())}
        assert states == {ClockState.PAUSED}
        resume_clocks(principal=world.who("alice"), incident=incident)
        assert incident.pauses.get().ended_by == str(world.alice)

    def test_the_seventy_two_hours_count_from_awareness_and_not_from_detection(self, world: World) -> None:
        incident = _open(world)
        Incident.objects.update(detected_at=database_now() - timedelta(hours=100))
        since = database_now() - timedelta(hours=60)
        incident = note_awareness(principal=world.who("alice"), incident=incident, at=since, what="names of customers")
        (clock,) = clocks_of(incident=incident, now=database_now())
        assert (clock.key, clock.clock.state) == ("authority", ClockState.AT_RISK)
        assert clock.clock.due_at == since + timedelta(hours=72)
        later = note_awareness(principal=world.who("alice"), incident=incident)
        assert later.aware_at == since
        note_authority_notified(principal=world.who("alice"), incident=incident, reference="DPA-7")
        incident.refresh_from_db()
        assert clocks_of(incident=incident, now=database_now())[0].clock.state is ClockState.MET


@pytest.mark.django_db
class TestStatusPages:
    def test_nothing_is_public_before_a_person_says_it(self, world: World, client: Client) -> None:
        _configure(world)
        world.post_alertmanager(an_alert())
        drain_all()
        answer = client.get("/status/public/")
        assert answer.status_code == 200
        assert "GatewaySlow" not in answer.content.decode()
        incident = Incident.objects.get()
        page = StatusPage.objects.get()
        publish_status(
            principal=world.who("alice"),
            incident=incident,
            page=page,
            state=PublicState.INVESTIGATING,
            title="Slow answers",
            text="We look into it.",
        )
        board = board_of(page=page, now=database_now())
        assert board.services == [("Gateway", "degraded")]
        found = client.get("/status/public/?format=json").json()
        assert found["incidents"][0]["title"] == "Slow answers"
        assert incident.reference not in client.get("/status/public/").content.decode()

    def test_an_internal_page_is_not_for_those_outside(self, world: World, client: Client) -> None:
        StatusPage.objects.create(slug="inside", name="Inside")
        assert client.get("/status/inside/").status_code == 404
        client.force_login(world.alice)
        assert client.get("/status/inside/").status_code == 200

    def test_an_address_is_told_only_after_it_has_confirmed(self, world: World, client: Client) -> None:
        _configure(world)
        page = StatusPage.objects.get()
        incident = _open(world)

        def say(text: str) -> None:
            publish_status(
                principal=world.who("alice"),
                incident=incident,
                page=page,
                state=PublicState.IDENTIFIED,
                title="t",
                text=text,
            )

        client.post("/status/public/", {"address": "Reader@Example.org"})
        client.post("/status/public/", {"address": "reader@example.org"})
        say("one")
        assert Delivery.objects.filter(address="reader@example.org").count() == 1
        link = f"/status/subscriptions/{StatusSubscription.objects.get().token}/"
        assert client.get(link).status_code == 200
        assert StatusSubscription.objects.get().confirmed_at is None
        client.post(link)
        say("two")
        told = Delivery.objects.filter(address="reader@example.org").order_by("pk").last()
        assert told is not None
        assert "two" in told.text
        assert link in told.text
        client.post(link, {"end": "1"})
        say("three")
        assert Delivery.objects.filter(address="reader@example.org").count() == 2
        assert client.get(link).status_code == 404

    def test_what_is_no_address_is_refused(self, world: World) -> None:
        _configure(world)
        with pytest.raises(InputRefusedError, match="mail address"):
            subscribe(page=StatusPage.objects.get(), address="a@b\nBcc: c@d.org")


def _resolved(world: World, severity: Severity) -> Review:
    incident = _open(world, severity)
    acknowledge_incident(principal=world.who("alice"), incident=incident)
    resolve_incident(principal=world.who("alice"), incident=incident, reason="restarted")
    return Review.objects.get(incident=incident)


@pytest.mark.django_db
class TestReview:
    def test_settled_tasks_move_it_on_and_an_open_one_holds_it(self, world: World) -> None:
        review = _resolved(world, Severity.SEV3)
        alice, bob = world.who("alice"), world.who("bob")
        assert review.owner == world.alice
        review = edit_review(
            principal=alice,
            review=review,
            summary="s",
            impact="i",
            contributing_factors="- change: a flag went to all at once\n- nobody looked",
            lessons="l",
        )
        assert review.state == Review.State.DRAFT
        with pytest.raises(InputRefusedError, match="Check the timeline"):
            approve_review(principal=bob, review=review)
        settle_review_task(principal=alice, review=review, key="timeline")
        with pytest.raises(InputRefusedError, match="say why none is needed"):
            settle_review_task(principal=alice, review=review, key="follow-ups")
        settle_review_task(principal=alice, review=review, key="follow-ups", skip_because="known limit")
        review.refresh_from_db()
        assert review.state == Review.State.IN_REVIEW
        review = edit_review(principal=alice, review=review, lessons=" ")
        assert review.state == Review.State.DRAFT
        edit_review(principal=alice, review=review, lessons="l")
        assert approve_review(principal=bob, review=review).state == Review.State.APPROVED

    def test_a_worse_severity_asks_for_more_and_sooner(self) -> None:
        thursday = date(2026, 11, 19)
        assert TEMPLATES["sev1"].due_on(thursday) == date(2026, 11, 22)
        assert TEMPLATES["sev2"].due_on(thursday) == date(2026, 11, 26)
        assert TEMPLATES["sev4"].due_on(thursday) is None
        sizes = [len(TEMPLATES[f"sev{n}"].tasks()) for n in (1, 2, 3, 4)]
        assert sizes == sorted(sizes, reverse=True)

    def test_factors_carry_their_kind(self) -> None:
        assert factors_in("- change: too fast\n\n* Capacity: none left\nthe odd one: here") == [
            ("change", "too fast"),
            ("capacity", "none left"),
            ("other", "the odd one: here"),
        ]

    def test_an_accepted_risk_comes_back_when_its_time_is_over(self, world: World) -> None:
        from django.core.exceptions import PermissionDenied

        review = _resolved(world, Severity.SEV3)
        item = add_follow_up(
            principal=world.who("alice"),
            review=review,
            title="Add a probe",
            owner="bob",
            due_in=timedelta(days=1),
            kind=FollowUp.Kind.DETECT,
            external_url="https://tickets.example.org/7",
        )
        until = (database_now() + timedelta(days=30)).date()
        with pytest.raises(PermissionDenied):
            accept_risk(principal=world.who("alice"), follow_up=item, reason="cheap", until=until)
        accept_risk(principal=world.who("bob"), follow_up=item, reason="cheap", until=until)
        stored = action_items_from(source=f"review:{review.incident.reference}")
        assert stored.get().state == ActionItemState.DROPPED
        FollowUp.objects.update(accepted_until=database_now().date() - timedelta(days=1))
        look_after_follow_ups()
        assert stored.get().state == ActionItemState.OPEN

    def test_owners_are_reminded_once_a_day(self, world: World) -> None:
        review = _resolved(world, Severity.SEV4)
        add_follow_up(
            principal=world.who("alice"), review=review, title="Add a probe", owner="bob", due_in=timedelta(days=2)
        )
        look_after_follow_ups()
        look_after_follow_ups()
        drain_all()
        assert Notification.objects.filter(recipient=f"user:{world.bob.pk}", title__contains="Add a probe").count() == 1


@pytest.mark.django_db
def test_the_room_takes_each_step_and_says_what_is_wrong(world: World, client: Client) -> None:
    _configure(world)
    world.post_alertmanager(an_alert(), an_alert("DiskFull"))
    drain_all()
    incident = Incident.objects.get()
    other = _open(world, title="Another")
    client.force_login(world.alice)
    room = f"/incidents/{incident.reference}/"
    entry = TimelineEntry.objects.filter(incident=incident).first()
    assert entry is not None
    disk = Alert.objects.get(labels__alertname="DiskFull")
    page = StatusPage.objects.get()
    steps: list[tuple[str, dict[str, object]]] = [
        ("note", {"text": "looking", "link": "https://graphs.example.org/1"}),
        ("task", {"title": "Call the vendor", "owner": world.bob.pk}),
        ("correct", {"entry": entry.pk, "text": "In truth it was two"}),
        ("pause", {"reason": "vendor"}),
        ("resume", {}),
        ("aware", {"what": "names"}),
        ("authority", {"reference": "DPA-1"}),
        ("status", {"page": page.pk, "state": "identified", "title": "Slow", "text": "We know."}),
        ("split", {"alerts": [disk.pk], "title": "Disk", "severity": "sev3"}),
        ("merge", {"into": other.reference}),
    ]
    for step, data in steps:
        answer = client.post(f"{room}{step}/", data, follow=True)
        assert "Nothing was changed" not in answer.content.decode(), step
    incident.refresh_from_db()
    assert incident.merged_into == other
    wrong = client.post(f"/incidents/{other.reference}/merge/", {"into": "INC-99999"}, follow=True).content.decode()
    assert "Nothing was changed" in wrong
    client.force_login(world.charlie)
    assert client.post(f"/incidents/{other.reference}/task/", {"title": "x"}).status_code in {403, 404}
