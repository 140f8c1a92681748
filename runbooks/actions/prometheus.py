"""Ask a Prometheus one instant query: a check."""

import math
from collections.abc import Callable
from typing import Any, ClassVar, Literal

from pydantic import Field

from core.http import OutboundRefusedError, guarded_session
from core.live import seconds_left
from drivers.data import ActionResult, Arguments, Idempotency, Plan, Risk, Target
from runbooks.actions.base import RunbookAction

REDUCERS: dict[str, Callable[[list[float]], float]] = {"max": max, "min": min, "sum": math.fsum}
SHOWN_SERIES = 20


class QueryArguments(Arguments):
    """Where and what to ask. Several series need `reduce`; `allow` names private hosts that this check may reach."""

    url: str = Field(pattern=r"^https?://", max_length=500)
    query: str = Field(min_length=1, max_length=4000)
    reduce: Literal["max", "min", "sum", "count"] | None = None
    allow: list[str] = []
    timeout_seconds: float = Field(default=10, gt=0, le=60)


class QueryPrometheus(RunbookAction):
    """Answers with the value of a query; no series is no value, never zero."""

    name: ClassVar[str] = "prometheus.query"
    description: ClassVar[str] = "Ask a Prometheus (or Thanos, Mimir, VictoriaMetrics) one instant query."
    arguments: ClassVar[type[Arguments]] = QueryArguments
    risk: ClassVar[Risk] = Risk.READ
    idempotency: ClassVar[Idempotency] = Idempotency.NATURAL

    def plan(self, arguments: QueryArguments) -> Plan:
        return Plan(
            summary=f"Ask {arguments.url}: {arguments.query}",
            targets=(Target("url", arguments.url),),
            commands=(f"GET {arguments.url.rstrip('/')}/api/v1/query?query={arguments.query}",),
        )

    def run(self, arguments: QueryArguments, *, idempotency_key: str) -> ActionResult:  # noqa: ARG002
        seconds = seconds_left(otherwise=arguments.timeout_seconds)
        try:
            with guarded_session(allow=arguments.allow, timeout_seconds=seconds) as session:
                answer = session.get(
                    f"{arguments.url.rstrip('/')}/api/v1/query",
                    params={"query": arguments.query, "timeout": f"{seconds:.1f}s"},
                )
            body = answer.json()
        except (OutboundRefusedError, OSError, ValueError) as error:
            return ActionResult(ok=False, error=str(error))
        if not isinstance(body, dict) or body.get("status") != "success":
            said = body.get("error") if isinstance(body, dict) else answer.text[:200]
            return ActionResult(ok=False, error=f"{answer.status_code}: {said}")
        return _valued(body.get("data") or {}, arguments.reduce, list(body.get("warnings") or []))


def _valued(data: dict[str, Any], reduce: str | None, warnings: list[str]) -> ActionResult:
    if data.get("resultType") in {"scalar", "string"}:
        found: list[tuple[dict[str, str], float | None]] = [({}, _number(data["result"][1]))]
    elif data.get("resultType") == "vector":
        found = [(one["metric"], _number(one["value"][1])) for one in data["result"]]
    else:
        return ActionResult(ok=False, error=f"a {data.get('resultType')} is no single value; ask an instant query")
    output: dict[str, Any] = {
        "series": [{"labels": m, "value": v} for m, v in found[:SHOWN_SERIES]],
        "warnings": warnings,
    }
    values = [value for _, value in found if value is not None]
    if reduce == "count":
        return ActionResult(ok=True, output={**output, "value": len(found)})
    if not values:
        return ActionResult(ok=False, output=output, error="no series: nothing is known")
    if len(values) > 1 and reduce is None:
        return ActionResult(ok=False, output=output, error=f"{len(values)} series; say how to reduce them")
    value = values[0] if reduce is None else REDUCERS[reduce](values)
    return ActionResult(ok=True, output={**output, "value": value})


def _number(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None
