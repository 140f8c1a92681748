"""Put real load on a URL, open loop: requests start when they are due, however slow the answers are.

The time of each answer is measured from when its request was due, so that a system that stalls cannot hide it.
"""

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Lock, local
from typing import Any, ClassVar

from pydantic import Field, model_validator

from core.http import GuardedSession, OutboundRefusedError, guarded_session
from core.live import say, seconds_left
from drivers.data import ActionResult, Arguments, Idempotency, Plan, Target
from runbooks.actions.base import RunbookAction

MOST_REQUESTS = 100_000
THREADS = 48


class LoadArguments(Arguments):
    """Where, how often a second and for how long; and what the answers must be like for this to be good."""

    url: str = Field(pattern=r"^https?://", max_length=2000)
    rate: float = Field(gt=0, le=2000, description="Requests a second.")
    factor: float = Field(default=1, gt=0, le=100, description="How many times the rate.")
    seconds: float = Field(gt=0, le=900)
    body: dict[str, Any] | None = Field(default=None, description="Posted as JSON; without it, GET.")
    max_p95_ms: float | None = Field(default=None, gt=0)
    max_error_ratio: float | None = Field(default=None, ge=0, le=1)
    timeout_seconds: float = Field(default=10, gt=0, le=60)
    allow: list[str] = []

    @model_validator(mode="after")
    def _bounded(self) -> "LoadArguments":
        if self.pace * self.seconds > MOST_REQUESTS:
            raise ValueError(f"at most {MOST_REQUESTS} requests in one step are allowed")
        return self

    @property
    def pace(self) -> float:
        """Requests a second, with the factor."""
        return self.rate * self.factor


class DriveLoad(RunbookAction):
    """Drives load and judges the answers; its value is the 95th percentile in milliseconds."""

    name: ClassVar[str] = "load.http"
    description: ClassVar[str] = "Put load on a URL at a rate, open loop, and judge the answers."
    arguments: ClassVar[type[Arguments]] = LoadArguments
    idempotency: ClassVar[Idempotency] = Idempotency.NATURAL

    def plan(self, arguments: LoadArguments) -> Plan:
        verb = "POST" if arguments.body is not None else "GET"
        count = round(arguments.pace * arguments.seconds)
        return Plan(
            summary=f"{count} requests to {arguments.url}: {arguments.pace:g} a second for {arguments.seconds:g} s",
            targets=(Target("url", arguments.url),),
            commands=(f"{verb} {arguments.url} x {count}",),
        )

    def run(self, arguments: LoadArguments, *, idempotency_key: str) -> ActionResult:  # noqa: ARG002
        took, failed = _drive(arguments)
        if not took:
            return ActionResult(ok=False, error="no request was sent")
        ordered = sorted(took)
        p95 = round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))] * 1000, 1)
        ratio = failed / len(took)
        output = {
            "value": p95,
            "requests": len(took),
            "failed": failed,
            "error_ratio": round(ratio, 6),
            "median_ms": round(statistics.median(took) * 1000, 1),
            "p95_ms": p95,
        }
        problems = []
        if arguments.max_p95_ms is not None and p95 > arguments.max_p95_ms:
            problems.append(f"95 % within {p95:g} ms, wanted {arguments.max_p95_ms:g} ms")
        if arguments.max_error_ratio is not None and ratio > arguments.max_error_ratio:
            problems.append(f"{failed} of {len(took)} failed, at most {arguments.max_error_ratio:.2%} are allowed")
        return ActionResult(ok=not problems, output=output, error="; ".join(problems))


def _drive(arguments: LoadArguments) -> tuple[list[float], int]:
    took: list[float] = []
    failures = [0]
    lock, own = Lock(), local()

    def one(due: float) -> None:
        session: GuardedSession | None = getattr(own, "session", None)
        if session is None:
            session = own.session = guarded_session(allow=arguments.allow, timeout_seconds=arguments.timeout_seconds)
            with lock:
                sessions.append(session)
        try:
            if arguments.body is None:
                good = session.get(arguments.url).ok
            else:
                good = session.post(arguments.url, json=arguments.body).ok
        except (OutboundRefusedError, OSError):
            good = False
        with lock:
            took.append(time.monotonic() - due)
            failures[0] += not good

    sessions: list[GuardedSession] = []
    began = time.monotonic()
    until = began + seconds_left(otherwise=arguments.seconds)
    count = round(arguments.pace * arguments.seconds)
    told = began
    with ThreadPoolExecutor(max_workers=min(THREADS, count), thread_name_prefix="load") as pool:
        for number in range(count):
            due = began + number / arguments.pace
            now = time.monotonic()
            if due >= until:
                break
            if due > now:
                time.sleep(due - now)
            pool.submit(one, due)
            if now - told >= 1:
                say(f"{len(took)} answers, {failures[0]} failed")
                told = now
    for session in sessions:
        session.close()
    return took, failures[0]
