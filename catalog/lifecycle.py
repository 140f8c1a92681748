"""Which regions there are, and where their data must stay."""

from catalog.models import Region
from core.lifecycle import register_region_lookup


def _residency(region: str) -> str | None:
    return Region.objects.filter(slug=region).values_list("residency", flat=True).first()


register_region_lookup(_residency)
