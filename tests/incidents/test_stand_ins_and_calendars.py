"""Holidays, conditions on the responder's own clock, swaps, absences, calendars out and in."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
from django.core import mail
from django.test import Client
from django.utils import timezone
from icalendar import Calendar

from accounts.data import system_principal
from accounts.models import User
from core.parsing import InputRefusedError, load_yaml_documents
from core.work import drain_all
from delivery.models import Notification
from incidents.domain.calendars import CalendarRefusedError, read_calendar, write_calendar
from incidents.domain.conditions import Conditions, Person
from incidents.domain.oncall import Version, gaps, resolve
from incidents.domain.rotations import Layer, Rotation, Unit
from incidents.domain.wall_time import instant_of
from incidents.models import Absence, Incident, Schedule, SwapRequest, TimelineEntry
from incidents.selectors import on_call_now, shifts_between
from incidents.services import (
    apply_documents,
    import_absences,
    import_overrides,
    make_feed,
    request_swap,
    take_swap,
    warn_of_gaps,
)
from tests.incidents.conftest import World, an_alert
from tests.passing_time import let_pass

ADMIN = system_principal("test")
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
LONDON = "Europe/London"


def layer(*, on_holidays: bool) -> Layer:
    return Layer(
        "day",
        1,
        LONDON,
        Rotation(Unit.WEEK, 1, datetime(2026, 1, 5, 9)),  # noqa: DTZ001 a wall time
        (("alice",),),
        EPOCH,
        holidays=frozenset({date(2026, 5, 25)}),
        on_holidays=on_holidays,
    )


def test_a_layer_rests_on_public_holidays_of_its_own_zone_and_another_covers_them() -> None:
    start = instant_of(datetime(2026, 5, 24), LONDON)  # noqa: DTZ001 a wall time
    end = start + timedelta(days=3)
    off = instant_of(datetime(2026, 5, 25), LONDON)  # noqa: DTZ001 a wall time
    rests = resolve([Version(1, EPOCH, (layer(on_holidays=False),))], [], start, end)
    assert gaps(rests, start, end) == [(off, off + timedelta(days=1))]
    covers = resolve([Version(1, EPOCH, (layer(on_holidays=True),))], [], start, end)
    assert (covers[0].starts_at, covers[-1].ends_at) == (off, off + timedelta(days=1))


@pytest.mark.parametrize(
    ("conditions", "at", "refused"),
    [
        (Conditions(start=time(8), end=time(20)), "2026-11-20T07:59", "it is Fri 07:59 for Bob"),
        (Conditions(start=time(8), end=time(20)), "2026-11-20T08:00", ""),
        (Conditions(start=time(22), end=time(6)), "2026-11-20T23:00", ""),
        (Conditions(start=time(22), end=time(6)), "2026-11-20T12:00", "the step asks 22:00 to 06:00"),
        (Conditions(weekdays=("mon",)), "2026-11-20T12:00", "the step asks mon"),
    ],
)
def test_conditions_look_at_the_persons_own_clock(conditions: Conditions, at: str, refused: str) -> None:
    found = conditions.refuses(Person("Bob", datetime.fromisoformat(at)))
    assert refused in found
    assert bool(found) is bool(refused)


def test_conditions_look_at_leave_holidays_and_severity() -> None:
    now = datetime(2026, 11, 20, 12)  # noqa: DTZ001 a wall time
    assert Conditions(skip_absent=True).refuses(Person("Bob", now, is_absent=True)) == "Bob is away"
    assert "public holiday" in Conditions(holidays_off=True).refuses(Person("Bob", now, is_holiday=True))
    assert Conditions(severities=("sev1",)).refuses_severity("sev3")
    assert not Conditions(severities=("sev1",)).refuses_severity("sev1")


POLICY = """
apiVersion: assay/v1
kind: EscalationPolicy
metadata: {name: gateway}
spec:
  team: inference
  steps:
    - {user: bob, wait: 5m, when: {local_time: {from: "08:00", to: "20:00"}, skip_absent: true}}
    - {schedule: primary, wait: 10m}
