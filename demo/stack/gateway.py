"""The inference gateway: balances over the replicas, retries, gives up in time.

A replica that does not send a first token within `FIRST_TOKEN_TIMEOUT` or refuses is left out for `EJECT_FOR`, then
tried again by one request. With all replicas left out every one of them is tried: an outage must not outlive itself.
One frozen replica of three is hidden by the retry; with two frozen the remaining one has too few slots for the load.
"""

import argparse
import http.client
import itertools
import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from opentelemetry import propagate, trace

from demo.stack.server import RefusedError, StackHandler, serve, without_delay
from demo.stack.telemetry import DURATION_BOUNDS, FIRST_TOKEN_BOUNDS, seconds_histogram, start_telemetry

ATTEMPTS = 3
FIRST_TOKEN_TIMEOUT = 0.5
DEADLINE = 3.0
EJECT_FOR = 5.0
FEATURES_TIMEOUT = 0.25


@dataclass
class Replica:
    """One model server and what the gateway thinks of it."""

    host: str
    port: int
    ejected_until: float = 0.0
    probing: bool = False

    @property
    def name(self) -> str:
        """Address as `host:port`."""
        return f"{self.host}:{self.port}"


class Balancer:
    """Chooses a replica: round robin over those that are not left out."""

    def __init__(self, replicas: list[Replica]) -> None:
        self._replicas = replicas
        self._turn = itertools.count()
        self._lock = threading.Lock()

    def choose(self, *, avoid: set[str], now: float) -> Replica:
        """Return the next replica, preferring those not tried yet by this request."""
        with self._lock:
            ready = [replica for replica in self._replicas if self._may_try(replica, now)]
            fresh = [replica for replica in ready if replica.name not in avoid]
            pool = fresh or ready or self._replicas
            chosen = pool[next(self._turn) % len(pool)]
            if chosen.ejected_until:
                chosen.probing = True
            return chosen

    def succeeded(self, replica: Replica) -> None:
        """Take a replica back."""
        with self._lock:
            replica.ejected_until, replica.probing = 0.0, False

    def failed(self, replica: Replica, *, now: float) -> None:
        """Leave a replica out for a while."""
        with self._lock:
            replica.ejected_until, replica.probing = now + EJECT_FOR, False

    @staticmethod
    def _may_try(replica: Replica, now: float) -> bool:
        return not replica.ejected_until or (now >= replica.ejected_until and not replica.probing)


class AttemptError(Exception):
    """A replica did not give a first token."""


def main() -> None:
    """Run the gateway."""
    parser = argparse.ArgumentParser(description="The inference gateway of the demo stack.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--replica", action="append", required=True, help="host:port of a model server; repeat it")
    parser.add_argument("--feature-store", required=True, help="host:port")
    options = parser.parse_args()

    meter, tracer = start_telemetry("gateway", instance="gateway")
    first_token = seconds_histogram(
        meter,
        "gen_ai.server.time_to_first_token",
        "Time from the request to its first token; for a request that got none, until the gateway gave up.",
        FIRST_TOKEN_BOUNDS,
    )
    retries = meter.create_counter("gateway.retries", unit="{retry}", description="Attempts after the first.")
    balancer = Balancer([Replica(*_address(text)) for text in options.replica])
    features = _address(options.feature_store)

    class GatewayHandler(StackHandler):
        """`POST /v1/completions`, passed on to a replica."""

        routes = {("POST", "v1"): "complete"}
        duration = seconds_histogram(
            meter, "http.server.request.duration", "Duration of HTTP server requests.", DURATION_BOUNDS
        )

        def complete(self) -> None:
            arrived = time.monotonic()
            request = self.read_json()
            request["features"] = _features(features)
            try:
                connection, response, first = self._first_token(request, arrived)
            except AttemptError as error:
                first_token.record(time.monotonic() - arrived, {"error.type": str(error)})
                raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, f"no replica answered: {error}") from None
            first_token.record(time.monotonic() - arrived, {})
            try:
                self.stream(itertools.chain([first], _events(response)))
            finally:
                connection.close()

        def _first_token(
            self, request: Mapping[str, Any], arrived: float
        ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse, Mapping[str, Any]]:
            tried: set[str] = set()
            problem = "deadline"
            for attempt in range(ATTEMPTS):
                now = time.monotonic()
                if now - arrived > DEADLINE:
                    break
                if attempt:
                    retries.add(1)
                replica = balancer.choose(avoid=tried, now=now)
                tried.add(replica.name)
                # The last attempt waits as long as the deadline lets it.
                patience = FIRST_TOKEN_TIMEOUT if attempt < ATTEMPTS - 1 else max(DEADLINE - (now - arrived), 0.1)
                try:
                    answer = _attempt(replica, request, patience)
                except AttemptError as error:
                    problem = str(error)
                    balancer.failed(replica, now=time.monotonic())
                    continue
                balancer.succeeded(replica)
                return answer
            raise AttemptError(problem)

    GatewayHandler.tracer = tracer
    serve(GatewayHandler, port=options.port)


def _attempt(
    replica: Replica, request: Mapping[str, Any], patience: float
) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse, Mapping[str, Any]]:
    """Ask one replica and return its connection, answer and first token. Raises AttemptError."""
    connection = http.client.HTTPConnection(replica.host, replica.port, timeout=patience)
    headers = {"Content-Type": "application/json"}
    propagate.inject(headers)
    with trace.get_tracer("demo.stack").start_as_current_span(
        "POST /v1", kind=trace.SpanKind.CLIENT, attributes={"server.address": replica.host, "server.port": replica.port}
    ) as span:
        try:
            connection.connect()
            without_delay(connection.sock)
            connection.request("POST", "/v1/completions", json.dumps(request).encode(), headers)
            response = connection.getresponse()
            first = _first_event(response)
            connection.sock.settimeout(DEADLINE)
        except TimeoutError:
            span.set_status(trace.StatusCode.ERROR)
            connection.close()
            raise AttemptError("timeout") from None
        except (OSError, http.client.HTTPException) as error:
            span.set_status(trace.StatusCode.ERROR)
            connection.close()
            raise AttemptError(type(error).__name__) from None
        except AttemptError:
            span.set_status(trace.StatusCode.ERROR)
            connection.close()
            raise
    return connection, response, first


def _events(response: http.client.HTTPResponse) -> Iterator[Mapping[str, Any]]:
    """Yield the server-sent events of a replica's answer until `[DONE]`."""
    for line in response:
        if line.startswith(b"data: "):
            data = line[6:].strip()
            if data == b"[DONE]":
                return
            yield json.loads(data)


def _first_event(response: http.client.HTTPResponse) -> Mapping[str, Any]:
    """Return the first token of a replica's answer. Raises AttemptError."""
    if response.status != HTTPStatus.OK:
        raise AttemptError(f"status {response.status}")
    first = next(_events(response), None)
    if first is None:
        raise AttemptError("no token")
    return first


def _features(address: tuple[str, int]) -> dict[str, Any]:
    """Return the caller's features, or none: the gateway serves without them."""
    connection = http.client.HTTPConnection(*address, timeout=FEATURES_TIMEOUT)
    try:
        connection.request("GET", "/features/tenant-1")
        response = connection.getresponse()
        body = response.read()
        return dict(json.loads(body)) if response.status == HTTPStatus.OK else {}
    except (OSError, http.client.HTTPException, ValueError):
        return {}
    finally:
        connection.close()


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


if __name__ == "__main__":
    main()
