"""What reliability stores."""

from reliability.models.slos import COMPOSITE, SLO, BurnAlert, Definition, SLOVersion
from reliability.models.sources import Collection, DataSource, SeenSpan, SeriesState, StreamState
from reliability.models.tallies import Tally

__all__ = [
    "COMPOSITE",
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