"""


def apply(text: str) -> None:
    apply_documents(principal=ADMIN, documents=load_yaml_documents(text, source="x.yaml"))


@pytest.mark.django_db(transaction=True)
def test_a_step_skips_who_is_asleep_at_once_and_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from incidents.services import escalation

    apply(POLICY)
    User.objects.filter(username="bob").update(time_zone="America/New_York")
    # 02:00 or 03:00 in New York, whatever the season.
    night = (timezone.now() + timedelta(days=1)).replace(hour=7, minute=0)
    monkeypatch.setattr(escalation, "database_now", lambda: night)
    world.post_alertmanager(an_alert())
    for _ in range(3):  # what is due is set by the clock of that night
        let_pass(timedelta(days=2))
        drain_all()
    assert [message.to[0] for message in mail.outbox] == ["alice@example.org"]
    said = TimelineEntry.objects.get(source_key__contains=":refused:").text
    assert "for bob and the step asks 08:00 to 20:00" in said


@pytest.mark.django_db(transaction=True)
def test_a_step_may_wait_until_somebody_is_at_work(world: World) -> None:
    apply(
        POLICY.replace("skip_absent: true", "skip_absent: true, otherwise: wait").replace(
            '"08:00", to: "20:00"', '"00:00", to: "00:00"'
        )
    )
    Absence.objects.create(
        user=world.bob, starts_at=timezone.now() - timedelta(days=1), ends_at=timezone.now() + timedelta(days=1)
    )
    world.post_alertmanager(an_alert())
    drain_all()
    assert mail.outbox == []
    Absence.objects.all().delete()
    let_pass(timedelta(minutes=2))
    drain_all()
    assert [message.to[0] for message in mail.outbox] == ["bob@example.org"]


@pytest.mark.django_db(transaction=True)
def test_round_robin_pages_another_one_of_the_group_each_time(world: World) -> None:
    apply(
        """
