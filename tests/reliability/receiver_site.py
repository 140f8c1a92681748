"""A site of its own for a test that kills the receiver: a fresh state folder, a real process, a real port.

What a process of it does, by its first argument: `seed` prints a sender's token; `serve PORT` serves by one process
after another, each killed at one of its first requests: before it is read, before its commit or before its answer;
`counts` prints what was counted.
"""

import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import django
import orjson
from django.core.wsgi import get_wsgi_application
from django.urls import resolve

LONGEST_LIFE = 6


class QuietHandler(WSGIRequestHandler):
    """Says nothing about requests."""

    def log_message(self, *args: object) -> None:
        """Leave standard error to what fails."""


class ReusingServer(WSGIServer):
    """Takes over the port of the one that was killed."""

    allow_reuse_address = True


def seed() -> None:
    """Declare an SLO on a histogram and one on spans, and make a sender's token."""
    from accounts.data import Capability, Role, system_principal
    from accounts.services import create_api_token, create_user, grant_role
    from catalog.services import apply_documents as apply_catalog
    from core.parsing import load_yaml_documents
    from reliability.services import apply_documents
    from tests.reliability.conftest import CATALOG, TTFT

    me = system_principal("test")
    apply_catalog(principal=me, documents=load_yaml_documents(CATALOG, source="catalog.yaml"))
    spans = TTFT.replace("metric: ttft", "span: ask").replace("gateway-ttft", "asks")
    spans = spans.replace("resource: {service.name: gateway}, le: 1.0", "where: {status: unset}")
    for text in (TTFT, spans.replace("resource: {service.name: gateway}", "resource: {}")):
        apply_documents(principal=me, documents=load_yaml_documents(text, source="slo.yaml"), source="slo.yaml")
    user = create_user(principal=me, username="collector", password=None)
    grant_role(principal=me, user=user, role=Role.RESPONDER)
    _, secret = create_api_token(principal=me, owner=user, name="otlp", scopes=[Capability.TELEMETRY_INGEST])
    sys.stdout.write(secret)


def serve(port: str) -> None:
    """Serve by a fresh process whenever the one before was killed; a line for each in the file `deaths`."""
    from reliability.services.door import with_otlp_door

    application = with_otlp_door(get_wsgi_application())
    # What the first request would import, each process would import again.
    resolve("/v1/metrics")
    deaths = Path(os.environ["ASSAY_STATE_DIR"]) / "deaths"
    for number in range(1000):
        child = os.fork()
        if not child:
            serve_a_while(application, int(port), number)
        _, status = os.waitpid(child, 0)
        with deaths.open("a") as file:
            file.write(f"{os.waitstatus_to_exitcode(status)}\n")


def serve_a_while(application: Any, port: int, number: int) -> None:
    """Serve a few requests, then be killed at some point of one."""
    from reliability.services import otlp, tallying

    chance = random.Random(number)
    left = chance.randrange(2, LONGEST_LIFE)
    point = chance.choice(("before it is read", "before the commit", "before the answer"))
    add = tallying.add_to_tallies

    def die_at(here: str) -> None:
        if left <= 0 and point == here:
            os.kill(os.getpid(), signal.SIGKILL)

    def add_or_die(increments: Any, **held: Any) -> None:
        add(increments, **held)
        die_at("before the commit")

    def answer(environ: Any, start_response: Any) -> Any:
        nonlocal left
        left -= 1
        die_at("before it is read")
        body = application(environ, start_response)
        die_at("before the answer")
        return body

    vars(otlp)["add_to_tallies"] = add_or_die
    server = make_server("127.0.0.1", port, answer, server_class=ReusingServer, handler_class=QuietHandler)
    server.serve_forever(poll_interval=0.05)


def counts() -> None:
    """Print good, bad and unknown events by SLO."""
    from reliability.domain.budgets import Counts
    from reliability.models import SLOVersion
    from tests.reliability.conftest import minutes_of

    found = {}
    for version in SLOVersion.objects.select_related("slo"):
        total = sum((one for _, one in minutes_of(version)), Counts())
        found[version.slo.slug] = [total.good, total.bad, total.unknown]
    sys.stdout.buffer.write(orjson.dumps(found))


def main() -> None:
    """Dispatch on the first argument."""
    django.setup()
    steps: dict[str, Callable[..., None]] = {"seed": seed, "serve": serve, "counts": counts}
    steps[sys.argv[1]](*sys.argv[2:])


if __name__ == "__main__":
    main()
