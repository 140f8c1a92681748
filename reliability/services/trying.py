"""Ask a source now, to show whoever sets it up what it says."""

from dataclasses import dataclass
from time import perf_counter

from accounts.data import Capability, Principal
from accounts.services import ensure_may
from core.clock import database_now
from reliability.data import DataState
from reliability.models import DataSource
from reliability.services.prometheus import PrometheusReader, SourceError


@dataclass(frozen=True)
class Tried:
    """What a source said. `flavour` is empty where it could not be told, `seconds` is the time that it took."""

    state: DataState
    said: str
    flavour: str
    seconds: float


def try_source(*, principal: Principal, source: DataSource) -> Tried:
    """Ask a source what it is and for one query, and compare its clock; nothing is counted or stored.

    The guard of outbound requests holds as for any reading. Raises Django's PermissionDenied.
    """
    ensure_may(principal, Capability.SLO_EDIT)
    began, flavour = perf_counter(), ""
    try:
        with PrometheusReader(source) as reader:
            flavour = reader.flavour = reader.find_flavour()
            watched = reader.knows_metric("up", until=database_now())
    except SourceError as error:
        return Tried(error.state, str(error), flavour, perf_counter() - began)
    said = "It answers, and scrapes targets." if watched else "It answers, but has no series “up”: it scrapes nothing."
    return Tried(DataState.OK, said, flavour, perf_counter() - began)
