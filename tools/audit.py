#!/usr/bin/env python3
"""Ask for the known weaknesses of what is locked.

usage: tools/audit.py [--sarif FILE] [--lock FILE ...]

Asks the OSV database (https://osv.dev), or a mirror of it in OSV_URL, about every locked package and vendored asset.
Ends with 0 when none is known, 1 when some are, 2 on wrong use, and 3 when it could not tell, which is not the same as
none. Needs Python alone, so that it runs where the site does not.
"""

import argparse
import json
import os
import re
import sys
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote
from urllib.request import Request, urlopen

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("requirements/run.lock", "requirements/ldap.lock")
VENDORED = "static/vendor/README.md"
ASKED = os.environ.get("OSV_URL", "https://api.osv.dev").rstrip("/")
BATCH, MOST_PAGES, PATIENCE_SECONDS = 500, 20, 30
SCORES = {"CRITICAL": "9.5", "HIGH": "8.0", "MODERATE": "5.5", "MEDIUM": "5.5", "LOW": "2.0"}


class Package(NamedTuple):
    """One locked package, and where it is locked."""

    name: str
    version: str
    ecosystem: str
    place: str
    line: int


class Weakness(NamedTuple):
    """A known weakness of a package."""

    package: Package
    name: str
    aliases: tuple[str, ...]
    summary: str
    severity: str
    fixed: tuple[str, ...]


class CannotTellError(Exception):
    """It is not known whether there are weaknesses; the message says why."""


def main() -> int:
    """Run the audit and say what came of it."""
    parser = argparse.ArgumentParser(prog="tools/audit.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sarif", type=Path, help="write a report that `manage.py compliance sarif` takes in")
    parser.add_argument("--lock", type=Path, action="append", help="a file with pinned packages, instead of the site's")
    given = parser.parse_args()
    packages: list[Package] = []
    try:
        packages = locked(given.lock) if given.lock else [*locked([ROOT / one for one in LOCKS]), *vendored()]
        found = weaknesses(packages)
    except CannotTellError as error:
        sys.stderr.write(
            f"COULD NOT TELL: {error}\n"
            f"Nothing is known about the weaknesses of {len(packages)} packages; that is not the same as none.\n"
            "Run it where the database can be reached, or set OSV_URL to a mirror of it. No report was written.\n"
        )
        return 3
    if given.sarif:
        given.sarif.write_text(json.dumps(sarif(found), indent=1) + "\n")
    for one in found:
        package = one.package
        fixed = f"fixed in {' or '.join(one.fixed)}" if one.fixed else "no fixed version is known"
        names = ", ".join((one.name, *one.aliases))
        print(f"{package.name} {package.version} ({package.place}:{package.line}): {names} {one.severity.lower()}")
        print(f"    {one.summary}; {fixed}")
    if found:
        touched = {(one.package.name, one.package.version) for one in found}
        print(f"{len(found)} known weaknesses in {len(touched)} of {len(packages)} packages, by {ASKED}.")
        print("Raise what is named in requirements/*.in, lock again, run `make test`, and release; where no version is")
        print("fixed, see whether the site uses that part, and note the decision as a risk.")
        return 1
    print(f"None known: {len(packages)} packages were asked about at {ASKED}.")
    return 0


