from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incidents.domain.alert_states import Episode, Verdict, judge
from incidents.domain.inbound_formats import (
    GenericMapping,
    UnparsedBodyError,
    believable,
    fingerprint_of,
    read_alertmanager,
    read_generic,
)
from incidents.domain.routing import MatcherError, Rule, first_match, parse_matcher

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@dataclass
class Book:
    """The stored episodes of one fingerprint, kept as the services keep them."""

    episodes: dict[datetime, datetime | None] = field(default_factory=dict)
    opened: int = 0

    def take(self, message: tuple[str, datetime, datetime | None]) -> None:
        status, starts_at, ends_at = message
        start = max(self.episodes, default=None)
        latest = Episode(start, self.episodes[start]) if start else None
        known = Episode(starts_at, self.episodes[starts_at]) if starts_at in self.episodes else None
        firing = status == "firing"
        verdict = judge(firing=firing, starts_at=starts_at, ends_at=ends_at, known=known, latest=latest)
        if verdict is Verdict.OPEN:
            self.opened += 1
            self.episodes[starts_at] = None
        elif verdict is Verdict.CONTINUE:
            assert start
            del self.episodes[start]
            self.episodes[starts_at] = None
        elif verdict is Verdict.TOMBSTONE:
            self.episodes[starts_at] = ends_at
        elif verdict is Verdict.RESOLVE:
            if known is None:
                assert start
                del self.episodes[start]
            self.episodes[max(starts_at, start or starts_at) if known is None else starts_at] = ends_at

    @property
    def firing(self) -> bool:
        return None in self.episodes.values()


def messages(count: int, *, last_resolves: bool) -> list[tuple[str, datetime, datetime | None]]:
    found: list[tuple[str, datetime, datetime | None]] = []
    for n in range(count):
        start = NOW + timedelta(hours=n)
        found.append(("firing", start, None))
        if n < count - 1 or last_resolves:
            found.append(("resolved", start, start + timedelta(minutes=30)))
    return found


@settings(max_examples=400, deadline=None)
@given(data=st.data(), count=st.integers(1, 4), last_resolves=st.booleans())
def test_order_and_repetition_do_not_change_where_an_alert_ends(
    data: st.DataObject, count: int, last_resolves: bool
) -> None:
    sent = messages(count, last_resolves=last_resolves)
    repeated = sent + data.draw(st.lists(st.sampled_from(sent), max_size=6))
    book = Book()
    for message in data.draw(st.permutations(repeated)):
        book.take(message)
    assert book.firing is not last_resolves
    assert book.opened <= count


def test_a_resolution_before_its_alert_leaves_a_tombstone_and_the_late_alert_opens_nothing() -> None:
    book = Book()
    book.take(("resolved", NOW, NOW + timedelta(minutes=1)))
    book.take(("firing", NOW, None))
    assert (book.opened, book.firing) == (0, False)


def an_alert(**changes: object) -> dict[str, object]:
    return {
        "status": "firing",
        "labels": {"alertname": "Down", "service": "gateway"},
        "annotations": {},
        "startsAt": "2026-11-21T11:00:00Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://p/graph",
        "fingerprint": "abc",
        **changes,
    }


def a_group(*alerts: dict[str, object]) -> dict[str, object]:
    return {"version": "4", "groupKey": "{}:{}", "status": "firing", "receiver": "assay", "alerts": list(alerts)}


def test_each_alert_of_a_group_is_read_for_itself() -> None:
    resolved = an_alert(status="resolved", endsAt="2026-11-21T11:30:00Z", fingerprint="def")
    first, second = read_alertmanager(a_group(an_alert(), resolved), received_at=NOW).alerts
    assert (first.firing, first.ends_at) == (True, None)
    assert (second.firing, second.ends_at) == (False, datetime(2026, 11, 21, 11, 30, tzinfo=UTC))


def test_an_absent_fingerprint_is_made_of_the_labels() -> None:
    (alert,) = read_alertmanager(a_group(an_alert(fingerprint="")), received_at=NOW).alerts
    assert alert.fingerprint == fingerprint_of({"service": "gateway", "alertname": "Down"})


@pytest.mark.parametrize(
    "document", [None, [], {}, {"version": "3"}, a_group({"labels": {}}), a_group(an_alert(startsAt="yesterday"))]
)
def test_a_body_of_another_shape_is_unparsed_with_a_reason(document: object) -> None:
    with pytest.raises(UnparsedBodyError, match=r".+"):
        read_alertmanager(document, received_at=NOW)


@pytest.mark.parametrize("at", [datetime(1, 1, 1, tzinfo=UTC), NOW + timedelta(hours=2)])
def test_an_absurd_time_is_replaced_by_the_time_of_receipt(at: datetime) -> None:
    assert believable(at, NOW) == NOW


def test_generic_json_is_read_by_its_mapping() -> None:
    mapping = GenericMapping(
        title="check.name", status="state", labels={"service": "tags.0"}, fingerprint=("check.id",), starts_at="at"
    )
    body = {"check": {"name": "disk", "id": 7}, "state": "OK", "tags": ["gateway"], "at": 1790000000}
    (alert,) = read_generic(body, mapping, received_at=NOW).alerts
    assert (alert.title, alert.firing, alert.labels) == ("disk", False, {"service": "gateway"})


@pytest.mark.parametrize("body", [3, [], [3], {}, {"title": "x", "status": "perhaps"}])
def test_generic_json_that_does_not_fit_is_unparsed(body: object) -> None:
    with pytest.raises(UnparsedBodyError):
        read_generic(body, GenericMapping(), received_at=NOW)


def test_label_bombs_are_cut() -> None:
    labels = {f"l{n}": "x" * 10_000 for n in range(1000)}
    (alert,) = read_alertmanager(a_group(an_alert(labels=labels)), received_at=NOW).alerts
    assert len(alert.labels) == 128
    assert max(len(value) for value in alert.labels.values()) == 4096


def test_the_first_route_that_fits_wins_and_says_why() -> None:
    rules = [
        Rule("data", (parse_matcher('team="data"'),)),
        Rule("gateway", (parse_matcher('service=~"gate.*"'), parse_matcher("severity!=info"))),
        Rule("rest", ()),
    ]
    rule, why = first_match(rules, {"service": "gateway", "severity": "page"})
    assert rule is rules[1]
    assert why == (
        'route gateway matched: service=~"gate.*" and severity!="info"; before it, data did not (team="data")'
    )
    assert first_match(rules, {})[0] is rules[2]
    assert first_match(rules[:1], {}) == (None, 'no route matched (data did not (team="data")), so nobody was paged')


def test_regular_expressions_are_anchored_at_both_ends() -> None:
    matcher = parse_matcher('service=~"gate"')
    assert not matcher.fits({"service": "gateway"})


@pytest.mark.parametrize("text", ["", "service", "=x", 'a=~"("', 'a=="b"', "a=b c"])
def test_a_text_that_is_no_matcher_is_refused(text: str) -> None:
    with pytest.raises(MatcherError):
        parse_matcher(text)
