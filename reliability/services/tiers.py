"""The alert tiers of an SLO: of its policies, its annotation, or the usual table. Impossible ones are refused."""

import re
from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from typing import NamedTuple

from core.parsing import parse_document, refuse
from reliability.domain.alerting import BurnTier
from reliability.domain.budgets import burn_rate_threshold, highest_burn_rate
from reliability.domain.significance import binomial_tail
from reliability.models import Definition
from reliability.services.openslo import (
    MINUTES,
    AlertConditionDocument,
    AlertPolicyDocument,
    ConditionRef,
    InlineCondition,
    InlinePolicy,
    PolicyRef,
    TargetRef,
)

PREFIX = "assay.dev/"
SHORT_WINDOW = f"{PREFIX}short-window"
MINIMUM_EVENTS = f"{PREFIX}minimum-events"
SIGNIFICANCE = f"{PREFIX}significance"
BUDGET_SHARE = f"{PREFIX}budget-share"
POLICY_ANNOTATIONS = (SHORT_WINDOW, MINIMUM_EVENTS, SIGNIFICANCE, BUDGET_SHARE)
SEVERITIES = {"page": "critical", "ticket": "warning"}


class StandardTier(NamedTuple):
    """A row of the table: within the long window, this share of the window's budget."""

    name: str
    severity: str
    long_minutes: int
    budget_share: float


# Workbook, table 5-8, and the day's row that is in general use beside it.
STANDARD = (
    StandardTier("fast", "critical", 60, 0.02),
    StandardTier("slow", "critical", 360, 0.05),
    StandardTier("day", "warning", 1440, 0.10),
    StandardTier("ticket", "warning", 4320, 0.10),
)
STANDARD_MINIMUM_EVENTS = 10
STANDARD_ALPHA = 0.01


def standard_tiers(target: Decimal, window: timedelta) -> list[BurnTier]:
    """Return the usual tiers for a window, without those that can never fire or would fire at the allowed rate."""
    tiers = []
    for row in STANDARD:
        threshold = burn_rate_threshold(
            budget_share=row.budget_share, window=window, long_window=timedelta(minutes=row.long_minutes)
        )
        tiers.append(
            BurnTier(
                row.name,
                row.severity,
                row.long_minutes,
                row.long_minutes // 12,
                round(threshold, 4),
                minimum_events=STANDARD_MINIMUM_EVENTS,
                alpha=STANDARD_ALPHA,
            )
        )
    return [tier for tier in tiers if 1 <= round(tier.threshold, 1) < highest_burn_rate(target)]


_TIER = re.compile(
    r"(?P<name>[a-z0-9-]{1,40}) (?P<severity>critical|warning|info) "
    r"(?P<long>[1-9][0-9]{0,3}[mhdw])/(?P<short>[1-9][0-9]{0,3}[mhdw])"
    r"(?: (?P<op>>=?)(?P<threshold>[0-9]+(?:\.[0-9]+)?))?(?: share (?P<share>[0-9]+(?:\.[0-9]+)?)%)?"
    r"(?: min (?P<minimum>[1-9][0-9]*))?(?: p (?P<alpha>0?\.[0-9]+))?(?: for (?P<wait>[0-9]+[mhd]))?"
)


def written_tiers(text: str, target: Decimal, window: timedelta, where: str) -> list[BurnTier]:
    """Return tiers that are written in one line, divided by `;`."""
    return [_written_tier(one.strip(), target, window, where) for one in text.split(";")]


def tiers_as_text(tiers: Iterable[BurnTier]) -> str:
    """Return tiers as `written_tiers` reads them; what only an alert policy can say is left out."""
    return "; ".join(_tier_as_text(tier) for tier in tiers)


