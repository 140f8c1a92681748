"""The SLOs that count pushed events, found by the name of metric or span and kept in memory while nothing changes."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import connection
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from reliability.domain.rules import EventRule, has, rule_of, signal_of
from reliability.models import RulesRevision, SLOVersion
from reliability.services.otlp_points import CLOCK_TOLERANCE, attributes_of

NANO = 1_000_000_000
RESOURCES_IN_MEMORY = 10_000

Rules = tuple[EventRule, ...]


@dataclass
class Registry:
    """The rules in force."""

    revision: int | None = None
    metrics: dict[str, list[EventRule]] = field(default_factory=dict)
    spans: dict[str, list[EventRule]] = field(default_factory=dict)
    resources: dict[bytes, Mapping[str, str]] = field(default_factory=dict)
    matching: dict[tuple[str, bytes], Rules] = field(default_factory=dict)
    slots: dict[int, int] = field(default_factory=dict)
    """Where the tallies of these rules are kept, as far as that is committed."""

    def resource(self, raw: bytes) -> Mapping[str, str]:
        """Return a resource's attributes. Raises DecodeError."""
        if raw not in self.resources:
            if len(self.resources) > RESOURCES_IN_MEMORY:
                self.resources.clear()
                self.matching.clear()
            self.resources[raw] = attributes_of(Resource.FromString(raw).attributes)
        return self.resources[raw]

    def remember(self, slots: Mapping[int, int]) -> None:
        """Keep where tallies are, once that is committed."""
        self.slots.update(slots)

    def for_metric(self, name: str, resource: bytes) -> Rules:
        """Return the rules of a metric from a resource; the same tuple each time while nothing changes."""
        if name not in self.metrics:
            return ()
        found = self.matching.get((name, resource))
        if found is None:
            found = self.matching[name, resource] = _matching(self.metrics[name], self.resource(resource))
        return found

    def for_span(self, name: str, resource: Mapping[str, str]) -> Rules:
        """Return the rules of a span from a resource."""
        return _matching(self.spans.get(name, ()), resource)


_registry = Registry()


def registry() -> Registry:
    """Return the rules in force: one small query while nothing has changed."""
    global _registry  # noqa: PLW0603 a cache of the process, checked against the database each time
    revision = _stored_revision()
    if revision is None:
        revision = rules_changed()
    if _registry.revision != revision:
        # The number is read before the rules: what changes in between is read again by the next request.
        fresh = Registry(revision, resources=_registry.resources)
        pushed = SLOVersion.objects.filter(retired_at__isnull=True, source_type="otlp")
        for version in pushed.select_related("counts_with").order_by("pk"):
            since = (version.counted_from - CLOCK_TOLERANCE).timestamp()
            rule = rule_of(version.tally_id, version.indicator, counted_from=int(since * NANO))
            metric, span = signal_of(version.indicator)
            (fresh.metrics if metric else fresh.spans).setdefault(metric or span, []).append(rule)
        _registry = fresh
    return _registry


def rules_changed() -> int:
    """Let every process read the rules again, once the caller's transaction is committed; returns the new number."""
    revision = secrets.randbits(62)
    RulesRevision.objects.update_or_create(pk=1, defaults={"revision": revision})
    return revision


def _stored_revision() -> int | None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT revision FROM reliability_rulesrevision WHERE id = 1")
        row = cursor.fetchone()
    return row[0] if row else None


def _matching(rules: Any, resource: Mapping[str, str]) -> Rules:
    return tuple(rule for rule in rules if has(rule.total.resource, resource))
