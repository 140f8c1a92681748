"""Findings of other scanners, as SARIF 2.1.0 (OASIS) tells them."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

LEVELS = {"error": "high", "warning": "medium", "note": "low", "none": "low"}


class NotSarifError(ValueError):
    """The document is not SARIF 2.1.0."""


@dataclass(frozen=True)
class Weakness:
    """One finding."""

    fingerprint: str
    rule: str
    severity: str
    title: str
    location: str


@dataclass(frozen=True)
class Report:
    """A report of one tool."""

    tool: str
    tool_version: str
    weaknesses: tuple[Weakness, ...]


def read_sarif(document: Any) -> list[Report]:
    """Return a report for each run. Raises NotSarifError, also where a run says that it did not succeed."""
    if not isinstance(document, dict) or document.get("version") != "2.1.0":
        raise NotSarifError("it is not SARIF of version 2.1.0")
    runs = document.get("runs")
    if not isinstance(runs, list) or not runs:
        raise NotSarifError("it has no runs")
    return [_report(run, number) for number, run in enumerate(runs)]


def _report(run: Any, number: int) -> Report:
    driver = _map(_map(run, f"run {number}").get("tool"), f"the tool of run {number}").get("driver")
    driver = _map(driver, f"the driver of run {number}")
    if not driver.get("name"):
        raise NotSarifError(f"run {number} names no tool")
    for invocation in run.get("invocations") or []:
        if _map(invocation, "an invocation").get("executionSuccessful") is False:
            raise NotSarifError(f"{driver['name']} says that its run did not succeed")
    if not isinstance(run.get("results"), list):
        raise NotSarifError(f"run {number} has no results: nothing shows that the tool looked at anything")
    rules = {str(rule.get("id")): rule for rule in driver.get("rules") or [] if isinstance(rule, dict)}
    found = {one.fingerprint: one for one in _weaknesses(run["results"], rules)}
    version = str(driver.get("semanticVersion") or driver.get("version") or "")
    return Report(str(driver["name"])[:120], version[:60], tuple(found.values()))


def _weaknesses(results: list[Any], rules: Mapping[str, Any]) -> Iterator[Weakness]:
    for result in results:
        one = _map(result, "a result")
        if one.get("kind", "fail") != "fail" or one.get("suppressions") or one.get("baselineState") == "absent":
            continue
        rule = str(one.get("ruleId") or _map(one.get("rule") or {}, "a rule").get("id") or "unnamed")[:160]
        text = str(_map(one.get("message") or {}, "a message").get("text") or rule)
        location = _location(one)
        given = one.get("partialFingerprints") or one.get("fingerprints") or {}
        stable = "\n".join(f"{key}={given[key]}" for key in sorted(given)) if isinstance(given, dict) else ""
        # Text may quote a secret that the scanner found; only its first line is kept, and never a snippet.
        digest = hashlib.sha256("\n".join((rule, stable or f"{location}\n{text}")).encode()).hexdigest()
        yield Weakness(digest, rule, _severity(one, rules.get(rule, {})), text.splitlines()[0][:300], location)


def _severity(result: Mapping[str, Any], rule: Mapping[str, Any]) -> str:
    score = str((rule.get("properties") or {}).get("security-severity", ""))
    try:
        value = float(score)
    except ValueError:
        default = (rule.get("defaultConfiguration") or {}).get("level", "warning")
        return LEVELS.get(str(result.get("level") or default), "medium")
    return next(
        word for least, word in ((9.0, "critical"), (7.0, "high"), (4.0, "medium"), (-1.0, "low")) if value >= least
    )


def _location(result: Mapping[str, Any]) -> str:
    for each in result.get("locations") or []:
        place = (each or {}).get("physicalLocation") or {}
        uri = str((place.get("artifactLocation") or {}).get("uri", ""))
        line = (place.get("region") or {}).get("startLine")
        if uri:
            return f"{uri}:{line}"[:300] if line else uri[:300]
    return ""


def _map(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise NotSarifError(f"{what} is not an object")
    return value
