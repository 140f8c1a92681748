"""What reliability stores."""

from reliability.models.exclusions import Exclusion
from reliability.models.gauges import GaugeDay
from reliability.models.policies import BudgetFigures, BudgetPolicy, GateOverride, PolicyStanding
from reliability.models.reports import ServiceReport
from reliability.models.slos import COMPOSITE, SLO, BurnAlert, Definition, SLOVersion
from reliability.models.sources import (
    Backfill,
    BucketHour,
    Collection,
    DataSource,
    Exemplar,
    IntakeProblem,
    LocationProbe,
    Probe,
    ProbeTurns,
    RulesRevision,
    SeenSpan,
    StreamBlock,
)
from reliability.models.tallies import (
    KEY_BASE,
    MINUTE_OF_KEY,
    KeptMinute,
    TallyBlock,
    TallyDay,
    TallyEdge,
    TallyPack,
    TallyShelf,
    TallySlot,
)

__all__ = [
    "COMPOSITE",
    "KEY_BASE",
    "MINUTE_OF_KEY",
    "SLO",
    "Backfill",
    "BucketHour",
    "BudgetFigures",
    "BudgetPolicy",
    "BurnAlert",
    "Collection",
    "DataSource",
    "Definition",
    "Exclusion",
    "Exemplar",
    "GateOverride",
    "GaugeDay",
    "IntakeProblem",
    "KeptMinute",
    "LocationProbe",
    "PolicyStanding",
    "Probe",
    "ProbeTurns",
    "RulesRevision",
    "SLOVersion",
    "SeenSpan",
    "ServiceReport",
    "StreamBlock",
    "TallyBlock",
    "TallyDay",
    "TallyEdge",
    "TallyPack",
    "TallyShelf",
    "TallySlot",
]
