"""Scans by control and by file."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from compliance.domain.rules import Rule
from compliance.models import Check, Control, ScanRun

SCANNED = "iac.scanned"


@dataclass(frozen=True)
class FindingGroup:
    """Findings of a scan that belong together: to a control, or in a file."""

    title: str
    url: str
    slug: str
    findings: Sequence[dict[str, Any]]

    @property
    def open(self) -> int:
        """How many of them no approved exception covers."""
        return sum(not one["excused_by"] for one in self.findings)


def scan_runs() -> QuerySet[ScanRun]:
    """Return the scans that somebody asked for, newest first."""
    return ScanRun.objects.defer("findings")


def findings_by_control(run: ScanRun) -> list[FindingGroup]:
    """Return what a scan found by the control that it speaks against; the general ones last.

    A control looks at a category when a rule of its checks names `categories.<CATEGORY>`. What no control looks at goes
    to those that look at every scan.
    """
    by_category: defaultdict[str, list[Control]] = defaultdict(list)
    general: dict[int, Control] = {}
    checks = Check.objects.filter(retired_at__isnull=True, control__retired_at__isnull=True).select_related("control")
    for check in checks:
        rule = Rule.model_validate(check.rule)
        if SCANNED not in rule.entries:
            continue
        named = {one.field.split(".")[1] for one in (*rule.where, *rule.expect) if one.field.startswith("categories.")}
        for category in named:
            by_category[category].append(check.control)
        if not named:
            general[check.control_id] = check.control
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    known: dict[int, Control] = {}
    for one in run.findings:
        for control in by_category.get(one["category"], list(general.values())):
            known[control.pk] = control
            found[control.pk].append(one)
    groups = [
        FindingGroup(known[key].title, known[key].get_absolute_url(), known[key].slug, rows)
        for key, rows in found.items()
    ]
    return sorted(groups, key=lambda group: (-group.open, group.title))


def findings_by_file(findings: Iterable[dict[str, Any]]) -> list[FindingGroup]:
    """Return what a scan found by file, the most first."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for one in findings:
        found[one["file"] or "no file"].append(one)
    groups = [
        FindingGroup(name, "", "", sorted(rows, key=lambda row: row["line"] or 0)) for name, rows in found.items()
    ]
    return sorted(groups, key=lambda group: (-group.open, group.title))