def locked(files: list[Path]) -> list[Package]:
    """Return what lock files pin. Raises CannotTellError for one that pins nothing."""
    found = []
    for file in files:
        try:
            lines = file.read_text().splitlines()
        except OSError as error:
            raise CannotTellError(f"{file} cannot be read: {error.strerror}.") from None
        place = str(file.relative_to(ROOT)) if file.is_relative_to(ROOT) else str(file)
        pins = [
            Package(re.sub(r"[-_.]+", "-", match[1]).lower(), match[2], "PyPI", place, number)
            for number, line in enumerate(lines, start=1)
            if (match := re.match(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", line))
        ]
        if not pins:
            raise CannotTellError(f"{file} pins no package.")
        found += pins
    return list({(one.name, one.version): one for one in reversed(found)}.values())[::-1]


def vendored() -> list[Package]:
    """Return the assets that are kept with the source, by their names in npm."""
    lines = (ROOT / VENDORED).read_text().splitlines()
    rows = [
        (number, re.match(r"\| `[^`]+` \| `([^`]+)` \| ([0-9][^ ]*) \|", line))
        for number, line in enumerate(lines, start=1)
    ]
    found = [Package(row[1], row[2], "npm", VENDORED, number) for number, row in rows if row]
    if not found:
        raise CannotTellError(f"{VENDORED} names no package.")
    return found


def weaknesses(packages: list[Package]) -> list[Weakness]:
    """Return what is known about packages. Raises CannotTellError when a part of it cannot be had."""
    if not packages:
        raise CannotTellError("there is nothing to ask about.")
    named: list[tuple[Package, str]] = []
    for start in range(0, len(packages), BATCH):
        waiting: list[tuple[Package, str]] = [(one, "") for one in packages[start : start + BATCH]]
        for _ in range(MOST_PAGES):
            answers = _answers(waiting)
            pairs = [(one, answer) for (one, _), answer in zip(waiting, answers, strict=True)]
            named += [(one, str(row["id"])) for one, answer in pairs for row in answer.get("vulns") or ()]
            waiting = [(one, str(answer["next_page_token"])) for one, answer in pairs if answer.get("next_page_token")]
            if not waiting:
                break
        else:
            raise CannotTellError(f"{ASKED} has more answers than {MOST_PAGES} pages.")
    records = {name: asked(f"/v1/vulns/{quote(name)}") for name in sorted({name for _, name in named})}
    found = [_weakness(package, records[name]) for package, name in named if not records[name].get("withdrawn")]
    return sorted(found, key=lambda one: (-float(SCORES.get(one.severity, "5")), one.package.name, one.name))


def _answers(waiting: list[tuple[Package, str]]) -> list[dict[str, Any]]:
    queries = [
        {"package": {"name": one.name, "ecosystem": one.ecosystem}, "version": one.version}
        | ({"page_token": token} if token else {})
        for one, token in waiting
    ]
    answers = asked("/v1/querybatch", {"queries": queries}).get("results")
    if not isinstance(answers, list) or len(answers) != len(waiting):
        raise CannotTellError(f"{ASKED} did not answer for each of the packages.")
    return [answer or {} for answer in answers]


def _weakness(package: Package, record: dict[str, Any]) -> Weakness:
    summary = str(record.get("summary") or record.get("details") or "no summary").split("\n")[0][:200].rstrip(".")
    fixed = {
        str(event["fixed"])
        for affected in record.get("affected") or ()
        if affected.get("package", {}).get("name", "").lower() == package.name
        for span in affected.get("ranges") or ()
        if span.get("type") in {"ECOSYSTEM", "SEMVER"}
        for event in span.get("events") or ()
        if "fixed" in event
    }
    severity = str((record.get("database_specific") or {}).get("severity") or "UNRATED").upper()
    return Weakness(
        package, record["id"], tuple(record.get("aliases") or ())[:3], summary, severity, tuple(sorted(fixed))
    )


def asked(path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return what the database answers. Raises CannotTellError."""
    if not ASKED.startswith(("https://", "http://")):
        raise CannotTellError(f"OSV_URL is {ASKED}: an address of the web is needed.")
    sent = None if body is None else json.dumps(body).encode()
    request = Request(ASKED + path, data=sent, headers={"Content-Type": "application/json"})  # noqa: S310 checked above
    try:
        with urlopen(request, timeout=PATIENCE_SECONDS) as answer:  # noqa: S310 checked above
            told = json.load(answer)
    except (OSError, HTTPException, ValueError) as error:
        raise CannotTellError(f"{ASKED}{path} did not answer as it should: {error}.") from None
    if not isinstance(told, dict):
        raise CannotTellError(f"{ASKED}{path} answered with something else than an object.")
    return told


def sarif(found: list[Weakness]) -> dict[str, Any]:
    """Return the result as SARIF 2.1.0."""
    rules = {
        one.name: {
            "id": one.name,
            "shortDescription": {"text": one.summary},
            "properties": {"security-severity": SCORES.get(one.severity, "5.0")},
        }
        for one in found
    }
    results = [
        {
            "ruleId": one.name,
            "level": "error",
            "message": {"text": f"{one.package.name} {one.package.version}: {one.summary}"},
            "partialFingerprints": {"package": one.package.name, "weakness": one.name},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": one.package.place},
                        "region": {"startLine": one.package.line},
                    }
                }
            ],
        }
        for one in found
    ]
    ended = datetime.now(tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    run = {
        "tool": {"driver": {"name": "dependency-audit", "version": "1", "rules": list(rules.values())}},
        "invocations": [{"executionSuccessful": True, "endTimeUtc": ended}],
        "results": results,
    }
    return {"version": "2.1.0", "runs": [run]}


if __name__ == "__main__":
    sys.exit(main())
