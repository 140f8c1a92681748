"""Receive OpenTelemetry metrics and spans and reduce what SLOs match to counts (OTLP 1.x, data model for metrics).

Delivery is at least once: a repeated point or span is counted once. Everything is committed before the answer.
"""

import hashlib
from collections.abc import Iterable
from typing import Any

import orjson
from django.db import transaction
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from core.clock import database_now
from core.parsing import refuse
from reliability.domain.budgets import Counts
from reliability.domain.rules import EventRule
from reliability.domain.streams import ENDS_BEFORE_IT_STARTS
from reliability.models import Exemplar, SeenSpan, StreamBlock
from reliability.services.intake import note_problems
from reliability.services.otlp_counting import EXEMPLARS_PER_MINUTE, MetricCounter, Tallied, problem_of
from reliability.services.otlp_points import REMEMBERED, Received, attributes_of
from reliability.services.otlp_rules import NANO, Registry, Rules, registry
from reliability.services.otlp_streams import keep_blocks, load_blocks, store_blocks
from reliability.services.otlp_wire import WireRequest, kind_of
from reliability.services.spreading import add_spreads
from reliability.services.tallying import Held, Increments, add_to_tallies, group_tally, lock_tallies, merge

MAX_POINTS = 100_000
SPAN_STATUS = {0: "unset", 1: "ok", 2: "error"}


def receive_metrics(request: Message) -> Received:
    """Count the points that SLOs match. Takes OTLP's message, or the same with its points left as bytes."""
    received = Received(database_now())
    known = registry()
    try:
        wire = request if isinstance(request, WireRequest) else WireRequest.FromString(request.SerializeToString())
        matched = list(_matched_metrics(wire, known, received))
    except DecodeError:
        raise refuse(
            "body", found="bytes that are not the message", allowed="an OTLP export request is allowed"
        ) from None
    if not matched:
        note_problems(received)
        return received
    with transaction.atomic():
        held = lock_tallies((rule.tally_id for _, _, rules, _, _ in matched for rule in rules), slots=known.slots)
        blocks = load_blocks(digest for _, _, _, _, digest in matched)
        tallied = Tallied()
        for metric, kind, rules, resource, digest in matched:
            data = getattr(metric, kind)
            counter = MetricCounter(
                metric.name,
                kind,
                data.aggregation_temporality,
                rules,
                known.resource(resource),
                blocks[digest],
                received,
                tallied,
            )
            counter.count(data.data_points)
            counter.finish()
        store_blocks(blocks.values(), now=received.now)
        _add(tallied, {rule.tally_id: rule for _, _, rules, _, _ in matched for rule in rules}, held)
        note_problems(received)
        transaction.on_commit(lambda: keep_blocks(blocks.values()))
        transaction.on_commit(lambda: known.remember(held.slots))
    return received


