"""A site of its own for tests that kill processes: a fresh state folder, real processes, a real port.

What a process of it does, by its first argument: `seed` makes the organization in empty tables and prints the senders'
tokens; `serve` serves until its standard input is closed; `work [POINT]` does what is due once, or is killed by SIGKILL
at a point.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import django
import orjson
from django.core.wsgi import get_wsgi_application


class QuietHandler(WSGIRequestHandler):
    """Says nothing about requests."""

    def log_message(self, *args: object) -> None:
        """Leave standard error to what fails."""


def seed() -> None:
    """Make the organization and an endpoint whose address the test sets."""
    from accounts.data import Role, system_principal
    from accounts.services import create_team, create_user, grant_role, set_team_members
    from core.parsing import load_yaml_documents
    from delivery.services import create_endpoint
    from incidents.services import apply_documents
    from tests.incidents.worlds import DOCUMENTS, make_service

    me = system_principal("test")
    team = create_team(principal=me, slug="inference", name="Inference")
    for name in ("alice", "bob"):
        user = create_user(principal=me, username=name, password=None, email=f"{name}@example.org")
        grant_role(principal=me, user=user, role=Role.RESPONDER, team=team)
    set_team_members(principal=me, team=team, usernames=["alice", "bob"])
    make_service("gateway", team)
    applied = apply_documents(principal=me, documents=load_yaml_documents(DOCUMENTS, source="world.yaml"))
    create_endpoint(principal=me, slug="sink", url="http://127.0.0.1:9/", allow=["127.0.0.1"])
    sys.stdout.buffer.write(orjson.dumps({name: new.token for name, new in applied.new_tokens.items()}))


def storm(sink: str) -> None:
    """Make services that alerts open incidents on, and a receiver of every event of incidents."""
    from accounts.data import system_principal
    from accounts.models import Team
    from delivery.services import create_endpoint
    from incidents.models import Route
    from tests.incidents.worlds import make_service

    for n in range(10):
        make_service(f"svc-{n}", Team.objects.get())
    route = Route.objects.get(slug="gateway")
    route.matchers = ['severity=~"page|critical"']
    route.quiet_period = None
    route.save()
    create_endpoint(
        principal=system_principal("test"), slug="storm", url=sink, event_kinds=["incident.*"], allow=["127.0.0.1"]
    )


def send(count: str) -> None:
    """Put webhooks to the sink into the outbox."""
    from delivery.data import Channel
    from delivery.services import send as put

    for n in range(int(count)):
        put(channel=Channel.WEBHOOK, address="sink", idempotency_key=f"w{n}", subject=f"Message {n}", text="text")


def serve() -> None:
    """Serve until standard input is closed."""
    server = make_server("127.0.0.1", 0, get_wsgi_application(), handler_class=QuietHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(f"http://127.0.0.1:{server.server_port}\n")
    sys.stdout.flush()
    sys.stdin.read()


def work(die_at: str = "") -> None:
    """Do all that is due; with a point, die there as by a power cut."""
    from core.work import drain_all
    from delivery.services import sending
    from incidents.services import escalation

    def die(*_: Any, **__: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)

    points: dict[str, tuple[Any, str, Callable[..., Any]]] = {
        "after-claim": (sending, "_prepare", die),
        "before-settle": (sending, "_settle", die),
        "in-step": (escalation, "settle_many", die),
    }
    if die_at:
        module, name, replacement = points[die_at]
        setattr(module, name, replacement)
    drain_all()


def main() -> None:
    """Dispatch on the first argument."""
    django.setup()
    steps: dict[str, Callable[..., None]] = {"seed": seed, "storm": storm, "send": send, "serve": serve, "work": work}
    steps[sys.argv[1]](*sys.argv[2:])


if __name__ == "__main__":
    main()
