"""An open-loop load generator: requests leave when they are due, whether or not earlier ones have come back.

Arrivals are a Poisson process whose rate follows the time of day. A slow gateway therefore meets the same load as a
fast one, which is what clients do to it.
"""

import argparse
import http.client
import json
import logging
import math
import random
import signal
import threading
import time
from types import FrameType

from opentelemetry.metrics import Counter, Histogram

from demo.stack.telemetry import DURATION_BOUNDS, seconds_histogram, start_telemetry

MAX_IN_FLIGHT = 96
CLIENT_TIMEOUT = 8.0
DAY_SECONDS = 86_400

logger = logging.getLogger(__name__)


def rate_at(seconds_of_day: float, *, mean: float, swing: float) -> float:
    """Return requests a second at a time of day: lowest at 04:00 UTC, highest at 16:00."""
    return mean * (1 + swing * math.sin(2 * math.pi * (seconds_of_day / DAY_SECONDS - 10 / 24)))


class Client:
    """Sends one request to the gateway and reads the whole stream."""

    def __init__(self, host: str, port: int, duration: Histogram, tokens: Counter) -> None:
        self._host, self._port = host, port
        self._duration, self._tokens = duration, tokens
        self.places = threading.BoundedSemaphore(MAX_IN_FLIGHT)

    def send(self, max_tokens: int) -> None:
        """Send, measure, and give the place back."""
        started = time.monotonic()
        outcome = "error"
        connection = http.client.HTTPConnection(self._host, self._port, timeout=CLIENT_TIMEOUT)
        try:
            body = json.dumps({"prompt": "Explain an error budget.", "max_tokens": max_tokens}).encode()
            connection.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            self._tokens.add(response.read().count(b'"index"'))
            outcome = str(response.status)
        except TimeoutError:
            outcome = "timeout"
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
            self._duration.record(time.monotonic() - started, {"outcome": outcome})
            self.places.release()


def main() -> None:
    """Generate load until SIGTERM."""
    parser = argparse.ArgumentParser(description="The load generator of the demo stack.")
    parser.add_argument("--gateway", required=True, help="host:port")
    parser.add_argument("--rate", type=float, default=5.0, help="mean requests a second over a day")
    parser.add_argument("--swing", type=float, default=0.15, help="0: the same all day; 0.15: 15 %% more at the peak")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    meter, _ = start_telemetry("load", instance="load")
    host, _, port = options.gateway.rpartition(":")
    client = Client(
        host,
        int(port),
        seconds_histogram(meter, "http.client.request.duration", "Duration as the client sees it.", DURATION_BOUNDS),
        meter.create_counter("load.tokens", unit="{token}", description="Tokens received."),
    )
    unsent = meter.create_counter(
        "load.unsent", unit="{request}", description="Requests that were due when too many were in flight."
    )
    signal.signal(signal.SIGTERM, _stop)
    chance = random.Random(options.seed)
    due = time.monotonic()
    while True:
        due += chance.expovariate(rate_at(time.time() % DAY_SECONDS, mean=options.rate, swing=options.swing))
        wanted = chance.randint(10, 16)
        wait = due - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        elif wait < -5:
            due = time.monotonic()  # the process itself was stopped for a while: do not send what that time owed
        if client.places.acquire(blocking=False):
            threading.Thread(target=client.send, args=(wanted,), daemon=True).start()
        else:
            unsent.add(1)


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    main()
