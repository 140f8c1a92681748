"""A model server: takes a prompt, thinks, and streams tokens.

The arithmetic of a model is replaced by waiting, so that three of them fit on a small machine; slots, the queue before
them, the stream and its failures are real. A replica decodes at most `SLOTS` requests at a time, the rest wait.
"""

import argparse
import random
import threading
import time
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from opentelemetry.metrics import CallbackOptions, Observation

from demo.stack.server import RefusedError, StackHandler, serve
from demo.stack.telemetry import DURATION_BOUNDS, FIRST_TOKEN_BOUNDS, TOKEN_BOUNDS, seconds_histogram, start_telemetry

SLOTS = 3
MAX_QUEUE = 24
PREFILL_MEDIAN_SECONDS = 0.06
PREFILL_SIGMA = 0.35
TOKEN_SECONDS = 0.06
MAX_TOKENS = 64
WORDS = ("a", "service", "keeps", "its", "promise", "over", "the", "whole", "window")


def main() -> None:
    """Run one replica."""
    parser = argparse.ArgumentParser(description="A model server of the demo stack.")
    parser.add_argument("--name", default="model-server-1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    meter, tracer = start_telemetry("model-server", instance=options.name)
    first_token = seconds_histogram(
        meter, "gen_ai.server.time_to_first_token", "Time from the request to its first token.", FIRST_TOKEN_BOUNDS
    )
    per_token = seconds_histogram(
        meter, "gen_ai.server.time_per_output_token", "Time for each token after the first.", TOKEN_BOUNDS
    )
    tokens = meter.create_counter("gen_ai.server.output_tokens", unit="{token}", description="Tokens streamed.")
    chance = random.Random(options.seed)
    slots = threading.BoundedSemaphore(SLOTS)
    occupancy = Occupancy()
    meter.create_observable_gauge(
        "model_server.requests.active",
        [occupancy.observe],
        unit="{request}",
        description="Requests waiting or decoding.",
    )

    class ModelHandler(StackHandler):
        """`POST /v1/completions` with `{"prompt": "...", "max_tokens": 20}`."""

        routes = {("POST", "v1"): "complete"}
        duration = seconds_histogram(
            meter, "http.server.request.duration", "Duration of HTTP server requests.", DURATION_BOUNDS
        )

        def complete(self) -> None:
            arrived = time.monotonic()
            wanted = self.read_json().get("max_tokens", 16)
            if not isinstance(wanted, int) or not 1 <= wanted <= MAX_TOKENS:
                raise RefusedError(HTTPStatus.BAD_REQUEST, f"max_tokens must be a whole number from 1 to {MAX_TOKENS}")
            if not occupancy.enter():
                raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "the queue is full")
            try:
                with slots:
                    self.stream(self._decode(arrived, wanted))
            finally:
                occupancy.leave()

        def _decode(self, arrived: float, wanted: int) -> Iterator[Mapping[str, Any]]:
            time.sleep(PREFILL_MEDIAN_SECONDS * chance.lognormvariate(0, PREFILL_SIGMA))
            attributes = {"gen_ai.request.model": "demo-7b", "gen_ai.operation.name": "text_completion"}
            for position in range(wanted):
                before = time.monotonic()
                if position:
                    time.sleep(TOKEN_SECONDS)
                    per_token.record(time.monotonic() - before, attributes)
                else:
                    first_token.record(time.monotonic() - arrived, attributes)
                tokens.add(1, attributes)
                yield {"index": position, "text": chance.choice(WORDS)}

    ModelHandler.tracer = tracer
    serve(ModelHandler, port=options.port)


class Occupancy:
    """How many requests are inside, waiting or decoding."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0

    def enter(self) -> bool:
        """Take a place, or say that there is none."""
        with self._lock:
            if self._inside >= SLOTS + MAX_QUEUE:
                return False
            self._inside += 1
            return True

    def leave(self) -> None:
        """Give the place back."""
        with self._lock:
            self._inside -= 1

    def observe(self, _options: CallbackOptions) -> list[Observation]:
        """Return the number of requests inside."""
        return [Observation(self._inside)]


if __name__ == "__main__":
    main()
