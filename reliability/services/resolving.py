"""Turn an SLO document, with what it refers to, into what is counted, promised and alerted on."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from core.parsing import LineIndex, parse_document, refuse
from reliability.domain.alerting import BurnTier
from reliability.domain.composites import weighted_target
from reliability.domain.objectives import ExclusionRule, Method, Objective
from reliability.domain.windows import RollingWindow, Window, window_from_json
from reliability.models import COMPOSITE, DataSource, Definition
from reliability.services.openslo import (
    MINUTES,
    Indicator,
    MetricSource,
    RatioMetric,
    SLIDocument,
    SLISpec,
    SLODocument,
    TimeWindow,
)
from reliability.services.openslo import Objective as WrittenObjective
from reliability.services.openslo_queries import OtlpQuery, ProbeQuery, PrometheusQuery
from reliability.services.probe_requests import address_of
from reliability.services.tiers import PREFIX, policy_tier, refuse_unknown_annotations, standard_tiers, written_tiers

BURN_TIERS = f"{PREFIX}burn-tiers"
WINDOWS = f"{PREFIX}windows"
GROUP_BY = f"{PREFIX}group-by"
EXCLUSIONS = f"{PREFIX}exclusions"
BUCKETS = f"{PREFIX}keep-buckets"
SLO_ANNOTATIONS = (BURN_TIERS, WINDOWS, GROUP_BY, EXCLUSIONS, BUCKETS)


RAW_UNITS = 1_000_000


@dataclass(frozen=True)
class Counted:
    """What is counted, and from where."""

    indicator: dict[str, Any]
    source_type: str
    data_source: DataSource | None = None


@dataclass(frozen=True)
class Resolved:
    """An SLO with nothing left to look up; of a composite one, what its parts count, in the order of objectives."""

    counted: Counted
    objectives: tuple[Objective, ...]
    windows: tuple[dict[str, Any], ...]
    method: Method
    tiers: tuple[BurnTier, ...]
    exclusion_rule: ExclusionRule
    parts: tuple[Counted, ...] = ()
    warnings: list[str] = field(default_factory=list, compare=False)

    @property
    def window(self) -> Window:
        """The window that is alerted on."""
        return window_from_json(self.windows[0])

    @property
    def target(self) -> Decimal:
        """The target that is alerted on: of the first objective, of a composite SLO the weighted mean."""
        return weighted_target(self.objectives) if self.parts else self.objectives[0].target

    def as_json(self) -> dict[str, Any]:
        """Return what tells one definition from another."""
        return {
            "indicators": [[one.indicator, _source(one)] for one in (self.counted, *self.parts)],
            "tiers": [vars(tier) for tier in self.tiers],
        }


@dataclass(frozen=True)
class Place:
    """A place in a document, for messages that say where."""

    source: str
    lines: LineIndex | None = None
    path: tuple[str | int, ...] = ()

    def down(self, *keys: str | int) -> "Place":
        """Return a place further inside."""
        return Place(self.source, self.lines, (*self.path, *keys))

    def __str__(self) -> str:
        line = self.lines.line_of(self.path) if self.lines is not None else None
        path = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in self.path).lstrip(".")
        return f"{self.source}{f':{line}' if line else ''} {path}".rstrip()


def resolve(document: SLODocument, where: str, lines: LineIndex | None = None) -> Resolved:
    """Return what a document says. Raises InputRefusedError for what cannot be counted or could never fire."""
    spec, annotations = document.spec, document.metadata.annotations
    refuse_unknown_annotations(annotations, SLO_ANNOTATIONS, where)
    options = _counting_options(annotations, where)
    place = Place(where, lines, ("spec",))
    parts: tuple[Counted, ...] = ()
    if spec.is_composite:
        parts = tuple(
            _of_indicator(one.indicator or one.indicatorRef, one, place.down("objectives", number), options)
            for number, one in enumerate(spec.objectives)
        )
        slugs = [f"{document.metadata.name}--part-{number}" for number in range(1, len(parts) + 1)]
        counted = Counted({"parts": slugs}, COMPOSITE)
    else:
        slugs = [""] * len(spec.objectives)
        counted = _of_indicator(spec.indicator or spec.indicatorRef, spec.objectives[0], place, options)
        if "value" in counted.indicator and len(spec.objectives) > 1:
            raise refuse(
                f"{where} spec.objectives", found=f"{len(spec.objectives)}", allowed="a threshold metric has one"
            )
    objectives = _objectives(spec.objectives, slugs, where)
    windows = _windows(spec.timeWindow[0], annotations.get(WINDOWS, ""), where)
    target = weighted_target(objectives) if parts else objectives[0].target
    warnings: list[str] = []
    if "keep_buckets" in options and "prometheus" in {counted.source_type, *(one.source_type for one in parts)}:
        warnings.append(
            f"{where}: {BUCKETS} keeps the buckets of histograms that are sent; a source is not asked for them."
        )
    return Resolved(
        counted,
        objectives,
        windows,
        Method(spec.budgetingMethod),
        _tiers(document, target, window_from_json(windows[0]).length, where, warnings),
        _exclusion_rule(annotations, where),
        parts,
        warnings,
    )


def ensure_sli_can_be_counted(spec: SLISpec, where: str, lines: LineIndex) -> None:
    """Refuse an SLI whose queries cannot be counted; the DataSource must have been applied."""
    place = Place(where, lines, ("spec",))
    if spec.ratioMetric is not None:
        _ratio(spec.ratioMetric, place.down("ratioMetric"), {})
    elif spec.thresholdMetric is not None:
        _query(spec.thresholdMetric.metricSource, place.down("thresholdMetric", "metricSource"))


def _source(counted: Counted) -> str:
    return counted.data_source.slug if counted.data_source else counted.source_type


def _of_indicator(
    indicator: Indicator | str | None, objective: WrittenObjective, place: Place, options: dict[str, Any]
) -> Counted:
    """Return what an indicator, in place or by name, counts."""
    if isinstance(indicator, Indicator):
        return _count(indicator.spec, objective, place.down("indicator", "spec"), options)
    known = Definition.objects.filter(kind="SLI", slug=indicator or "").first()
    if known is None:
        raise refuse(
            str(place.down("indicatorRef")),
            found=str(indicator),
            allowed="the name of an SLI that was applied is allowed",
        )
    document = parse_document(SLIDocument, known.document, source=f"SLI {indicator}")
    return _count(document.spec, objective, Place(f"SLI {indicator}", None, ("spec",)), options)


def _count(spec: SLISpec, objective: WrittenObjective, place: Place, options: dict[str, Any]) -> Counted:
    if spec.ratioMetric is not None:
        if objective.op is not None:
            raise refuse(f"{place.source} objectives", found="op and value", allowed="a ratio metric has neither")
        return _ratio(spec.ratioMetric, place.down("ratioMetric"), options)
    if objective.op is None or spec.thresholdMetric is None:
        raise refuse(f"{place.source} objectives", found="no op and value", allowed="a threshold metric needs both")
    source = spec.thresholdMetric.metricSource
    if source.kind == "probe":
        raise refuse(str(place), found="a threshold metric of probes", allowed="a ratio metric is allowed: `within`")
    query, data_source = _query(source, place.down("thresholdMetric", "metricSource"))
    indicator = {
        "value": query,
        "op": objective.op,
        "threshold": objective.value,
        **_options(options, query),
    }
    return Counted(indicator, source.kind, data_source)


def _ratio(ratio: RatioMetric, place: Place, options: dict[str, Any]) -> Counted:
    """Return good (or bad) and total, which must come from one source."""
    if ratio.raw is not None:
        return _raw(ratio.raw.metricSource, place.down("raw", "metricSource"), failures=ratio.rawType == "failure")
    name = "good" if ratio.good is not None else "bad"
    side = ratio.good or ratio.bad
    if side is None or ratio.total is None:
        raise refuse(str(place), found="neither", allowed="total with good or bad is needed")
    part, total = side.metricSource, ratio.total.metricSource
    if part.kind == "probe" and ratio.good is None:
        raise refuse(str(place), found="bad", allowed="probes are counted by total and good")
    if part.kind != total.kind or part.metricSourceRef != total.metricSourceRef:
        raise refuse(str(place), found="two sources", allowed=f"{name} and total must come from the same source")
    part_query, data_source = _query(part, place.down(name, "metricSource"))
    total_query, _ = _query(total, place.down("total", "metricSource"))
    if isinstance(part_query, dict) and not _narrows(part_query, total_query):
        raise refuse(
            str(place.down(name)),
            found="another population",
            allowed=f"{name} must narrow total: the same metric, span or probe",
        )
    return Counted(
        {name: part_query, "total": total_query, **_options(options, part_query, total_query)}, part.kind, data_source
    )


def _raw(source: MetricSource, place: Place, *, failures: bool) -> Counted:
    """Return a ratio that the source made as a million units a minute: approximate, each minute weighing the same."""
    query, data_source = _query(source, place)
    if not isinstance(query, str):
        raise refuse(
            str(place),
            found=source.kind,
            allowed="a ratio that is sent here has lost its events: send the counters, and give total with good or bad",
        )
    mean = f"avg(avg_over_time(({query})[$window:10s]))"
    units = {
        "bad" if failures else "good": f"{RAW_UNITS} * clamp({mean}, 0, 1)",
        "total": f"{RAW_UNITS} * clamp({mean}, 1, 1)",
    }
    return Counted({**units, "raw": query, "expression": True}, source.kind, data_source)


def _narrows(part: dict[str, Any], total: dict[str, Any]) -> bool:
    if "every_seconds" in total:
        return total["within_seconds"] is None and part | {"within_seconds": None} == total
    return (
        part["metric"] == total["metric"]
        and part["span"] == total["span"]
        and total["le"] is None
        and total["resource"].items() <= part["resource"].items()
        and total["where"].items() <= part["where"].items()
    )


def _query(source: MetricSource, place: Place) -> tuple[Any, DataSource | None]:
    """Return what a metric source asks for, as plain values, and the server that it asks."""
    inside = place.down("spec")
    if source.kind == "otlp":
        query = parse_document(OtlpQuery, source.spec, source=place.source, lines=place.lines, prefix=inside.path)
        return query.model_dump(), None
    if source.kind == "probe":
        probe = parse_document(ProbeQuery, source.spec, source=place.source, lines=place.lines, prefix=inside.path)
        counted = probe.as_counted()
        try:
            address_of(counted["kind"], counted["target"])
        except ValueError:
            raise refuse(str(inside), found=counted["target"], allowed="http://host/path, or host:port") from None
        return counted, None
    selector = parse_document(PrometheusQuery, source.spec, source=place.source, lines=place.lines, prefix=inside.path)
    data_source = DataSource.objects.filter(slug=source.metricSourceRef or "").first()
    if data_source is None:
        raise refuse(
            str(place.down("metricSourceRef")),
            found=str(source.metricSourceRef),
            allowed="the name of a DataSource that was applied is allowed",
        )
    return selector.query, data_source


def _options(options: dict[str, Any], *queries: Any) -> dict[str, Any]:
    """Return the options, with a mark where PromQL is more than a selector: what it answers is approximate."""
    written = [query for query in queries if isinstance(query, str)]
    exact = all(PrometheusQuery(query=query).is_selector for query in written)
    return options if exact else options | {"expression": True}


def _counting_options(annotations: dict[str, str], where: str) -> dict[str, Any]:
    """Return what else counting must know: the labels that make groups, and whether buckets are kept."""
    options: dict[str, Any] = {}
    if text := annotations.get(GROUP_BY, ""):
        labels = [one.strip() for one in text.split(",")]
        if not all(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]{0,99}", one) for one in labels) or len(labels) > 3:
            raise refuse(
                f"{where} metadata.annotations[{GROUP_BY}]",
                found=text,
                allowed="up to three label names, divided by commas, are allowed",
            )
        options["group_by"] = labels
    if text := annotations.get(BUCKETS, ""):
        if text not in {"true", "false"}:
            raise refuse(f"{where} metadata.annotations[{BUCKETS}]", found=text, allowed="true or false is allowed")
        if text == "true":
            options["keep_buckets"] = True
    return options


def _objectives(written: Sequence[WrittenObjective], slugs: list[str], where: str) -> tuple[Objective, ...]:
    names = [
        one.displayName or (f"objective-{number}" if len(written) > 1 else "")
        for number, one in enumerate(written, start=1)
    ]
    if len(set(names)) != len(names):
        raise refuse(f"{where} spec.objectives", found=", ".join(names), allowed="each displayName may stand once")
    return tuple(
        Objective(
            name,
            one.ratio,
            one.slice_minutes,
            one.timeSliceTarget,
            one.op or "",
            one.value,
            one.compositeWeight or 1.0,
            slug,
        )
        for name, one, slug in zip(names, written, slugs, strict=True)
    )


def written_window(text: str, where: str) -> Window:
    """Return the rolling window that a duration names. Raises InputRefusedError."""
    if not re.fullmatch(r"[1-9][0-9]{0,3}[mhdw]", text):
        raise refuse(where, found=text, allowed="rolling windows as `7d; 90d` are allowed")
    return RollingWindow(timedelta(minutes=int(text[:-1]) * MINUTES[text[-1]]))


def _windows(window: TimeWindow, more: str, where: str) -> tuple[dict[str, Any], ...]:
    """Return the window of the document, and the rolling ones of the annotation."""
    windows = [_window(window, f"{where} spec.timeWindow[0]")]
    for text in (one.strip() for one in more.split(";") if one.strip()):
        length = written_window(text, f"{where} metadata.annotations[{WINDOWS}]").length
        windows.append({"minutes": length // timedelta(minutes=1)})
    return tuple(windows)


def _window(window: TimeWindow, where: str) -> dict[str, Any]:
    count, unit = int(window.duration[:-1]), window.duration[-1]
    if window.calendar is None:
        return {"minutes": count * MINUTES[unit]}
    try:
        ZoneInfo(window.calendar.timeZone)
        start = datetime.fromisoformat(window.calendar.startTime)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise refuse(
            f"{where}.calendar", found=str(error), allowed="a date, a time and an IANA time zone are allowed"
        ) from None
    return {"count": count, "unit": unit, "start": start.isoformat(), "zone": window.calendar.timeZone}


def _exclusion_rule(annotations: dict[str, str], where: str) -> ExclusionRule:
    text = annotations.get(EXCLUSIONS, ExclusionRule.DROP_EVENTS.value)
    try:
        return ExclusionRule(text)
    except ValueError:
        raise refuse(
            f"{where} metadata.annotations[{EXCLUSIONS}]",
            found=text,
            allowed=f"one of {', '.join(ExclusionRule)} is allowed",
        ) from None


def _tiers(
    document: SLODocument, target: Decimal, window: timedelta, where: str, warnings: list[str]
) -> tuple[BurnTier, ...]:
    """Return the tiers on the first objective and window."""
    policies, written = document.spec.alertPolicies, document.metadata.annotations.get(BURN_TIERS, "")
    place = f"{where} metadata.annotations[{BURN_TIERS}]"
    if written and policies:
        raise refuse(place, found="tiers beside alertPolicies", allowed="one of the two is allowed")
    if policies:
        found = [policy_tier(one, target, window, f"{where} spec.alertPolicies", warnings) for one in policies]
        tiers = [tier for tier in found if tier is not None]
    elif written == "none":
        tiers = []
    elif written:
        tiers = written_tiers(written, target, window, place)
    else:
        tiers = standard_tiers(target, window)
    names = [tier.name for tier in tiers]
    if len(set(names)) != len(names):
        raise refuse(f"{where} alert policies", found=", ".join(names), allowed="each name may stand once")
    return tuple(tiers)


__all__ = ["Counted", "Place", "Resolved", "ensure_sli_can_be_counted", "resolve", "written_window"]
