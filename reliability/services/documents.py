"""SLOs as OpenSLO v1 documents: what a file may say, and applying it whole or not at all."""

import hashlib
import re
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, Literal

import orjson
from django.db import transaction
from pydantic import BaseModel, ConfigDict, Field, model_validator

from accounts.data import Capability, Principal
from accounts.services import ensure_may
from catalog.selectors import service_by_slug
from core.clock import database_now
from core.parsing import InputRefusedError, LineIndex, Problem, parse_document, refuse
from ledger.data.slo import SloDeclared
from ledger.services import record
from reliability.domain.alerting import BurnTier
from reliability.domain.budgets import burn_rate_threshold, highest_burn_rate
from reliability.models import SLO, DataSource, SLOVersion

TIERS_ANNOTATION = "assay.dev/burn-tiers"
DAYS = {"d": 1, "w": 7}
DURATION_MINUTES = {"m": 1, "h": 60, "d": 1440}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Metadata(_Strict):
    """The name and title of a thing."""

    name: str = Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,118}[a-z0-9])?$")
    displayName: str = ""  # noqa: N815 the format's own spelling
    labels: dict[str, str | list[str]] = {}
    annotations: dict[str, str] = {}


class OtlpQuery(_Strict):
    """Points of an OpenTelemetry metric, or spans: by resource and point attributes, and for histograms up to `le`."""

    metric: str = ""
    span: str = ""
    resource: dict[str, str] = {}
    where: dict[str, str] = {}
    le: float | None = None

    @model_validator(mode="after")
    def _one_signal(self) -> "OtlpQuery":
        if bool(self.metric) == bool(self.span):
            raise ValueError("name either a metric or a span")
        return self


class PrometheusQuery(_Strict):
    """A series selector of counters, as `http_requests_total{code!~"5.."}`."""

    query: str = Field(pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]*(\{[^{}]*\})?$", max_length=1000)


class MetricSource(_Strict):
    """Where a side of the ratio comes from."""

    type: Literal["otlp", "prometheus"]
    metricSourceRef: str | None = None  # noqa: N815
    spec: dict[str, Any]


class Side(_Strict):
    """Good or total."""

    metricSource: MetricSource  # noqa: N815


class RatioMetric(_Strict):
    """Good events over all events."""

    counter: Literal[True]
    good: Side
    total: Side


class SLISpec(_Strict):
    """An indicator."""

    description: str = ""
    ratioMetric: RatioMetric  # noqa: N815


class Indicator(_Strict):
    """An inline indicator."""

    metadata: Metadata
    spec: SLISpec


class TimeWindow(_Strict):
    """A rolling window of days or weeks."""

    duration: str = Field(pattern=r"^[1-9][0-9]{0,2}[dw]$")
    isRolling: Literal[True]  # noqa: N815


class Objective(_Strict):
    """The share of events that must be good."""

    displayName: str = ""  # noqa: N815
    target: Decimal = Field(gt=0, lt=1, max_digits=9, decimal_places=8)


class SLOSpec(_Strict):
    """An SLO."""

    description: str = Field(default="", max_length=1050)
    service: str
    indicator: Indicator
    timeWindow: list[TimeWindow] = Field(min_length=1, max_length=1)  # noqa: N815
    budgetingMethod: Literal["Occurrences"]  # noqa: N815
    objectives: list[Objective] = Field(min_length=1, max_length=1)


class SLODocument(_Strict):
    """`kind: SLO`."""

    apiVersion: Literal["openslo/v1"]  # noqa: N815
    kind: Literal["SLO"]
    metadata: Metadata
    spec: SLOSpec


class ConnectionDetails(_Strict):
    """How to reach a Prometheus server."""

    url: str = Field(pattern=r"^https?://")
    allowPrivate: bool = False  # noqa: N815


class DataSourceSpec(_Strict):
    """A metric store."""

    description: str = ""
    type: Literal["prometheus"]
    connectionDetails: ConnectionDetails  # noqa: N815


class DataSourceDocument(_Strict):
    """`kind: DataSource`."""

    apiVersion: Literal["openslo/v1"]  # noqa: N815
    kind: Literal["DataSource"]
    metadata: Metadata
    spec: DataSourceSpec


KINDS: dict[str, type[SLODocument | DataSourceDocument]] = {"DataSource": DataSourceDocument, "SLO": SLODocument}


@transaction.atomic
def apply_documents(
    *, principal: Principal, documents: Sequence[tuple[Any, LineIndex]], source: str = "slo"
) -> dict[str, list[str]]:
    """Create or update data sources and SLOs, all or nothing; returns names by `created`, `changed`, `unchanged`.

    A changed definition becomes a new version with counts of its own. Raises InputRefusedError.
    """
    parsed: list[tuple[SLODocument | DataSourceDocument, Any]] = []
    problems: list[Problem] = []
    for number, (data, lines) in enumerate(documents, start=1):
        where = source if len(documents) == 1 else f"{source} document {number}"
        kind = data.get("kind") if isinstance(data, dict) else None
        model = KINDS.get(kind) if isinstance(kind, str) else None
        if model is None:
            allowed = f"one of {', '.join(KINDS)} is allowed"
            problems.append(Problem(where=f"{where} kind", found=str(kind), allowed=allowed))
            continue
        try:
            parsed.append((parse_document(model, data, source=where, lines=lines), data))
        except InputRefusedError as error:
            problems.extend(error.problems)
    if problems:
        raise InputRefusedError(problems)
    outcome: dict[str, list[str]] = {"created": [], "changed": [], "unchanged": []}
    for document, data in sorted(parsed, key=lambda item: list(KINDS).index(item[0].kind)):
        if isinstance(document, DataSourceDocument):
            outcome[_apply_source(principal, document)].append(f"DataSource {document.metadata.name}")
        else:
            outcome[_apply_slo(principal, document, data, source)].append(f"SLO {document.metadata.name}")
    return outcome


