"""What an SLO asks of where it is counted from: OTLP, Prometheus, or a probe; and what all of its documents share."""

# ruff: noqa: N815 the format's own spelling

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Strict(BaseModel):
    """A part of a document that refuses what it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class OtlpQuery(Strict):
    """Points of an OpenTelemetry metric, or spans: by resource and point attributes, and for histograms up to `le`."""

    metric: str = ""
    span: str = ""
    resource: dict[str, str] = {}
    where: dict[str, str] = {}
    le: float | None = None

    @model_validator(mode="after")
    def _one_signal(self) -> "OtlpQuery":
        if bool(self.metric) == bool(self.span):
            raise ValueError("name either a metric or a span")
        return self


SELECTOR = re.compile(r'[a-zA-Z_:][a-zA-Z0-9_:]*(\{([^{}"]|"(\\.|[^"\\])*")*\})?|\{([^{}"]|"(\\.|[^"\\])*")+\}')


class PrometheusQuery(Strict):
    """A series selector of counters, as `http_requests_total{code!~"5.."}`, or any PromQL, which is approximate."""

    query: str = Field(min_length=1, max_length=4000)

    @property
    def is_selector(self) -> bool:
        """Say whether raw samples can be read by it, so that counting is exact."""
        return SELECTOR.fullmatch(self.query) is not None


LENGTH = re.compile(r"(?P<number>[1-9][0-9]{0,5})(?P<unit>ms|s|m|h|d)")
SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


LOCATION = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


def is_location(name: str) -> bool:
    """Say whether it is a name that a location may have."""
    return LOCATION.fullmatch(name) is not None


class ProbeQuery(Strict):
    """Checks of Assay's own, each an event: one of `http`, `tcp` and `tls`, `every` so often, with a `timeout`.

    `within` is for good events: how long an answer may take. `locations` are where probers of these names run them,
    each on its own; without any, the site's workers do.
    """

    http: str = Field(default="", max_length=1000)
    tcp: str = Field(default="", max_length=300)
    tls: str = Field(default="", max_length=300)
    every: str = "30s"
    timeout: str = "5s"
    within: str = ""
    method: Literal["GET", "HEAD"] = "GET"
    status: str = Field(default="200-399", pattern=r"^[1-5][0-9]{2}(-[1-5][0-9]{2})?$")
    contains: str = Field(default="", max_length=500)
    validFor: str = ""
    caCertificate: str = Field(default="", max_length=100_000)
    locations: list[str] = Field(default=[], max_length=20)

    @model_validator(mode="after")
    def _fits(self) -> "ProbeQuery":
        if sum(bool(one) for one in (self.http, self.tcp, self.tls)) != 1:
            raise ValueError("give one of http, tcp and tls")
        if self.http and not self.http.startswith(("http://", "https://")):
            raise ValueError("http is an address that begins with http:// or https://")
        for name in ("every", "timeout", "within", "validFor"):
            if (text := getattr(self, name)) and not LENGTH.fullmatch(text):
                raise ValueError(f"{name} is a length as 500ms, 10s or 1m")
        if not 1 <= self.seconds("every") <= 120:
            raise ValueError("every is from 1s to 2m: with longer pauses nobody could tell what was measured")
        if not self.seconds("timeout") <= min(self.seconds("every"), 30):
            raise ValueError("timeout is at most every, and at most 30s: a turn ends before the next one is due")
        if self.seconds("within") > self.seconds("timeout"):
            raise ValueError("within is at most timeout")
        if self.validFor and not (self.tls):
            raise ValueError("validFor is for tls")
        if not all(map(is_location, self.locations)) or len({*self.locations}) < len(self.locations):
            raise ValueError("locations are names as eu-west, each once: small letters, digits and hyphens, at most 40")
        return self

    def seconds(self, name: str) -> float:
        """Return a length in seconds; 0 where none is given."""
        match = LENGTH.fullmatch(getattr(self, name))
        return int(match["number"]) * SECONDS[match["unit"]] if match else 0.0

    def as_counted(self) -> dict[str, Any]:
        """Return what is stored of it."""
        low, _, high = self.status.partition("-")
        return {
            "kind": "http" if self.http else "tcp" if self.tcp else "tls",
            "target": self.http or self.tcp or self.tls,
            "every_seconds": self.seconds("every"),
            "timeout_seconds": self.seconds("timeout"),
            "within_seconds": self.seconds("within") or None,
            "method": self.method,
            "status": [int(low), int(high or low)],
            "contains": self.contains,
            "valid_for_seconds": self.seconds("validFor"),
            "ca_certificate": self.caCertificate,
            # Not there where there are none: what was declared before locations were must stay what it was.
            **({"locations": sorted(self.locations)} if self.locations else {}),
        }