def _tier_as_text(tier: BurnTier) -> str:
    words = [tier.name, tier.severity, f"{_duration(tier.long_minutes)}/{_duration(tier.short_minutes)}"]
    if tier.budget_share is not None:
        words.append(f"share {tier.budget_share * 100:g}%")
    else:
        words.append(f"{'>=' if tier.inclusive else '>'}{Decimal(repr(tier.threshold)).normalize():f}")
    if tier.minimum_events > 1:
        words.append(f"min {tier.minimum_events}")
    if tier.alpha is not None:
        words.append(f"p {tier.alpha:g}")
    if tier.wait_minutes:
        words.append(f"for {_duration(tier.wait_minutes)}")
    return " ".join(words)


def _duration(minutes: int) -> str:
    for unit in ("d", "h"):
        if minutes % MINUTES[unit] == 0:
            return f"{minutes // MINUTES[unit]}{unit}"
    return f"{minutes}m"


def _written_tier(text: str, target: Decimal, window: timedelta, where: str) -> BurnTier:
    match = _TIER.fullmatch(text)
    if match is None or (match["threshold"] is None) == (match["share"] is None):
        raise refuse(
            where,
            found=text,
            allowed="tiers as `fast critical 1h/5m >14.4 min 10 p 0.01 for 2m`, with `share 2%` in place of `>14.4` to "
            "follow the traffic, divided by `;`, are allowed",
        )
    long = _minutes(match["long"])
    share = float(match["share"]) / 100 if match["share"] else None
    threshold = (
        float(match["threshold"])
        if match["threshold"]
        else round(burn_rate_threshold(budget_share=share or 0, window=window, long_window=_length(long)), 6)
    )
    tier = BurnTier(
        match["name"],
        match["severity"],
        long,
        _minutes(match["short"]),
        threshold,
        minimum_events=int(match["minimum"] or 1),
        alpha=float(match["alpha"]) if match["alpha"] else None,
        budget_share=share,
        wait_minutes=_minutes(match["wait"]) if match["wait"] else 0,
        inclusive=match["op"] == ">=",
    )
    return _possible(tier, target, window, where, text)