@transaction.atomic
def receive_spans(request: ExportTraceServiceRequest) -> Received:
    """Count the spans that SLOs match; each span once."""
    received = Received(database_now())
    found: dict[str, tuple[Span, Rules, dict[str, str]]] = {}
    known = registry()
    for resource_spans in request.resource_spans:
        resource = attributes_of(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                rules = known.for_span(span.name, resource)
                if not rules:
                    continue
                if problem := _span_problem(span, received):
                    received.reject(1, span.name, problem, tallies=[rule.tally_id for rule in rules])
                    continue
                found.setdefault(hashlib.sha256(span.trace_id + span.span_id).hexdigest(), (span, rules, resource))
                if len(found) > MAX_POINTS:
                    raise refuse("body", found=f"more than {MAX_POINTS} spans", allowed="send smaller batches")
    note_problems(received)
    if not found:
        return received
    held = lock_tallies((rule.tally_id for _, rules, _ in found.values() for rule in rules), slots=known.slots)
    seen = set(SeenSpan.objects.filter(digest__in=found).values_list("digest", flat=True))
    fresh = {digest: one for digest, one in found.items() if digest not in seen}
    SeenSpan.objects.bulk_create([SeenSpan(digest=one, seen_at=received.now) for one in fresh], batch_size=500)
    tallied = Tallied()
    for span, rules, resource in fresh.values():
        for rule in rules:
            _count_span(rule, span, resource, tallied)
    _add(tallied, {rule.tally_id: rule for _, rules, _ in fresh.values() for rule in rules}, held)
    transaction.on_commit(lambda: known.remember(held.slots))
    return received


def forget_old_streams() -> None:
    """Drop the state of streams and spans that were not seen for longer than a late point is taken."""
    horizon = database_now() - 2 * REMEMBERED
    StreamBlock.objects.filter(seen_at__lt=horizon).delete()
    SeenSpan.objects.filter(seen_at__lt=horizon).delete()


def _matched_metrics(wire: Any, known: Registry, received: Received) -> Iterable[tuple[Any, str, Rules, bytes, str]]:
    """Return the metrics that SLOs count, with their kind, rules, resource and the digest of their block."""
    points = 0
    for resource_metrics in wire.resource_metrics:
        resource = resource_metrics.resource
        for scope_metrics in resource_metrics.scope_metrics:
            for metric in scope_metrics.metrics:
                kind = kind_of(metric)
                data = getattr(metric, kind) if kind else None
                points += len(data.data_points) if data is not None else 0
                if points > MAX_POINTS:
                    raise refuse("body", found=f"more than {MAX_POINTS} points", allowed="send smaller batches")
                rules = known.for_metric(metric.name, resource)
                if not rules or data is None:
                    continue
                if problem := problem_of(kind, data.aggregation_temporality, rules, monotonic=data.is_monotonic):
                    tallies = [rule.tally_id for rule in rules]
                    received.reject(len(data.data_points), metric.name, problem, tallies=tallies)
                    continue
                scope = InstrumentationScope.FromString(scope_metrics.scope).name
                attributes = sorted(known.resource(resource).items())
                identity = [attributes, scope, metric.name, metric.unit, kind, data.aggregation_temporality]
                yield metric, kind, rules, resource, hashlib.sha256(orjson.dumps(identity)).hexdigest()


def _add(tallied: Tallied, rules: dict[int, EventRule], held: Held) -> None:
    """Add what was counted to the tallies, groups beside the whole, and keep exemplars."""
    increments: Increments = {}
    for (tally_id, group, minute), (good, bad, unknown) in tallied.counts.items():
        counts = Counts(good, bad, unknown, 0, unknown)
        merge(increments, tally_id=tally_id, minute=minute, counts=counts)
        if group:
            labels = dict(zip(rules[tally_id].group_by, group, strict=True))
            merge(increments, tally_id=group_tally(version_id=tally_id, labels=labels), minute=minute, counts=counts)
    add_to_tallies(increments, held=held)
    add_spreads(tallied.spreads)
    for (tally_id, minute), found in tallied.exemplars.items():
        known = set(Exemplar.objects.filter(version_id=tally_id, minute=minute).values_list("trace_id", "span_id"))
        fresh = [one for one in dict.fromkeys(found) if one[:2] not in known]
        Exemplar.objects.bulk_create(
            [
                Exemplar(version_id=tally_id, minute=minute, trace_id=trace_id, span_id=span_id, value=value)
                for trace_id, span_id, value in fresh[: max(EXEMPLARS_PER_MINUTE - len(known), 0)]
            ],
            ignore_conflicts=True,
        )


def _count_span(rule: EventRule, span: Span, resource: dict[str, str], tallied: Tallied) -> None:
    attributes = {
        **attributes_of(span.attributes),
        "span.kind": str(span.kind),
        "status": SPAN_STATUS.get(span.status.code, "unset"),
    }
    if span.end_time_unix_nano < rule.counted_from or not rule.total.takes(attributes, resource):
        return
    seconds = (span.end_time_unix_nano - span.start_time_unix_nano) / NANO
    minute = span.end_time_unix_nano // (60 * NANO)
    if rule.op:
        counts = rule.judged(seconds)
    else:
        in_part = rule.part.takes(attributes, resource) and (rule.part.le is None or seconds <= rule.part.le)
        counts = rule.sided(1, 0, 0) if in_part else rule.sided(0, 1, 0)
    tallied.add(rule.tally_id, rule.group(attributes, resource), minute, counts)
    if counts.bad:
        kept = tallied.exemplars.setdefault((rule.tally_id, minute), [])
        if len(kept) < EXEMPLARS_PER_MINUTE:
            kept.append((span.trace_id.hex(), span.span_id.hex(), seconds))


def _span_problem(span: Span, received: Received) -> str:
    if len(span.trace_id) != 16 or len(span.span_id) != 8:
        return "a span needs a 16-byte trace id and an 8-byte span id"
    if span.end_time_unix_nano < span.start_time_unix_nano:
        return ENDS_BEFORE_IT_STARTS
    return received.time_problem(span.end_time_unix_nano)
