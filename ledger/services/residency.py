"""Where the site's data lives, and whether an export may leave that region."""

from ipaddress import ip_address

from django.conf import settings

from core.lifecycle import residency_of


class ExportRefusedError(ValueError):
    """The export would take data out of the region that it must stay in."""


def ensure_may_leave(*, region: str, reason: str) -> dict[str, str]:
    """Return what to record about an export that goes to `region` (empty: it stays), or raise ExportRefusedError.

    A site without a region of its own keeps no data in. Regions of the same residency are one. Out of it, only with a
    reason.
    """
    home = str(settings.REGION)
    if not home:
        return {"to_region": region} if region else {}
    if not region or region == home:
        return {"region": home}
    where, there = residency_of(home), residency_of(region)
    if there is None:
        raise ExportRefusedError(f"{region} is not a region of this site; the catalog holds the regions.")
    if where and where == there:
        return {"region": home, "to_region": region}
    if not reason.strip():
        raise ExportRefusedError(
            f"The data stays in {where or home}; {region} is outside of it. Give a reason to export it nevertheless."
        )
    return {"region": home, "to_region": region, "left_residency": where or home}


def must_stay_in() -> str:
    """Return where this site's data must stay, empty without a rule."""
    home = str(settings.REGION)
    return (residency_of(home) or "") if home else ""


def ensure_destination(*, region: str, reason: str) -> dict[str, str]:
    """Return what to record about a place outside that is told by itself, or raise ExportRefusedError.

    Unlike an export that somebody takes along, it is not taken to be here: where the data must stay, its region has to
    be named. A site whose region has no residency lets every place be told.
    """
    where = must_stay_in()
    if where and not region:
        raise ExportRefusedError(f"The data stays in {where}: say in which region of the catalog this place is.")
    return ensure_may_leave(region=region, reason=reason)


def region_of(address: str) -> str:
    """Return the region whose networks hold an address, the narrowest first; empty when none is declared to."""
    try:
        asked = ip_address(address)
    except ValueError:
        return ""
    mapped = getattr(asked, "ipv4_mapped", None) or asked
    held = [(network.prefixlen, slug) for network, slug in settings.REGION_NETWORKS if mapped in network]
    return max(held)[1] if held else ""


def ensure_stays_where_asked(*, address: str, reason: str) -> dict[str, str]:
    """Return what to record when data is handed to an address out of the residency, empty where it stays.

    Raises ExportRefusedError for an address out of it, or in no declared network, without a reason. A site without a
    residency, or one that declares no networks, asks nobody.
    """
    where = must_stay_in() if settings.REGION_NETWORKS else ""
    if not where:
        return {}
    region = region_of(address)
    if region:
        leaving = ensure_may_leave(region=region, reason=reason)
        return leaving if "left_residency" in leaving else {}
    if not reason.strip():
        raise ExportRefusedError(
            f"The data stays in {where}; {address or 'this address'} is in no network that is declared to be there. "
            "Give a reason to export it nevertheless."
        )
    return {"region": str(settings.REGION), "left_residency": where}


def ensure_store_stays() -> None:
    """Raise ExportRefusedError unless the artifact store lies in the residency of the site's data."""
    store = str(settings.ARTIFACT_REGION)
    if store and store != settings.REGION:
        ensure_may_leave(region=store, reason="")
