"""The tables of core, gathered where Django looks for them."""

from core.beats import ProcessBeat
from core.events import Event, EventDelivery
from core.holding import SiteHold
from core.releases import SchemaRelease, WorkFormat
from core.work import PeriodicJob

__all__ = ["Event", "EventDelivery", "PeriodicJob", "ProcessBeat", "SchemaRelease", "SiteHold", "WorkFormat"]
