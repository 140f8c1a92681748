"""Recovery tests as YAML."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from chaos.domain.recovery_measure import Cadence

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(value: Any) -> Any:
    """Turn `200ms`, `30s`, `15m`, `4h` or `90d` into a timedelta; anything else is left for pydantic to refuse."""
    if isinstance(value, str):
        for unit, seconds in _SECONDS.items():
            number = value.removesuffix(unit)
            if number != value and number.isdigit():
                return timedelta(seconds=int(number) * seconds)
    return value if isinstance(value, timedelta) else str(value)


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]


class Kind(StrEnum):
    """What a recovery test does."""

    BACKUP_RESTORE = "backup-restore"
    BACKUP_INTEGRITY = "backup-integrity"
    POINT_IN_TIME = "point-in-time"
    FAILOVER = "failover"
    TEST_FAILOVER = "test-failover"
    REGION_LOSS = "region-loss"
    DEPENDENCY_LOSS = "dependency-loss"
    TABLETOP = "tabletop"


KIND_WORDS = {
    Kind.BACKUP_RESTORE: "restore from a backup into an isolated place",
    Kind.BACKUP_INTEGRITY: "a backup read from end to end",
    Kind.POINT_IN_TIME: "base backup and write-ahead log, replayed to a point in time",
    Kind.FAILOVER: "primary killed, standby promoted, failed back",
    Kind.TEST_FAILOVER: "a copy of the standby promoted where nobody is served, and taken away",
    Kind.REGION_LOSS: "a region lost whole, clients find the other",
    Kind.DEPENDENCY_LOSS: "something that the service needs is taken away by an experiment",
    Kind.TABLETOP: "people decide, against the clock",
}


REHEARSED = frozenset({Kind.FAILOVER, Kind.POINT_IN_TIME, Kind.TEST_FAILOVER, Kind.REGION_LOSS})


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Metadata(_Strict):
    """The name and title of a recovery test."""

    name: str = Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
    title: str = Field(default="", max_length=120)


class ProbeSpec(_Strict):
    """How finely the test looks, and how long nothing may fail until recovery counts as sustained."""

    every: Duration = timedelta(milliseconds=200)
    timeout: Duration = timedelta(seconds=1)
    sustained_for: Duration = timedelta(seconds=2)
    give_up_after: Duration = timedelta(minutes=3)

    @model_validator(mode="after")
    def _bounds(self) -> "ProbeSpec":
        if not timedelta(milliseconds=20) <= self.every <= timedelta(seconds=10):
            raise ValueError("every: 20ms to 10s is allowed")
        if not timedelta(milliseconds=50) <= self.timeout <= timedelta(seconds=30):
            raise ValueError("timeout: 50ms to 30s is allowed")
        if not timedelta(seconds=1) <= self.give_up_after <= timedelta(hours=1):
            raise ValueError("give_up_after: 1s to 1h is allowed")
        return self

    @property
    def cadence(self) -> Cadence:
        """The cadence in seconds."""
        return Cadence(every=self.every.total_seconds(), timeout=self.timeout.total_seconds())


class ScheduleSpec(_Strict):
    """When it is due: a cron line in a zone, later by up to `jitter`, and on which budget of the service."""

    cron: str = Field(max_length=80)
    zone: str = "UTC"
    jitter: Duration = Field(default=timedelta(0), ge=timedelta(0), le=timedelta(hours=12))
    when_budget_left_percent: float | None = Field(default=None, ge=0, le=100)


class RehearsalSpec(_Strict):
    """A PostgreSQL primary and standby of the test's own behind HAProxy on this host."""

    engine: Literal["postgresql"] = "postgresql"
    rows: int = Field(default=2000, ge=10, le=1_000_000, description="Rows that are there before, and are compared.")
    write_for: Duration = timedelta(seconds=4)
    replication_delay: Duration = timedelta(0)
    failback: bool = True
    to: Literal["end", "accident"] = Field(
        default="end", description="Replay to the end of the archive after a crash, or to just before a mistake."
    )
    detect_after_failures: int = Field(default=3, ge=1, le=20)


class ClientSpec(_Strict):
    """What a client does, again and again, to see whether the service answers."""

    action: Literal["http.check", "http.request"] = "http.check"
    arguments: dict[str, Any]


class LossSpec(_Strict):
    """A real dependency that an experiment takes away, under every guard of chaos; and the runbook that mends it.

    Without a runbook the service must get by without the dependency, or come back by itself.
    """

    experiment: str
    client: ClientSpec
    runbook: str = ""
    inputs: dict[str, Any] = {}
    stop_when_measured: bool = Field(default=False, description="End the experiment early; its own verdict is aborted.")


class DecisionSpec(_Strict):
    """Something that a person must decide, and how soon."""

    ask: str = Field(min_length=5, max_length=300)
    role: str = Field(min_length=2, max_length=80)
    within: Duration
    absent: str = Field(default="", max_length=80, description="A key person who may not be asked.")


class RecoveryTestSpec(_Strict):
    """A recovery test."""

    service: str
    kind: Kind
    probe: ProbeSpec = ProbeSpec()
    schedule: ScheduleSpec | None = None
    rehearsal: RehearsalSpec | None = None
    loss: LossSpec | None = None
    scenario: str = Field(default="", max_length=2000)
    decisions: list[DecisionSpec] = Field(default=[], max_length=30)

    @model_validator(mode="after")
    def _belongs_together(self) -> "RecoveryTestSpec":
        if (self.kind in REHEARSED) != (self.rehearsal is not None):
            raise ValueError(f"rehearsal belongs to {', '.join(sorted(REHEARSED))}, and these need one")
        if self.rehearsal is not None and self.rehearsal.to == "accident" and self.kind is not Kind.POINT_IN_TIME:
            raise ValueError("to: accident belongs to point-in-time")
        if (self.kind is Kind.DEPENDENCY_LOSS) != (self.loss is not None):
            raise ValueError("loss belongs to dependency-loss, and it needs one")
        if (self.kind is Kind.TABLETOP) != bool(self.decisions):
            raise ValueError("decisions belong to a tabletop, and it needs at least one")
        return self


class RecoveryTestDocument(_Strict):
    """`kind: RecoveryTest`."""

    apiVersion: Literal["assay/v1"]  # noqa: N815 the format's own spelling
    kind: Literal["RecoveryTest"]
    metadata: Metadata
    spec: RecoveryTestSpec
