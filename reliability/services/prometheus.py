"""Read raw samples from a Prometheus: range selectors in instant queries, so that every sample keeps its own time.

`query_range` resamples and `increase()` extrapolates; neither can be counted. A failed, partial or odd answer raises
SourceError with the state that it means: it is never data.
"""

import re
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import orjson
import requests
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException

from core.clock import database_now
from core.http import GuardedSession, OutboundPolicy
from reliability.data import DataState, SourceSettings
from reliability.domain.counting import Scraped
from reliability.models import DataSource

MAX_ANSWER_BYTES = 64 * 1024 * 1024
TIMEOUT_SECONDS = 30.0
CLOCK_TOLERANCE = timedelta(seconds=60)
LAG = {"prometheus": timedelta(seconds=1)}
LONG_LAG = timedelta(seconds=30)
FLAVOUR_PARAMS: dict[str, dict[str, str]] = {
    # Counters must be read as each replica scraped them: deduplication jumps from one to another.
    "thanos": {"dedup": "false", "partial_response": "false", "max_source_resolution": "0s"},
    "victoriametrics": {"nocache": "1", "latency_offset": "1s"},
}
_STATES = {
    401: DataState.NOT_ALLOWED,
    403: DataState.NOT_ALLOWED,
    400: DataState.QUERY_REFUSED,
    422: DataState.QUERY_REFUSED,
    429: DataState.SOURCE_BUSY,
    502: DataState.SOURCE_BUSY,
    503: DataState.SOURCE_BUSY,
    504: DataState.SOURCE_BUSY,
}


class SourceError(Exception):
    """The source did not give an answer that can be counted; `state` says which kind of failure it is."""

    def __init__(self, message: str, state: DataState = DataState.SOURCE_DOWN) -> None:
        super().__init__(message)
        self.state = state


class TooLargeError(SourceError):
    """The answer would be larger than what is read at once; a smaller question may be answered."""

    def __init__(self, message: str) -> None:
        super().__init__(message, DataState.INCOMPLETE_ANSWER)


class _RecordingSession(GuardedSession):
    """Keeps the last answer, because the client library hands on the result without its warnings; parses it once."""

    last: requests.Response | None = None

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        self.last = None
        response = super().request(method, url, *args, **kwargs)
        parsed: list[Any] = []

        def as_json(**_: Any) -> Any:
            if not parsed:
                parsed.append(orjson.loads(response.content))
            return parsed[0]

        response.json = as_json  # type: ignore[method-assign]
        self.last = response
        return response