def _apply_source(principal: Principal, document: DataSourceDocument) -> str:
    ensure_may(principal, Capability.SLO_EDIT)
    details = document.spec.connectionDetails
    values = {
        "name": document.metadata.displayName or document.metadata.name,
        "url": details.url,
        "allow_private": details.allowPrivate,
    }
    known = DataSource.objects.filter(slug=document.metadata.name).first()
    if known is None:
        DataSource.objects.create(slug=document.metadata.name, **values)
        return "created"
    if all(getattr(known, name) == value for name, value in values.items()):
        return "unchanged"
    DataSource.objects.filter(pk=known.pk).update(**values)
    return "changed"


def _apply_slo(principal: Principal, document: SLODocument, data: Any, source: str) -> str:
    spec, name = document.spec, document.metadata.name
    where = f"{source} SLO {name}"
    service = service_by_slug(slug=spec.service)
    if service is None:
        raise refuse(
            f"{where} spec.service", found=spec.service, allowed="the slug of a service of the catalog is allowed"
        )
    ensure_may(principal, Capability.SLO_EDIT, team_id=service.team_id)
    indicator, source_type, data_source = _indicator(spec.indicator.spec.ratioMetric, where)
    target = spec.objectives[0].target
    window_days = int(spec.timeWindow[0].duration[:-1]) * DAYS[spec.timeWindow[0].duration[-1]]
    tiers = _tiers(document.metadata.annotations.get(TIERS_ANNOTATION, ""), target, window_days, where)
    labels = {
        key: value if isinstance(value, str) else ", ".join(value) for key, value in document.metadata.labels.items()
    }
    slo, created = SLO.objects.update_or_create(
        slug=name,
        defaults={
            "name": document.metadata.displayName or name,
            "description": spec.description,
            "service": service,
            "labels": labels,
        },
    )
    raw = orjson.dumps(data, option=orjson.OPT_SORT_KEYS)
    digest = hashlib.sha256(raw).hexdigest()
    in_force = SLOVersion.objects.select_for_update().filter(slo=slo, retired_at__isnull=True).first()
    if in_force is not None and in_force.definition_sha256 == digest:
        return "unchanged"
    now = database_now()
    if in_force is not None:
        SLOVersion.objects.filter(pk=in_force.pk).update(retired_at=now)
    version = SLOVersion.objects.create(
        slo=slo,
        number=in_force.number + 1 if in_force else 1,
        definition=data,
        definition_sha256=digest,
        indicator=indicator,
        source_type=source_type,
        data_source=data_source,
        target=target,
        window_days=window_days,
        tiers=[vars(tier) for tier in tiers],
        effective_from=now,
    )
    record(
        SloDeclared(
            slo=name,
            service=service.slug,
            definition_version=version.number,
            definition_sha256=digest,
            target=str(target),
            window_seconds=window_days * 86_400,
            budgeting_method="Occurrences",
        ),
        actor=principal.reference,
        subject=f"slo:{name}",
    )
    return "created" if created else "changed"


def _indicator(ratio: RatioMetric, where: str) -> tuple[dict[str, Any], str, DataSource | None]:
    """Return what is counted, the source type and, for Prometheus, the source."""
    good, total = ratio.good.metricSource, ratio.total.metricSource
    path = f"{where} spec.indicator.spec.ratioMetric"
    if good.type != total.type or good.metricSourceRef != total.metricSourceRef:
        raise refuse(path, found="two sources", allowed="good and total must come from the same source")
    if good.type == "prometheus":
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
    window = timedelta(days=window_days)
    if not annotation:
        standard = (("fast", "critical", 60, 0.02), ("slow", "critical", 360, 0.05), ("ticket", "warning", 4320, 0.10))
        tiers = [
            BurnTier(
                name,
                severity,
                minutes,
                minutes // 12,
                round(
                    burn_rate_threshold(budget_share=share, window=window, long_window=timedelta(minutes=minutes)), 4
                ),
                minimum_events=10,
            )
            for name, severity, minutes, share in standard
        ]
        return [tier for tier in tiers if 1 <= tier.threshold < highest_burn_rate(target)]
    return [
        _tier(text.strip(), target, f"{where} metadata.annotations[{TIERS_ANNOTATION}]")
        for text in annotation.split(";")
    ]


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
    long, short = (int(match[side][:-1]) * DURATION_MINUTES[match[side][-1]] for side in ("long", "short"))
    threshold = float(match["threshold"])
    if short >= long:
        raise refuse(where, found=text, allowed="the short window must be shorter than the long one")
    if threshold >= highest_burn_rate(target):
        raise refuse(
            where,
            found=text,
            allowed=f"with target {target} a burn rate of {highest_burn_rate(target):.4g} is the highest there is; "
            "this tier could never fire",
        )
    return BurnTier(match["name"], match["severity"], long, short, threshold, int(match["minimum"] or 1))
