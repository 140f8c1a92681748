"""What reliability stores."""

from reliability.models.slos import SLO, BurnAlert, Definition, SLOVersion
from reliability.models.sources import Collection, DataSource, SeenSpan, SeriesState, StreamState
from reliability.models.tallies import Tally

__all__ = [
    "SLO",
    "BurnAlert",
    "Collection",
    "DataSource",
    "Definition",
    "SLOVersion",
    "SeenSpan",
    "SeriesState",
    "StreamState",
    "Tally",
]
