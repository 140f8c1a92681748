"""What a Checkov report proves. Its exit code says nothing; a parse error, an empty and a missing folder return 0."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

OTHER = "OTHER"
# What is kept of a finding. Checkov's own report repeats secrets that it finds.
KEPT = ("check_id", "check_name", "resource", "file_path", "file_line_range", "check_class")


@dataclass(frozen=True)
class Skip:
    """A check that the code asks to skip; `excused_by` is empty where no approved exception covers it."""

    check: str
    resource: str
    reason: str
    excused_by: str = ""


@dataclass
class Counts:
    """What the checks of one category came to."""

    passed: int = 0
    failed: int = 0
    unexcused_skips: int = 0


@dataclass(frozen=True)
class JudgedReport:
    """What a report comes to. Without `valid` it proves nothing, for the stated reason."""

    tool_version: str
    resources: int
    passed: int
    failed: int
    parsing_errors: int
    skipped: tuple[Skip, ...]
    failed_checks: tuple[str, ...]
    categories: dict[str, Counts]
    valid: bool
    reason: str
    kept: dict[str, Any] = field(default_factory=dict)

    @property
    def unexcused(self) -> tuple[Skip, ...]:
        """Skips that no approved exception covers; each is a deviation."""
        return tuple(one for one in self.skipped if not one.excused_by)


def judge_report(
    report: Any,
    *,
    trouble: str = "",
    category_of: Mapping[str, str] | None = None,
    excused_by: Callable[[str, str], str] = lambda _check, _resource: "",
) -> JudgedReport:
    """Read a report in any of its three shapes; it is valid only when it proves that everything was looked at."""
    parts = [part for part in (report if isinstance(report, list) else [report]) if isinstance(part, Mapping)]
    summaries = [part.get("summary", part) for part in parts]
    passed, failed, errors, resources = (
        sum(_number(summary, name) for summary in summaries)
        for name in ("passed", "failed", "parsing_errors", "resource_count")
    )
    results = [part.get("results", {}) for part in parts]
    found = {
        name: [one for result in results for one in result.get(name, [])]
        for name in ("passed_checks", "failed_checks", "skipped_checks")
    }
    reason = trouble
    if not reason and errors:
        reason = f"{errors} files could not be parsed"
    if not reason and not resources:
        reason = "no resource was found"
    skips = tuple(_skip(one, excused_by) for one in found["skipped_checks"])
    return JudgedReport(
        tool_version=str(next((s.get("checkov_version") for s in summaries if s.get("checkov_version")), "")),
        resources=resources,
        passed=passed,
        failed=failed,
        parsing_errors=errors,
        skipped=skips,
        failed_checks=tuple(_named(found["failed_checks"])),
        categories=_categories(found, skips, category_of or {}),
        valid=not reason,
        reason=reason or "everything was parsed",
        kept={
            "passed": passed,
            "failed": failed,
            "parsing_errors": errors,
            "resources": resources,
            "failed_checks": [_scrubbed(one) for one in found["failed_checks"]],
            "skipped_checks": [_scrubbed(one) for one in found["skipped_checks"]],
        },
    )


def covered(covers: str, *, check: str, resource: str) -> bool:
    """Say whether what an exception covers (`CKV_1`, or `CKV_1 resource`) includes a skipped check."""
    return bool(covers) and covers in {check, f"{check} {resource}"}


def _categories(found: Mapping[str, Any], skips: Iterable[Skip], category_of: Mapping[str, str]) -> dict[str, Counts]:
    counts: defaultdict[str, Counts] = defaultdict(Counts)
    for one in found["passed_checks"]:
        counts[category_of.get(str(one.get("check_id")), OTHER)].passed += 1
    for one in found["failed_checks"]:
        counts[category_of.get(str(one.get("check_id")), OTHER)].failed += 1
    for skip in skips:
        counts[category_of.get(skip.check, OTHER)].unexcused_skips += not skip.excused_by
    return dict(sorted(counts.items()))


def _number(summary: Mapping[str, Any], name: str) -> int:
    value = summary.get(name)
    return value if isinstance(value, int) else 0


def _scrubbed(finding: Mapping[str, Any]) -> dict[str, Any]:
    return {key: finding.get(key) for key in KEPT}


def _skip(finding: Mapping[str, Any], excused_by: Callable[[str, str], str]) -> Skip:
    reason = (finding.get("check_result") or {}).get("suppress_comment") or ""
    check, resource = str(finding.get("check_id", "")), str(finding.get("resource", ""))
    return Skip(check, resource, str(reason), excused_by(check, resource))


def _named(findings: Iterable[Mapping[str, Any]]) -> list[str]:
    return sorted({f"{one.get('check_id', '')} {one.get('resource', '')}".strip() for one in findings})