def policy_tier(
    policy: PolicyRef | InlinePolicy, target: Decimal, window: timedelta, where: str, warnings: list[str]
) -> BurnTier | None:
    """Return the tier of an alert policy's one condition; None where the policy alerts on nothing.

    The format knows one window; the short one is a twelfth of it, or what the annotation of policy or condition says.
    """
    if isinstance(policy, PolicyRef):
        named = _named_policy(policy.alertPolicyRef, f"{where}[].alertPolicyRef")
        metadata, spec = named.metadata, named.spec
    else:
        metadata, spec = policy.metadata, policy.spec
    for notify in spec.notificationTargets:
        if isinstance(notify, TargetRef):
            _known("AlertNotificationTarget", notify.targetRef, f"AlertPolicy {metadata.name} spec.notificationTargets")
    condition = spec.conditions[0]
    resolved: InlineCondition | AlertConditionDocument
    if isinstance(condition, ConditionRef):
        path = f"AlertPolicy {metadata.name} spec.conditions[0].conditionRef"
        document = _known("AlertCondition", condition.conditionRef, path)
        resolved = parse_document(AlertConditionDocument, document, source=f"AlertCondition {condition.conditionRef}")
    else:
        resolved = condition
    annotations = {**resolved.metadata.annotations, **metadata.annotations}
    place = f"AlertPolicy {metadata.name}"
    refuse_unknown_annotations(annotations, POLICY_ANNOTATIONS, place)
    burn = resolved.spec.condition
    if burn.op in {"lt", "lte"}:
        warnings.append(f"{place}: op {burn.op} is read as {burn.op.replace('l', 'g')}: it fires above the threshold.")
    long = _minutes(burn.lookbackWindow)
    tier = BurnTier(
        metadata.name,
        SEVERITIES.get(resolved.spec.severity, resolved.spec.severity),
        long,
        _minutes(_annotation(annotations, SHORT_WINDOW, r"[1-9][0-9]{0,3}[mhdw]", "a duration as 5m", place) or "")
        or max(long // 12, 1),
        burn.threshold,
        minimum_events=int(_annotation(annotations, MINIMUM_EVENTS, r"[1-9][0-9]{0,8}", "a whole number", place) or 1),
        alpha=_fraction(_annotation(annotations, SIGNIFICANCE, r"0?\.[0-9]{1,9}", "a probability as 0.01", place)),
        budget_share=_fraction(_annotation(annotations, BUDGET_SHARE, r"0?\.[0-9]{1,9}", "a share as 0.02", place)),
        wait_minutes=_minutes(burn.alertAfter),
        inclusive=burn.op in {"gte", "lte"},
        when_breaching=spec.alertWhenBreaching,
        when_no_data=spec.alertWhenNoData,
        tell_resolved=spec.alertWhenResolved,
    )
    tier = _possible(tier, target, window, place, burn.lookbackWindow)
    return tier if spec.alertWhenBreaching or spec.alertWhenNoData else None


def refuse_unknown_annotations(annotations: dict[str, str], known: tuple[str, ...], where: str) -> None:
    """Refuse a misspelt annotation of this site's prefix; others are kept as they are."""
    for key in annotations:
        if key.startswith(PREFIX) and key not in known:
            raise refuse(f"{where} metadata.annotations", found=key, allowed=f"one of {', '.join(known)} is allowed")


def _possible(tier: BurnTier, target: Decimal, window: timedelta, where: str, found: str) -> BurnTier:
    """Return the tier, or refuse one that cannot work, with the reason."""
    highest = highest_burn_rate(target)
    if tier.short_minutes >= tier.long_minutes:
        raise refuse(where, found=found, allowed="the short window must be shorter than the long one")
    if _length(tier.long_minutes) > window:
        raise refuse(where, found=found, allowed="the long window must not be longer than the SLO's own")
    if tier.threshold >= highest:
        raise refuse(
            where,
            found=found,
            allowed=f"with target {target} a burn rate of {highest:.4g} is the highest there is; this tier could never "
            "fire",
        )
    if tier.wait_minutes > tier.long_minutes:
        raise refuse(where, found=found, allowed="an alert can wait for at most its long window")
    if tier.alpha is not None and not 0 < tier.alpha < 0.5:
        raise refuse(where, found=f"{tier.alpha:g}", allowed="a significance above 0 and below 0.5 is allowed")
    if tier.alpha is not None:
        rarest = binomial_tail(tier.minimum_events, tier.minimum_events, tier.threshold * (1 - float(target)))
        if tier.minimum_events > 1 and rarest > tier.alpha:
            raise refuse(
                where,
                found=found,
                allowed=f"{tier.minimum_events} events, all bad, have a probability of {rarest:.2g} at this rate: with "
                f"significance {tier.alpha:g} so few events could never fire; ask for more",
            )
    return tier


def _named_policy(name: str, where: str) -> AlertPolicyDocument:
    return parse_document(AlertPolicyDocument, _known("AlertPolicy", name, where), source=f"AlertPolicy {name}")


def _known(kind: str, name: str, where: str) -> object:
    known = Definition.objects.filter(kind=kind, slug=name).first()
    if known is None:
        raise refuse(where, found=name, allowed=f"the name of an {kind} that was applied is allowed")
    return known.document


def _annotation(annotations: dict[str, str], key: str, pattern: str, wanted: str, where: str) -> str | None:
    text = annotations.get(key)
    if text is not None and not re.fullmatch(pattern, text):
        raise refuse(
            f"{where} metadata.annotations[{key}]",
            found=text,
            allowed=f"{wanted} is allowed; windows are of whole minutes",
        )
    return text


def _fraction(text: str | None) -> float | None:
    return None if text is None else float(text)


def _length(minutes: int) -> timedelta:
    return timedelta(minutes=minutes)


def _minutes(duration: str) -> int:
    return int(duration[:-1]) * MINUTES[duration[-1]] if duration else 0