class PrometheusReader:
    """Reads one source; use it as a context."""

    def __init__(self, source: DataSource) -> None:
        self.settings: SourceSettings = source.settings
        host = urlsplit(source.url).hostname or ""
        policy = OutboundPolicy(
            allow=(host,) if source.allow_private else (), timeout_seconds=TIMEOUT_SECONDS, max_bytes=MAX_ANSWER_BYTES
        )
        self.queries = 0
        self.flavour = self.settings.flavour if self.settings.flavour != "auto" else source.flavour_found
        self._url = source.url
        self._session = _RecordingSession(policy)
        self._client = PrometheusConnect(url=source.url, session=self._session)
        # The library mounts an adapter of its own on the session that it is given.
        self._session.mount_guard()
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        self._sign_in()
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()
        if self._folder is not None:
            self._folder.cleanup()

    @property
    def lag(self) -> timedelta:
        """How old a sample must be to be certainly readable."""
        return LAG.get(self.flavour, LONG_LAG) if self.flavour else LAG["prometheus"]

    def samples(self, selector: str, *, until: datetime, length: timedelta) -> list[Scraped]:
        """Return the raw samples of a selector in the `length` up to `until`."""
        answer = self._ask(f"{selector}[{int(length / timedelta(milliseconds=1))}ms]", until)
        if answer["data"].get("resultType") != "matrix":
            raise SourceError("The answer is not a matrix of samples.", DataState.QUERY_REFUSED)
        result = answer["data"]["result"]
        if len(result) > self.settings.series_limit:
            raise TooLargeError(
                f"The selector matches {len(result)} series; at most {self.settings.series_limit} are read."
            )
        try:
            return self._one_replica([Scraped(entry["metric"], entry["values"]) for entry in result])
        except (KeyError, TypeError) as error:
            raise SourceError(
                "The answer has series without plain samples, as native histograms have.", DataState.NOT_COUNTABLE
            ) from error

    def increase(self, expression: str, *, minutes: range) -> dict[int, float]:
        """Return the source's own figure for each minute, `$window` in the expression being one minute."""
        query = expression.replace("$window", "60s")
        found: dict[int, float] = {}
        for minute in minutes:
            answer = self._ask(query, datetime.fromtimestamp((minute + 1) * 60, UTC))
            data = answer["data"]
            if data.get("resultType") == "scalar":
                found[minute] = float(data["result"][1])
            elif data.get("resultType") == "vector" and len(data["result"]) <= 1:
                for entry in data["result"]:
                    found[minute] = float(entry["value"][1])
            else:
                raise SourceError("The expression gives more than one series: sum them.", DataState.QUERY_REFUSED)
        return found

    def scrapes(self, targets: set[tuple[str, str]], *, until: datetime, length: timedelta) -> list[Scraped]:
        """Return the `up` series of the targets' jobs."""
        jobs = sorted({job for job, _ in targets if job})
        if not jobs:
            return []
        pattern = "|".join(re.escape(job) for job in jobs).replace("\\", "\\\\").replace('"', '\\"')
        found = self.samples(f'up{{job=~"{pattern}"}}', until=until, length=length)
        return [series for series in found if series.target in targets]

    def knows_metric(self, name: str, *, until: datetime) -> bool:
        """Say whether the source has any series of a name around an instant."""
        return not name or bool(self._ask(f"count({name})", until)["data"]["result"])

    def find_flavour(self) -> str:
        """Say what kind of store answers."""
        build = self._get("/api/v1/status/buildinfo").get("data") or {}
        if "mimir" in str(build.get("application", "")).lower():
            return "mimir"
        if self._get("/api/v1/stores").get("status") == "success":
            return "thanos"
        if "revision" not in build and build.get("version"):
            return "victoriametrics"
        return "prometheus"

    def _ask(self, query: str, at: datetime) -> dict[str, Any]:
        params = {"time": f"{at.timestamp():.3f}", **FLAVOUR_PARAMS.get(self.flavour, {})}
        self.queries += 1
        try:
            self._client.custom_query(query, params=params)
            answer = self._session.last.json() if self._session.last is not None else {}
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            if self._session.last is not None and self._session.last.content.startswith(b'{"status"'):
                raise SourceError("The answer breaks off.", DataState.INCOMPLETE_ANSWER) from error
            raise SourceError("The answer is not that of a Prometheus query.") from error
        except requests.exceptions.ChunkedEncodingError as error:
            raise SourceError("The answer breaks off.", DataState.INCOMPLETE_ANSWER) from error
        except PrometheusApiClientException as error:
            raise self._refusal() from error
        except (requests.RequestException, OSError) as error:
            if "larger than" in str(error):
                raise TooLargeError(str(error)) from error
            raise SourceError(str(error)[:500]) from error
        if answer.get("status") != "success" or not isinstance(answer.get("data"), dict):
            raise SourceError("The answer is not that of a Prometheus query.")
        if warnings := answer.get("warnings"):
            said = "; ".join(map(str, warnings))[:400]
            raise SourceError(f"The answer may be incomplete: {said}", DataState.INCOMPLETE_ANSWER)
        if answer.get("isPartial"):
            raise SourceError("The store says that its answer is partial.", DataState.INCOMPLETE_ANSWER)
        self._check_clock()
        return answer

    def _refusal(self) -> SourceError:
        response = self._session.last
        if response is None:
            return SourceError("The source did not answer.")
        try:
            said = str(response.json().get("error", ""))
        except (orjson.JSONDecodeError, AttributeError):
            said = response.text
        message = f"HTTP status {response.status_code}: {said[:400]}"
        if "too many samples" in said or "too many series" in said.lower():
            return TooLargeError(message)
        return SourceError(message, _STATES.get(response.status_code, DataState.SOURCE_DOWN))

    def _check_clock(self) -> None:
        """Refuse to count by a clock that is wrong: samples would lie beyond what was read, unread for ever."""
        said = self._session.last.headers.get("Date", "") if self._session.last is not None else ""
        if not said:
            return
        skew = parsedate_to_datetime(said) - database_now()
        if abs(skew) > CLOCK_TOLERANCE:
            side = "ahead of" if skew > timedelta(0) else "behind"
            raise SourceError(
                f"The source's clock is {abs(skew).total_seconds():.0f} s {side} this site's.", DataState.CLOCK_SKEW
            )

    def _get(self, path: str) -> Mapping[str, Any]:
        self.queries += 1
        try:
            response = self._session.get(self._url + path)
            if response.status_code not in {200, 400, 404, 405}:
                raise self._refusal()
            answer = response.json() if response.status_code == 200 else {}
        except orjson.JSONDecodeError:
            return {}
        except (requests.RequestException, OSError) as error:
            raise SourceError(str(error)[:500]) from error
        return answer if isinstance(answer, dict) else {}

    def _one_replica(self, found: list[Scraped]) -> list[Scraped]:
        """Of a store that keeps replicas apart, join the series of one counter: the one with most samples leads."""
        if self.flavour != "thanos":
            return found
        replicas: dict[bytes, list[Scraped]] = {}
        for series in found:
            labels = {key: text for key, text in series.labels.items() if key not in self.settings.replica_labels}
            one = Scraped(labels, series.samples)
            replicas.setdefault(one.digest, []).append(one)
        joined = []
        for some in replicas.values():
            first, *others = sorted(some, key=lambda one: -len(one.samples))
            joined.append(Scraped(first.labels, first.samples, tuple(one.samples for one in others)))
        return joined

    def _sign_in(self) -> None:
        settings, headers = self.settings, self._session.headers
        if token := settings.bearer_token.get_secret_value():
            headers["Authorization"] = f"Bearer {token}"
        elif settings.username:
            self._session.auth = (settings.username, settings.password.get_secret_value())
        if settings.tenant:
            headers["X-Scope-OrgID"] = headers["THANOS-TENANT"] = settings.tenant
        if settings.client_certificate or settings.ca_certificate:
            self._folder = tempfile.TemporaryDirectory(prefix="assay-source-")
            folder = Path(self._folder.name)
            if settings.ca_certificate:
                self._session.verify = _written(folder / "ca.pem", settings.ca_certificate)
            if settings.client_certificate:
                self._session.cert = (
                    _written(folder / "client.pem", settings.client_certificate),
                    _written(folder / "client.key", settings.client_key.get_secret_value()),
                )


def _written(path: Path, text: str) -> str:
    """Write what the TLS library reads only from a file, for this user alone."""
    path.touch(mode=0o600)
    path.write_text(text, "ascii")
    return str(path)
