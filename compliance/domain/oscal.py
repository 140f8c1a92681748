"""OSCAL documents: assessment results with the stub of a plan, and the checks that a schema does not make.

The shapes follow NIST's OSCAL 1.1 models. Three rules that are easily missed: a control id starts with a letter and
holds no parentheses, empty arrays are forbidden, and a finding knows only `satisfied` and `not-satisfied`; every finer
word stands in `reason` and in a property of this project's own namespace.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

OSCAL_VERSION = "1.1.3"
NAMESPACE = "urn:assay:oscal"
TOKEN = re.compile(r"^[A-Za-z_][A-Za-z0-9_.\-]*$")
GOOD = ("operating", "operating_with_exceptions", "no_population")
Document = dict[str, Any]


@dataclass(frozen=True)
class ObservedCheck:
    """What one check of a control found over the window."""

    control: str
    control_title: str
    check: str
    title: str
    standing: str
    counted: str
    reason: str
    files: Sequence[str]
    expires: datetime | None = None


@dataclass(frozen=True)
class JudgedRequirement:
    """How a requirement stands, and the controls behind it."""

    control_id: str
    ref: str
    label: str
    standing: str
    counted: str
    reason: str
    controls: Sequence[str]


@dataclass(frozen=True)
class AcceptedDeviation:
    """An approved exception."""

    key: str
    control: str
    reason: str
    compensation: str
    expires: datetime


@dataclass(frozen=True)
class Assessment:
    """Everything that assessment results of one audit say."""

    origin: str
    name: str
    organization: str
    start: datetime
    end: datetime
    made_at: datetime
    frameworks: Mapping[str, Sequence[JudgedRequirement]]
    checks: Sequence[ObservedCheck]
    deviations: Sequence[AcceptedDeviation]

    def key(self, *parts: str) -> str:
        """Return a UUID (version 5) that is the same in every export."""
        return str(uuid5(NAMESPACE_URL, "/".join((self.origin, self.name, *parts))))


def control_token(ref: str) -> str:
    """Return an identifier that OSCAL accepts: `6.1.1` becomes `cl-6.1.1`, `32(1)(b)` becomes `cl-32-1-b`."""
    plain = re.sub(r"[^A-Za-z0-9_.\-]+", "-", ref).strip("-")
    return plain if TOKEN.match(plain) else f"cl-{plain}"


def assessment_results(one: Assessment) -> Document:
    """Return the document: a result for each framework, with observations, risks and findings."""
    plan = one.key("plan")
    return {
        "assessment-results": {
            "uuid": one.key("results", _instant(one.made_at)),
            "metadata": _metadata(one, f"{one.name}: assessment results"),
            "import-ap": {"href": f"#{plan}"},
            "results": [_result(one, name, found) for name, found in one.frameworks.items()],
            "back-matter": {
                "resources": [
                    {
                        "uuid": plan,
                        "title": "Assessment plan (stub)",
                        "rlinks": [{"href": "assessment-plan.json", "media-type": "application/json"}],
                    }
                ]
            },
        }
    }


def assessment_plan(one: Assessment) -> Document:
    """Return the stub of a plan that the results refer to: the window and what was looked at."""
    system = one.key("system")
    ids = dict.fromkeys(found.control_id for each in one.frameworks.values() for found in each)
    return {
        "assessment-plan": {
            "uuid": one.key("plan-document"),
            "metadata": _metadata(one, f"{one.name}: assessment plan (stub)"),
            "import-ssp": {"href": f"#{system}"},
            "reviewed-controls": _reviewed(ids, "The requirements in scope of the audit."),
            "back-matter": {
                "resources": [{"uuid": system, "title": one.organization, "description": "The system in scope."}]
            },
        }
    }


def dangling(document: Any) -> list[str]:
    """Return the UUIDs that a document refers to and does not define. Schemas accept them; readers do not."""
    defined, used = set(), set()
    for key, value in _pairs(document):
        if key == "uuid":
            defined.add(value)
        elif isinstance(value, str) and (key.endswith("-uuid") or (key == "href" and value.startswith("#"))):
            used.add(value.lstrip("#"))
    return sorted(used - defined)


def empty_arrays(document: Any) -> list[str]:
    """Return the names of arrays that are empty, which OSCAL forbids."""
    return sorted({key for key, value in _pairs(document) if value == []})


def _pairs(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key, inner
            yield from _pairs(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _pairs(inner)


def _result(one: Assessment, framework: str, found: Sequence[JudgedRequirement]) -> Document:
    tool = one.key("tool")
    behind = {slug for requirement in found for slug in requirement.controls}
    checks = [check for check in one.checks if check.control in behind]
    deviations = [each for each in one.deviations if each.control in behind]
    return _without_empty(
        {
            "uuid": one.key("result", framework),
            "title": framework,
            "description": "Operating effectiveness over the window, computed from entries of a tamper-evident log.",
            "start": _instant(one.start),
            "end": _instant(one.end),
            "local-definitions": {
                "components": [
                    {
                        "uuid": tool,
                        "type": "software",
                        "title": "Assay",
                        "description": "Judges controls from what operations recorded.",
                        "status": {"state": "operational"},
                    }
                ]
            },
            "reviewed-controls": _reviewed(
                [each.control_id for each in found], "Every requirement of the framework that the site knows."
            ),
            "observations": [_observation(one, framework, check, tool) for check in checks],
            "risks": [_risk(one, framework, each) for each in deviations],
            "findings": [_finding(one, framework, each, checks, deviations) for each in found],
        }
    )


def _observation(one: Assessment, framework: str, check: ObservedCheck, tool: str) -> Document:
    made: Document = {
        "uuid": one.key("observation", framework, check.control, check.check),
        "title": f"{check.control_title}: {check.title}",
        "description": f"{check.standing.replace('_', ' ')}: {check.reason or 'no reason given'}"
        + (f" ({check.counted})" if check.counted else ""),
        "props": [_prop("standing", check.standing), _prop("control", check.control)],
        "methods": ["TEST"],
        "origins": [{"actors": [{"type": "tool", "actor-uuid": tool}]}],
        "relevant-evidence": [
            {"href": name, "description": "Occurrences with the entries that they rest on."} for name in check.files
        ],
        "collected": _instant(one.end),
    }
    if check.expires is not None:
        made["expires"] = _instant(check.expires)
    return _without_empty(made)


def _risk(one: Assessment, framework: str, each: AcceptedDeviation) -> Document:
    return {
        "uuid": one.key("risk", framework, each.key),
        "title": f"Accepted deviation of {each.control}",
        "description": each.reason,
        "statement": each.compensation or "Nothing else protects meanwhile.",
        "status": "deviation-approved",
        "deadline": _instant(each.expires),
    }


def _finding(
    one: Assessment,
    framework: str,
    each: JudgedRequirement,
    checks: Sequence[ObservedCheck],
    deviations: Sequence[AcceptedDeviation],
) -> Document:
    met = each.standing in GOOD
    return _without_empty(
        {
            "uuid": one.key("finding", framework, each.ref),
            "title": f"{each.ref} {each.label}",
            "description": (f"{each.counted} occurrences passed. " if each.counted else "") + (each.reason or "."),
            "props": [_prop("standing", each.standing), *(_prop("control", slug) for slug in each.controls)],
            "target": {
                "type": "objective-id",
                "target-id": each.control_id,
                "status": {
                    "state": "satisfied" if met else "not-satisfied",
                    "reason": each.standing.replace("_", "-"),
                },
            },
            "related-observations": [
                {"observation-uuid": one.key("observation", framework, check.control, check.check)}
                for check in checks
                if check.control in each.controls
            ],
            "related-risks": [
                {"risk-uuid": one.key("risk", framework, deviation.key)}
                for deviation in deviations
                if deviation.control in each.controls
            ],
        }
    )


def _reviewed(ids: Any, description: str) -> Document:
    chosen = [{"control-id": token} for token in dict.fromkeys(ids)]
    which: Document = {"include-controls": chosen} if chosen else {"include-all": {}}
    return {"control-selections": [{"description": description, **which}]}


def _metadata(one: Assessment, title: str) -> Document:
    return {
        "title": title,
        "last-modified": _instant(one.made_at),
        "version": _instant(one.made_at),
        "oscal-version": OSCAL_VERSION,
    }


def _prop(name: str, value: str) -> Document:
    return {"name": name, "ns": NAMESPACE, "value": value}


def _without_empty(made: Document) -> Document:
    return {key: value for key, value in made.items() if value not in ([], {}, "")}


def _instant(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
