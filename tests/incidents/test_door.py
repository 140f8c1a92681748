"""The door before Django: the same answers as the view, groups that commit together, and a poison that fails alone."""

import io
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import orjson
import pytest
from django.db import DatabaseError

from core.grouping import GroupCommitter, NotCommittedError
from incidents.models import InboundEvent
from incidents.services import door
from tests.incidents.conftest import World, an_alert

BODY = orjson.dumps({"version": "4", "groupKey": "g", "status": "firing", "receiver": "assay", "alerts": [an_alert()]})


def knock(path: str, body: bytes = BODY, method: str = "POST", **more: str) -> tuple[int, Any, dict[str, str]]:
    """Ask the door and return status, document and headers."""
    seen: dict[str, Any] = {}

    def start_response(status: str, headers: list[tuple[str, str]]) -> None:
        seen["status"], seen["headers"] = int(status.split(maxsplit=1)[0]), dict(headers)

    def behind(environ: dict[str, Any], _: Callable[..., Any]) -> Iterable[bytes]:
        seen["status"], seen["headers"] = 299, {}
        return [orjson.dumps(environ["PATH_INFO"])]

    path, _, query = path.partition("?")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
        **more,
    }
    found = b"".join(door.with_door(behind)(environ, start_response))
    return seen["status"], orjson.loads(found) if found else None, seen["headers"]


@pytest.mark.django_db(transaction=True)
class TestDoor:
    def test_what_it_answers_with_202_is_stored(self, world: World) -> None:
        status, document, headers = knock(f"/inbound/alertmanager/{world.token}")
        again, same, _ = knock("/inbound/alertmanager", HTTP_AUTHORIZATION=f"Bearer {world.token}")
        event = InboundEvent.objects.get()
        assert (status, again) == (202, 202)
        assert document == same == {"event_ids": [event.reference]}
        assert bytes(event.stored.body) == BODY
        assert event.duplicates == 1
        assert headers["Content-Length"] == str(len(orjson.dumps(document)))

    def test_strangers_too_much_and_what_is_not_for_it(self, world: World) -> None:
        assert knock("/inbound/alertmanager/wrong")[:2] == (401, {"detail": "unknown sender"})
        assert knock(f"/inbound/alertmanager/{world.token}", b"x" * (512 * 1024 + 1))[0] == 413
        assert knock("/v2/enqueue", b"{")[0] == 400
        for path, method in (("/alerts/", "POST"), (f"/inbound/heartbeat/{world.token}", "GET")):
            assert knock(path, method=method)[:2] == (299, path)
        assert InboundEvent.objects.count() == 0

    def test_a_body_without_a_length_is_left_to_django(self, world: World) -> None:
        assert knock(f"/inbound/alertmanager/{world.token}", CONTENT_LENGTH="")[0] == 299

    def test_what_could_not_be_stored_is_asked_for_again(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(_: Sequence[Any]) -> Sequence[Any]:
            raise DatabaseError("no room")

        monkeypatch.setattr(door, "_committer", GroupCommitter(fail))
        status, _, headers = knock(f"/inbound/alertmanager/{world.token}")
        assert status == 503
        assert int(headers["Retry-After"]) > 0

    def test_many_at_once_are_each_stored_once(self, world: World) -> None:
        bodies = [orjson.dumps({"n": n, "alerts": [an_alert(f"A{n}")]}) for n in range(40)]
        answers: list[tuple[int, Any, dict[str, str]]] = []

        def one(body: bytes) -> None:
            answers.append(knock(f"/inbound/alertmanager/{world.token}", body))

        threads = [threading.Thread(target=one, args=(body,)) for body in bodies]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert [status for status, *_ in answers] == [202] * 40
        told = {document["event_ids"][0] for _, document, _ in answers}
        assert told == set(InboundEvent.objects.values_list("reference", flat=True))
        assert len(told) == 40


@pytest.mark.django_db
class TestGroups:
    def test_what_gathers_while_a_group_is_committed_goes_together(self) -> None:
        gate, groups = threading.Event(), []

        def commit(items: Sequence[int]) -> Sequence[int]:
            groups.append(list(items))
            assert gate.wait(30)
            return [-item for item in items]

        committer: GroupCommitter[int, int] = GroupCommitter(commit)
        results: list[int] = []
        threads = [threading.Thread(target=lambda n=n: results.append(committer.submit(n))) for n in range(1, 9)]
        threads[0].start()
        while not groups:
            pass
        for thread in threads[1:]:
            thread.start()
        while len(committer._waiting) < 7:
            pass
        gate.set()
        for thread in threads:
            thread.join(30)
        assert [len(group) for group in groups] == [1, 7]
        assert sorted(results) == [-8, -7, -6, -5, -4, -3, -2, -1]

    def test_one_that_cannot_be_stored_fails_alone(self) -> None:
        ready = threading.Barrier(4)

        def commit(items: Sequence[int]) -> Sequence[int]:
            if 13 in items:
                raise DatabaseError("poison")
            return list(items)

        committer: GroupCommitter[int, int] = GroupCommitter(commit)
        outcomes: dict[int, str] = {}

        def one(item: int) -> None:
            ready.wait(30)
            try:
                outcomes[item] = str(committer.submit(item))
            except NotCommittedError:
                outcomes[item] = "not stored"

        threads = [threading.Thread(target=one, args=(item,)) for item in (12, 13, 14, 15)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert outcomes == {12: "12", 13: "not stored", 14: "14", 15: "15"}

    def test_an_error_of_another_kind_is_told_and_the_next_one_is_served(self) -> None:
        def commit(items: Sequence[int]) -> Sequence[int]:
            if items == [1]:
                raise ValueError("a bug")
            return list(items)

        committer: GroupCommitter[int, int] = GroupCommitter(commit)
        with pytest.raises(NotCommittedError):
            committer.submit(1)
        assert committer.submit(2) == 2
