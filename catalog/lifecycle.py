"""Which regions there are, and where their data must stay."""

from catalog.models import Region, Service
from core.lifecycle import register_misplaced_lookup, register_region_lookup


def _residency(region: str) -> str | None:
    return Region.objects.filter(slug=region).values_list("residency", flat=True).first()


def _misplaced(residency: str) -> list[str]:
    found = Service.objects.exclude(region__residency__in=("", residency)).exclude(region=None)
    return [f"{slug} must stay in {where}" for slug, where in found.values_list("slug", "region__residency")]


register_region_lookup(_residency)
register_misplaced_lookup(_misplaced)
