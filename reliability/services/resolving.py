"""Turn an SLO document, with what it refers to, into what is counted, promised and alerted on."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from core.parsing import parse_document, refuse
from reliability.domain.alerting import BurnTier
from reliability.domain.budgets import burn_rate_threshold, highest_burn_rate
from reliability.domain.windows import CalendarWindow
from reliability.models import DataSource, Definition
from reliability.services.openslo import (
    MINUTES,
    AlertConditionDocument,
    AlertPolicyDocument,
    ConditionRef,
    InlineCondition,
    InlinePolicy,
    OtlpQuery,
    PolicyRef,
    PrometheusQuery,
    RatioMetric,
    SLIDocument,
    SLODocument,
    TimeWindow,
)

TIERS_ANNOTATION = "assay.dev/burn-tiers"
SHORT_WINDOW_ANNOTATION = "assay.dev/short-window"
MINIMUM_EVENTS_ANNOTATION = "assay.dev/minimum-events"
ANNOTATIONS = (TIERS_ANNOTATION, SHORT_WINDOW_ANNOTATION, MINIMUM_EVENTS_ANNOTATION)
SEVERITIES = {"page": "critical", "ticket": "warning"}
STANDARD = (("fast", "critical", 60, 0.02), ("slow", "critical", 360, 0.05), ("ticket", "warning", 4320, 0.10))

AnyDocument = TypeVar("AnyDocument", SLIDocument, AlertConditionDocument, AlertPolicyDocument)


@dataclass(frozen=True)
class Resolved:
    """An SLO with nothing left to look up."""

    indicator: dict[str, Any]
    source_type: str
    data_source: DataSource | None
    target: Decimal
    window_days: int
    calendar: dict[str, Any] | None
    tiers: tuple[BurnTier, ...]

    def as_json(self) -> dict[str, Any]:
        """Return what tells one definition from another."""
        return {
            "indicator": self.indicator,
            "source": self.data_source.slug if self.data_source else self.source_type,
            "tiers": [vars(tier) for tier in self.tiers],
        }


def resolve(document: SLODocument, where: str) -> Resolved:
    """Return what a document says. Raises InputRefusedError for what cannot be counted or could never fire."""
    spec = document.spec
    if spec.indicator is not None:
        ratio = spec.indicator.spec.ratioMetric
    else:
        ratio = _named(SLIDocument, "SLI", spec.indicatorRef or "", f"{where} spec.indicatorRef").spec.ratioMetric
    indicator, source_type, data_source = _indicator(ratio, where)
    target = spec.objectives[0].ratio
    window_days, calendar = _window(spec.timeWindow[0], f"{where} spec.timeWindow[0]")
    _refuse_unknown_annotations(document.metadata.annotations, where)
    annotation = document.metadata.annotations.get(TIERS_ANNOTATION, "")
    if annotation and spec.alertPolicies:
        raise refuse(
            f"{where} metadata.annotations[{TIERS_ANNOTATION}]",
            found="tiers beside alertPolicies",
            allowed="one of the two is allowed",
        )
    if spec.alertPolicies:
        tiers = [_policy_tier(policy, target, f"{where} spec.alertPolicies") for policy in spec.alertPolicies]
    else:
        tiers = _tiers(annotation, target, window_days, where)
    names = [tier.name for tier in tiers]
    if len(set(names)) != len(names):
        raise refuse(f"{where} alert policies", found=", ".join(names), allowed="each name may stand once")
    return Resolved(indicator, source_type, data_source, target, window_days, calendar, tuple(tiers))


def _named(model: type[AnyDocument], kind: str, name: str, where: str) -> AnyDocument:
    known = Definition.objects.filter(kind=kind, slug=name).first()
    if known is None:
        raise refuse(where, found=name, allowed=f"the name of an {kind} that was applied is allowed")
    return parse_document(model, known.document, source=f"{kind} {name}")


def _refuse_unknown_annotations(annotations: dict[str, str], where: str) -> None:
    for key in annotations:
        if key.startswith("assay.dev/") and key not in ANNOTATIONS:
            raise refuse(
                f"{where} metadata.annotations", found=key, allowed=f"one of {', '.join(ANNOTATIONS)} is allowed"
            )


def _window(window: TimeWindow, where: str) -> tuple[int, dict[str, Any] | None]:
    count, unit = int(window.duration[:-1]), window.duration[-1]
    if window.calendar is None:
        return count * {"d": 1, "w": 7}[unit], None
    try:
        ZoneInfo(window.calendar.timeZone)
        start = datetime.fromisoformat(window.calendar.startTime)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise refuse(
            f"{where}.calendar", found=str(error), allowed="a date, a time and an IANA time zone are allowed"
        ) from None
    calendar = {"count": count, "unit": unit, "start": start.isoformat(), "zone": window.calendar.timeZone}
    return CalendarWindow(count, unit, start, window.calendar.timeZone).length.days, calendar  # type: ignore[arg-type]


def _indicator(ratio: RatioMetric, where: str) -> tuple[dict[str, Any], str, DataSource | None]:
    """Return what is counted, the source type and, for Prometheus, the source."""
    good, total = ratio.good.metricSource, ratio.total.metricSource
    path = f"{where} spec.indicator.spec.ratioMetric"
    if good.kind != total.kind or good.metricSourceRef != total.metricSourceRef:
        raise refuse(path, found="two sources", allowed="good and total must come from the same source")
    if good.kind == "prometheus":
        queries = [
            parse_document(PrometheusQuery, side.spec, source=f"{path}.{name}").query
            for name, side in (("good", good), ("total", total))
        ]
        data_source = DataSource.objects.filter(slug=good.metricSourceRef or "").first()
        if data_source is None:
            raise refuse(
                f"{path}.good.metricSource.metricSourceRef",
                found=str(good.metricSourceRef),
                allowed="the name of a DataSource is allowed",
            )
        return {"good": queries[0], "total": queries[1]}, "prometheus", data_source
    good_query = parse_document(OtlpQuery, good.spec, source=f"{path}.good")
    total_query = parse_document(OtlpQuery, total.spec, source=f"{path}.total")
    narrower = (
        good_query.metric == total_query.metric
        and good_query.span == total_query.span
        and total_query.le is None
        and total_query.resource.items() <= good_query.resource.items()
        and total_query.where.items() <= good_query.where.items()
    )
    if not narrower:
        raise refuse(
            f"{path}.good", found="another population", allowed="good must narrow total: the same metric or span"
        )
    return {"good": good_query.model_dump(), "total": total_query.model_dump()}, "otlp", None


def _tiers(annotation: str, target: Decimal, window_days: int, where: str) -> list[BurnTier]:
    """Return the alert tiers: of the annotation, or the workbook's for the window, leaving out what can never fire."""
    if annotation:
        path = f"{where} metadata.annotations[{TIERS_ANNOTATION}]"
        return [_tier(text.strip(), target, path) for text in annotation.split(";")]
    window = timedelta(days=window_days)
    tiers = []
    for name, severity, minutes, share in STANDARD:
        threshold = burn_rate_threshold(budget_share=share, window=window, long_window=timedelta(minutes=minutes))
        tiers.append(BurnTier(name, severity, minutes, minutes // 12, round(threshold, 4), minimum_events=10))
    return [tier for tier in tiers if 1 <= round(tier.threshold, 1) < highest_burn_rate(target)]


def _policy_tier(policy: PolicyRef | InlinePolicy, target: Decimal, where: str) -> BurnTier:
    """Return the tier of an alert policy's one condition.

    The format knows one window; the short one is a twelfth of it, or what the annotation of policy or condition says.
    """
    if isinstance(policy, PolicyRef):
        named = _named(AlertPolicyDocument, "AlertPolicy", policy.alertPolicyRef, f"{where}[].alertPolicyRef")
        metadata, spec = named.metadata, named.spec
    else:
        metadata, spec = policy.metadata, policy.spec
    condition = spec.conditions[0]
    resolved: InlineCondition | AlertConditionDocument
    if isinstance(condition, ConditionRef):
        path = f"AlertPolicy {metadata.name} spec.conditions[0].conditionRef"
        resolved = _named(AlertConditionDocument, "AlertCondition", condition.conditionRef, path)
    else:
        resolved = condition
    annotations = {**resolved.metadata.annotations, **metadata.annotations}
    _refuse_unknown_annotations(annotations, f"AlertPolicy {metadata.name}")
    burn = resolved.spec.condition
    long = _minutes(burn.lookbackWindow)
    short_text = annotations.get(SHORT_WINDOW_ANNOTATION, "")
    if short_text and not re.fullmatch(r"[1-9][0-9]{0,3}[mhdw]", short_text):
        raise refuse(
            f"AlertPolicy {metadata.name} metadata.annotations[{SHORT_WINDOW_ANNOTATION}]",
            found=short_text,
            allowed="a duration as 5m is allowed; windows are of whole minutes",
        )
    minimum = annotations.get(MINIMUM_EVENTS_ANNOTATION, "1")
    if not re.fullmatch(r"[1-9][0-9]{0,8}", minimum):
        raise refuse(
            f"AlertPolicy {metadata.name} metadata.annotations[{MINIMUM_EVENTS_ANNOTATION}]",
            found=minimum,
            allowed="a whole number from 1 is allowed",
        )
    severity = SEVERITIES.get(resolved.spec.severity, resolved.spec.severity)
    short = _minutes(short_text) if short_text else max(long // 12, 1)
    tier = BurnTier(metadata.name, severity, long, short, burn.threshold, int(minimum))
    return _possible(tier, target, f"AlertPolicy {metadata.name}", burn.lookbackWindow)


_TIER = re.compile(
    r"(?P<name>[a-z0-9-]{1,40}) (?P<severity>critical|warning|info) "
    r"(?P<long>[1-9][0-9]*[mhd])/(?P<short>[1-9][0-9]*[mhd])"
    r" >(?P<threshold>[0-9]+(\.[0-9]+)?)( min (?P<minimum>[1-9][0-9]*))?"
)


def _tier(text: str, target: Decimal, where: str) -> BurnTier:
    match = _TIER.fullmatch(text)
    if match is None:
        raise refuse(
            where, found=text, allowed="tiers as `fast critical 1h/5m >14.4 min 10`, divided by `;`, are allowed"
        )
    tier = BurnTier(
        match["name"],
        match["severity"],
        _minutes(match["long"]),
        _minutes(match["short"]),
        float(match["threshold"]),
        int(match["minimum"] or 1),
    )
    return _possible(tier, target, where, text)


def _possible(tier: BurnTier, target: Decimal, where: str, found: str) -> BurnTier:
    """Return the tier, or refuse one that cannot work."""
    if tier.short_minutes >= tier.long_minutes:
        raise refuse(where, found=found, allowed="the short window must be shorter than the long one")
    if tier.threshold >= highest_burn_rate(target):
        raise refuse(
            where,
            found=found,
            allowed=f"with target {target} a burn rate of {highest_burn_rate(target):.4g} is the highest there is; "
            "this tier could never fire",
        )
    return tier


def _minutes(duration: str) -> int:
    return int(duration[:-1]) * MINUTES[duration[-1]]
