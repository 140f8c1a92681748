"""The measures of all incidents as Prometheus histograms, by severity and team."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from accounts.data import Principal
from incidents.domain.measures import measures_of
from incidents.selectors.analytics import MEASURES, Fact, facts_of
from incidents.selectors.incidents import incidents_visible

BOUNDS = (30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 28_800, 86_400, 259_200)


class _Measures(Collector):
    def __init__(self, facts: list[Fact]) -> None:
        self._facts = facts

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """Yield one family for each measure."""
        measured = [(one.severity, one.team, measures_of(one.instants)) for one in self._facts]
        for name in MEASURES:
            family = HistogramMetricFamily(
                f"assay_incident_{name}_seconds", f"{name.replace('_', ' ').capitalize()}.", labels=("severity", "team")
            )
            values: dict[tuple[str, str], list[float]] = {}
            for severity, team, found in measured:
                value = found[name]
                if value is not None:
                    values.setdefault((severity, team), []).append(value.total_seconds())
            for labels, seconds in sorted(values.items()):
                buckets = [(str(float(bound)), float(sum(one <= bound for one in seconds))) for bound in BOUNDS]
                family.add_metric(labels, [*buckets, ("+Inf", float(len(seconds)))], sum_value=sum(seconds))
            yield family


def histograms(*, viewer: Principal) -> bytes:
    """Return the histograms of every incident that the viewer may see, so that they only grow."""
    registry = CollectorRegistry()
    registry.register(_Measures(facts_of(incidents_visible(viewer=viewer).filter(merged_into__isnull=True))))
    found: bytes = generate_latest(registry)
    return found
