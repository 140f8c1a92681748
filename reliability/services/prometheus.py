"""Read raw samples from a Prometheus: range selectors in instant queries, so that every sample keeps its own time.

`query_range` resamples and `increase()` extrapolates; neither can be counted. A failed, partial or odd answer raises
SourceError: it is never data.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self
from urllib.parse import urlsplit

import requests
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException

from core.http import GuardedSession, OutboundPolicy
from reliability.domain.scrapes import Sample
from reliability.models import DataSource

MAX_ANSWER_BYTES = 64 * 1024 * 1024
TIMEOUT_SECONDS = 20.0
MAX_SERIES = 20_000


class SourceError(Exception):
    """The source did not give an answer that can be counted."""


@dataclass(frozen=True)
class Series:
    """A series with its raw samples."""

    labels: Mapping[str, str]
    samples: tuple[Sample, ...]

    @property
    def target(self) -> tuple[str, str]:
        """The target that it was scraped from."""
        return self.labels.get("job", ""), self.labels.get("instance", "")


class _RecordingSession(GuardedSession):
    """Keeps the last answer, because the client library hands on the result without its warnings."""

    last: requests.Response | None = None

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        self.last = super().request(method, url, *args, **kwargs)
        return self.last


class PrometheusReader:
    """Reads one source; use it as a context."""

    def __init__(self, source: DataSource) -> None:
        host = urlsplit(source.url).hostname or ""
        policy = OutboundPolicy(
            allow=(host,) if source.allow_private else (), timeout_seconds=TIMEOUT_SECONDS, max_bytes=MAX_ANSWER_BYTES
        )
        self._session = _RecordingSession(policy)
        self._client = PrometheusConnect(url=source.url, session=self._session)
        # The library mounts an adapter of its own on the session that it is given.
        self._session.mount_guard()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def samples(self, selector: str, *, until: datetime, length: timedelta) -> list[Series]:
        """Return the raw samples of a selector in the `length` up to `until`."""
        query = f"{selector}[{int(length / timedelta(milliseconds=1))}ms]"
        try:
            result = self._client.custom_query(query, params={"time": f"{until.timestamp():.3f}"})
            answer = self._session.last.json() if self._session.last is not None else {}
        except (requests.JSONDecodeError, KeyError, TypeError) as error:
            raise SourceError("The answer is not that of a Prometheus query.") from error
        except (PrometheusApiClientException, requests.RequestException, OSError) as error:
            raise SourceError(str(error)[:500]) from error
        if answer.get("status") != "success" or answer.get("data", {}).get("resultType") != "matrix":
            raise SourceError("The answer is not a matrix of samples.")
        if warnings := answer.get("warnings"):
            raise SourceError(f"The answer may be incomplete: {'; '.join(map(str, warnings))[:400]}")
        if len(result) > MAX_SERIES:
            raise SourceError(f"The selector matches {len(result)} series; at most {MAX_SERIES} are read.")
        try:
            return [_series(entry) for entry in result]
        except (ValueError, KeyError, TypeError) as error:
            raise SourceError("The answer has series without plain samples, as native histograms have.") from error

    def scrapes(self, targets: set[tuple[str, str]], *, until: datetime, length: timedelta) -> list[Series]:
        """Return the `up` series of the targets' jobs."""
        jobs = sorted({job for job, _ in targets if job})
        if not jobs:
            return []
        pattern = "|".join(re.escape(job) for job in jobs).replace("\\", "\\\\").replace('"', '\\"')
        found = self.samples(f'up{{job=~"{pattern}"}}', until=until, length=length)
        return [series for series in found if series.target in targets]


def _series(entry: Mapping[str, Any]) -> Series:
    samples = tuple(Sample(float(time), float(value)) for time, value in entry["values"])
    return Series({str(key): str(value) for key, value in entry["metric"].items()}, samples)
