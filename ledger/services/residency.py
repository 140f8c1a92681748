"""Where the site's data lives, and whether an export may leave that region."""

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