apiVersion: assay/v1
kind: Schedule
metadata: {name: pair}
spec: {layers: [{name: both, rotation: {unit: week, anchor_date: 2026-01-05}, participants: [[alice, bob]]}]}
---
apiVersion: assay/v1
kind: EscalationPolicy
metadata: {name: gateway}
spec: {steps: [{schedule: pair, wait: 5m, round_robin: true}]}
"""
    )
    for _ in range(3):
        from incidents.services import resolve_incident

        at = timezone.now().isoformat()
        world.post_alertmanager(an_alert(at=at))
        drain_all()
        world.post_alertmanager(an_alert(at=at, ends=timezone.now().isoformat()))
        drain_all()
        resolve_incident(principal=ADMIN, incident=Incident.objects.latest("pk"))
    assert [message.to[0].partition("@")[0] for message in mail.outbox] == ["alice", "bob", "alice"]


@pytest.mark.django_db(transaction=True)
def test_a_swap_is_asked_for_taken_by_another_once_and_becomes_an_override(world: World) -> None:
    schedule = Schedule.objects.get(slug="primary")
    start = timezone.now() + timedelta(hours=1)
    span: dict[str, Any] = {"starts_at": start, "ends_at": start + timedelta(hours=8)}
    with pytest.raises(InputRefusedError, match="on call then"):
        request_swap(principal=world.who("bob"), schedule=schedule, **span)
    swap = request_swap(principal=world.who("alice"), schedule=schedule, **span)
    assert Notification.objects.get(recipient=f"user:{world.bob.pk}").title.endswith("in Primary")
    with pytest.raises(InputRefusedError, match="another person"):
        take_swap(principal=world.who("alice"), swap=swap)
    take_swap(principal=world.who("bob"), swap=swap)
    with pytest.raises(InputRefusedError, match="settled"):
        take_swap(principal=world.who("bob"), swap=swap)
    assert [one.username for one in on_call_now(schedule_slug="primary", at=start + timedelta(hours=1))] == ["bob"]
    assert [one.username for one in on_call_now(schedule_slug="primary", at=start + timedelta(hours=9))] == ["alice"]


@pytest.mark.django_db
def test_the_calendar_of_a_schedule_is_stable_free_and_revocable(world: World) -> None:
    address = make_feed(principal=world.who("alice"), schedule=Schedule.objects.get(slug="primary"))
    path = address.partition("8000")[2]
    client = Client()
    answer = client.get(path)
    assert answer["Content-Type"] == "text/calendar; charset=utf-8"
    events = Calendar.from_ical(answer.content).walk("VEVENT")
    assert events
    assert len({str(event["uid"]) for event in events}) == len(events)
    assert {str(event["transp"]) for event in events} == {"TRANSPARENT"}
    assert b"\r\n" in answer.content
    assert max(len(line) for line in answer.content.split(b"\r\n")) <= 75
    again = client.get(path, headers={"If-None-Match": answer["ETag"]})
    assert again.status_code == 304
    assert client.get(path).content == answer.content
    assert client.get("/oncall/feed/unknown.ics").status_code == 404
    make_feed(principal=world.who("alice"), schedule=Schedule.objects.get(slug="primary"))
    assert client.get(path).status_code == 404, "a new address ends the former one"
    mine = make_feed(principal=world.who("bob"), schedule=None).partition("8000")[2]
    assert Calendar.from_ical(client.get(mine).content).walk("VEVENT") == []


CALENDAR = b"""BEGIN:VCALENDAR\r
VERSION:2.0\r
PRODID:-//x//EN\r
BEGIN:VEVENT\r
UID:weekly\r
SUMMARY:bob\r
DTSTART;TZID=America/New_York:20261101T090000\r
DTEND;TZID=America/New_York:20261101T170000\r
RRULE:FREQ=WEEKLY;UNTIL=20270401T000000Z\r
EXDATE;TZID=America/New_York:20261108T090000\r
END:VEVENT\r
BEGIN:VEVENT\r
UID:holiday\r
SUMMARY:Holidays\r
DTSTART;VALUE=DATE:20261224\r
DTEND;VALUE=DATE:20261227\r
END:VEVENT\r
END:VCALENDAR\r
"""


def test_a_calendar_is_read_on_the_wall_clock_with_its_exceptions() -> None:
    found = read_calendar(
        CALENDAR, zone="Europe/Berlin", start=datetime(2026, 11, 1, tzinfo=UTC), end=datetime(2027, 3, 20, tzinfo=UTC)
    )
    weekly = [one for one in found if one.title == "bob"]
    assert weekly[0].starts_at == datetime(2026, 11, 1, 14, tzinfo=UTC)
    assert weekly[1].starts_at == datetime(2026, 11, 15, 14, tzinfo=UTC), "the 8th is an exception"
    assert weekly[-1].starts_at == datetime(2027, 3, 14, 13, tzinfo=UTC), "summer time has begun in New York"
    (holiday,) = [one for one in found if one.title == "Holidays"]
    assert holiday.starts_at == datetime(2026, 12, 23, 23, tzinfo=UTC)
    assert holiday.ends_at - holiday.starts_at == timedelta(days=3)
    with pytest.raises(CalendarRefusedError):
        read_calendar(b"nonsense", zone="UTC", start=EPOCH, end=EPOCH)


def test_what_is_written_can_be_read_again() -> None:
    start = datetime(2026, 6, 1, tzinfo=UTC)
    plain = Layer("day", 1, LONDON, Rotation(Unit.DAY, 1, datetime(2026, 1, 5, 9)), (("a",), ("b",)), EPOCH)  # noqa: DTZ001
    shifts = resolve([Version(1, EPOCH, (plain,))], [], start, start + timedelta(days=10))
    raw = write_calendar("x", [("primary", shifts)], changed_at=start, sequence=3, names={})
    read = read_calendar(raw, zone="UTC", start=start, end=start + timedelta(days=10))
    assert [(one.starts_at, one.ends_at) for one in read] == [(one.starts_at, one.ends_at) for one in shifts]


@pytest.mark.django_db(transaction=True)
def test_absences_come_from_a_calendar_and_are_warned_of_when_on_call(world: World) -> None:
    now = timezone.now()
    until = f"{now + timedelta(days=3):%Y%m%dT%H%M%SZ}"
    raw = (
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nBEGIN:VEVENT\r\nUID:1\r\nSUMMARY:Leave\r\n"
        f"DTSTART:{now + timedelta(days=1):%Y%m%dT%H%M%SZ}\r\nDTEND:{until}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    ).encode()
    for _ in range(2):
        assert import_absences(principal=world.who("alice"), raw=raw, zone="UTC") == 1
    assert Absence.objects.count() == 1
    assert warn_of_gaps() >= 1
    assert warn_of_gaps() >= 1
    warned = Notification.objects.filter(title__contains="absences within").values_list("recipient", flat=True)
    assert f"user:{world.ada.pk}" in warned
    assert len(set(warned)) == len(warned), "told once a day"
    with pytest.raises(InputRefusedError):
        import_absences(principal=world.who("alice"), raw=b"x", zone="UTC")


@pytest.mark.django_db(transaction=True)
def test_overrides_come_from_a_calendar_whose_titles_are_user_names(world: World) -> None:
    now = timezone.now()
    event = (
        "BEGIN:VEVENT\r\nUID:{uid}\r\nSUMMARY:{who}\r\nDTSTART:{start:%Y%m%dT%H%M%SZ}\r\n"
        "DTEND:{end:%Y%m%dT%H%M%SZ}\r\nEND:VEVENT\r\n"
    )
    start, end = now + timedelta(days=1), now + timedelta(days=2)
    body = "".join(event.format(uid=n, who=who, start=start, end=end) for n, who in enumerate(("bob", "nobody")))
    raw = f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\n{body}END:VCALENDAR\r\n".encode()
    schedule = Schedule.objects.get(slug="primary")
    found = import_overrides(principal=ADMIN, schedule=schedule, raw=raw)
    assert (len(found.overrides), found.unknown) == (1, ["nobody"])
    assert import_overrides(principal=ADMIN, schedule=schedule, raw=raw).overrides == []
    people = [one.people for one in shifts_between(schedule=schedule, start=start, end=end)]
    assert people[0] in {("bob",), ("alice",)}
    assert ("bob",) in people


@pytest.mark.django_db(transaction=True)
def test_the_pages_of_ones_own_duty(world: World) -> None:
    client = Client()
    client.force_login(world.alice)
    page = client.get("/oncall/me/").content.decode()
    assert "Primary" in page
    start = timezone.now() + timedelta(hours=1)
    span = {
        "starts_at": f"{start:%Y-%m-%dT%H:%M}",
        "ends_at": f"{start + timedelta(hours=4):%Y-%m-%dT%H:%M}",
        "reason": "dentist",
    }
    client.post("/oncall/me/", {"step": "absence", **span})
    assert "dentist" in client.get("/oncall/me/").content.decode()
    assert "is on call and away" in client.get("/oncall/primary/").content.decode()
    assert "/oncall/feed/" in client.post("/oncall/me/", {"step": "feed"}).content.decode()
    client.post("/oncall/primary/swap/", span)
    swap = SwapRequest.objects.get()
    client.force_login(world.bob)
    assert "I stand in" in client.get("/oncall/primary/").content.decode()
    client.post("/oncall/primary/take-swap/", {"swap": swap.pk})
    swap.refresh_from_db()
    assert swap.taken_by == world.bob
    client.force_login(world.charlie)
    assert client.get("/oncall/me/").status_code == 403
    assert client.post("/oncall/primary/swap/", span).status_code in {403, 404}
