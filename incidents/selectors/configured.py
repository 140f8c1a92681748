"""The configuration of the room as the documents that would make it."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from incidents.models import EscalationPolicy, Route, Schedule


def configured_documents() -> list[dict[str, Any]]:
    """Return schedules, policies and routes as documents; applying them changes nothing."""
    return [
        *(_schedule(one) for one in Schedule.objects.select_related("team").prefetch_related("versions")),
        *(_policy(one) for one in EscalationPolicy.objects.select_related("team").prefetch_related("steps")),
        *(_route(one) for one in Route.objects.select_related("service", "policy")),
    ]


def _document(kind: str, slug: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    title = {} if name == slug else {"title": name}
    return {"apiVersion": "assay/v1", "kind": kind, "metadata": {"name": slug, **title}, "spec": spec}


def _schedule(schedule: Schedule) -> dict[str, Any]:
    versions: Sequence[Any] = sorted(schedule.versions.all(), key=lambda version: version.number)
    layers = versions[-1].layers if versions else []
    team = {"team": schedule.team.slug} if schedule.team else {}
    return _document(
        "Schedule", schedule.slug, schedule.name, {**team, "time_zone": schedule.time_zone, "layers": layers}
    )


def _policy(policy: EscalationPolicy) -> dict[str, Any]:
    steps = []
    for step in policy.steps.select_related("schedule", "user"):
        target = (
            {"schedule": step.schedule.slug}
            if step.schedule
            else {"user": step.user.get_username() if step.user else ""}
        )
        extra = {
            **({"round_robin": True} if step.round_robin else {}),
            **({"when": step.conditions} if step.conditions else {}),
        }
        steps.append({**target, "wait": written(step.wait), **extra})
    team = {"team": policy.team.slug} if policy.team else {}
    return _document("EscalationPolicy", policy.slug, policy.name, {**team, "repeat": policy.repeat, "steps": steps})


def _route(route: Route) -> dict[str, Any]:
    target = {"service": route.service.slug} if route.service else {"service_label": route.service_label}
    spec = {
        "position": route.position,
        "match": route.matchers,
        **target,
        "severity": route.severity,
        **({"escalation_policy": route.policy.slug} if route.policy else {}),
        **({"runbook": route.runbook_slug} if route.runbook_slug else {}),
        "opens_incident": route.opens_incident,
        "quiet_period": None if route.quiet_period is None else written(route.quiet_period),
        "continue": route.continues,
        "hold_behind_providers": route.hold_behind_providers,
    }
    return _document("Route", route.slug, route.name, spec)


def written(length: timedelta) -> str:
    """Return a duration as documents write it: `1h30m`."""
    seconds = int(length.total_seconds())
    parts = [(seconds // 86_400, "d"), (seconds // 3600 % 24, "h"), (seconds // 60 % 60, "m"), (seconds % 60, "s")]
    return "".join(f"{count}{unit}" for count, unit in parts if count) or "0s"
