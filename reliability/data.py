"""Values of reliability that other rooms hold."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from reliability.domain.budgets import Counts, Interval

NOTHING = Counts()


class BudgetState(StrEnum):
    """How an SLO stands."""

    OK = "OK"
    AT_RISK = "AT RISK"
    BREACHED = "BREACHED"
    NO_TRAFFIC = "NO TRAFFIC"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True)
class BudgetStatus:
    """An SLO's window in figures.

    `sli` and `remaining` are None without events. `coverage_ratio` is of the minutes since counting began, within the
    window. NO TRAFFIC: measured, and nothing happened; UNKNOWN: not measured lately.

    `counts` are events, `units` what the budget is reckoned in (events, time slices, parts of a mean); both leave out
    what approved exclusions do, which the raw ones do not. `journey` bounds a composite's joint success, `confidence`
    is Wilson's 95 % interval of the SLI. `mode` and `data_state` say how events are read.
    """

    slo_slug: str
    service_slug: str
    target: Decimal
    window: timedelta
    window_start: datetime
    window_end: datetime
    counts: Counts
    sli: Interval | None
    remaining: Interval | None
    burn_1h: Interval | None
    burn_3d: Interval | None
    exhausts_in: timedelta | None
    coverage_ratio: float
    measured_recently: bool
    last_measured_at: datetime | None
    firing: bool
    frozen: bool
    state: BudgetState
    at: datetime
    objective: str = ""
    method: str = "Occurrences"
    window_label: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    units: Counts = NOTHING
    raw_counts: Counts = NOTHING
    raw_remaining: Interval | None = None
    adjusted: bool = False
    journey: Interval | None = None
    confidence: tuple[float, float] | None = None
    mode: str = "exact"
    data_state: str = "OK"
    data_detail: str = ""
    burn: Mapping[str, Interval | None] = field(default_factory=dict)
    known_burn: Mapping[str, float | None] = field(default_factory=dict)


class DataState(StrEnum):
    """What became of the last reading of an SLO's events. All but OK keep what was counted and are tried again."""

    OK = "OK"
    WAITING = "WAITING"
    BACKFILLING = "BACKFILLING"
    UNKNOWN_METRIC = "UNKNOWN METRIC"
    NO_SERIES = "NO SERIES"
    SOURCE_DOWN = "SOURCE DOWN"
    SOURCE_BUSY = "SOURCE BUSY"
    NOT_ALLOWED = "NOT ALLOWED"
    INCOMPLETE_ANSWER = "INCOMPLETE ANSWER"
    QUERY_REFUSED = "QUERY REFUSED"
    NOT_COUNTABLE = "NOT COUNTABLE"
    GOOD_ABOVE_TOTAL = "GOOD ABOVE TOTAL"
    CLOCK_SKEW = "CLOCK SKEW"
    ODD_VALUES = "ODD VALUES"
    SCALE_CHANGED = "SCALE CHANGED"
    TWO_WRITERS = "TWO WRITERS"
    CONFLICT = "CONFLICT"
    TOO_LATE = "TOO LATE"
    BODY_REFUSED = "BODY REFUSED"
    NO_PROBER = "NO PROBER"


@dataclass(frozen=True)
class DataStatus:
    """How an SLO's events are being read: the state, what it means here, and since when it has been so.

    `mode` is exact, approximate (the source's own `increase`) or pushed (OpenTelemetry, probes). `read_until` is the
    instant up to which a source was read; None when events are pushed.
    """

    state: DataState
    detail: str
    mode: Literal["exact", "approximate", "pushed"]
    read_until: datetime | None = None
    failures: int = 0
    backfill_ratio: float | None = None


@dataclass(frozen=True)
class TallyGroup:
    """A part of an SLO's events that is also counted apart, by labels."""

    tally_id: int
    labels: Mapping[str, str]


class SourceSettings(BaseModel):
    """How to ask a metric store: who asks, and what kind of store answers. Stored encrypted.

    Certificates and keys are PEM texts. `replica_labels` name the labels by which a deduplicating store tells replicas.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    flavour: Literal["auto", "prometheus", "thanos", "mimir", "victoriametrics"] = "auto"
    bearer_token: SecretStr = SecretStr("")
    username: str = ""
    password: SecretStr = SecretStr("")
    tenant: str = Field(default="", description="Sent as X-Scope-OrgID (Mimir) and THANOS-TENANT.")
    client_certificate: str = ""
    client_key: SecretStr = SecretStr("")
    ca_certificate: str = ""
    replica_labels: tuple[str, ...] = ("replica", "prometheus_replica", "__replica__")
    read_every_seconds: int = Field(default=10, ge=5, le=300)
    queries_per_second: float = Field(default=5.0, gt=0, le=100, description="The bound of a backfill.")
    series_limit: int = Field(default=20_000, ge=1, le=200_000)

    @model_validator(mode="after")
    def _one_way_to_sign_in(self) -> "SourceSettings":
        if self.bearer_token.get_secret_value() and self.username:
            raise ValueError("give a bearer token or a user name and password, not both")
        if bool(self.client_certificate) != bool(self.client_key.get_secret_value()):
            raise ValueError("a client certificate needs its key, and a key its certificate")
        return self

    def as_stored(self) -> str:
        """Return the JSON text that `from_stored` reads, secrets in clear: for an encrypted field only."""
        secret = {"bearer_token", "password", "client_key"}
        plain = self.model_dump(exclude=secret, exclude_defaults=True)
        shown = {name: getattr(self, name).get_secret_value() for name in secret}
        return orjson.dumps(plain | {name: text for name, text in shown.items() if text}).decode()

    @classmethod
    def from_stored(cls, text: str) -> "SourceSettings":
        """Read what `as_stored` wrote; an empty text is the defaults."""
        return cls.model_validate_json(text) if text else cls()


__all__ = [
    "BudgetState",
    "BudgetStatus",
    "Counts",
    "DataState",
    "DataStatus",
    "Interval",
    "SourceSettings",
    "TallyGroup",
]
