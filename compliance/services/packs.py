"""The readable part of an evidence pack: an index, and for each control its occurrences as HTML, CSV and JSON."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import orjson
from django.db.models import Case, Q, QuerySet, When
from django.template.loader import render_to_string

from compliance.data import ASSERTED, WORDS, Cadence, ControlStanding, RequirementStanding, Standing, Window
from compliance.models import Control, Engagement, Framework, Occurrence
from compliance.selectors import control_standings, controls_judged, requirement_standings
from compliance.selectors.registers import audit_registers, control_matrix, registers
from compliance.selectors.standing import GOOD
from compliance.services.exports import (
    STATEMENT_COLUMNS,
    oscal_documents,
    statement_of_applicability,
    statement_rows,
)
from compliance.services.printing import as_csv, as_pdf
from core.clock import database_now
from ledger.data.packs import Document, Omission

Progress = Callable[[str, int, int], None]
# Rows that a control's page and its JSON show; the table beside them holds all.
SHOWN = 2_000
ROWS = 2_000
COLUMNS = ("check", "check_version", "occurrence", "due_at", "happened_at", "outcome", "verified", "reason", "entries")


@dataclass(frozen=True)
class PackDraft:
    """The documents of a pack, what is not in it, and the controls that it covers."""

    documents: dict[str, Document]
    omissions: Sequence[Omission]
    controls: Sequence[Control]
    steps: int


def pack_documents(engagement: Engagement, *, window: Window, progress: Progress) -> PackDraft:
    """Write what a reader opens first. Every control and requirement without proof is an omission with its reason."""
    now = database_now()
    frameworks = list(engagement.frameworks.all())
    # A control that was retired in the window still speaks for what had fallen due, and so has its proof here too.
    controls = list(controls_judged(frameworks, since=window.start))
    steps = len(controls) + len(frameworks) + 2
    omissions: list[Omission] = []
    documents: dict[str, Document] = {}
    matrix: list[tuple[Framework, Sequence[RequirementStanding]]] = []
    for number, framework in enumerate(frameworks):
        progress(f"Judging {framework.name}", number, steps)
        standings = requirement_standings(framework, window=window, now=now)
        matrix.append((framework, standings))
        omissions += [
            Omission(f"{framework.name} {one.ref} {one.label}", "no control of the organization serves it")
            for one in standings
            if not one.controls
        ]
        rows = [
            [framework.slug, one.ref, one.label, one.word, one.judgement.counted, [c.slug for c in one.controls]]
            for one in standings
        ]
        documents[f"requirements-{framework.slug}.csv"] = as_csv(
            ("framework", "ref", "title", "standing", "passed of due", "controls"), rows
        )
    standing_of = control_standings(controls, window=window, now=now)
    for number, control in enumerate(controls, start=len(frameworks)):
        progress(f"Writing {control.slug}", number, steps)
        standing = standing_of[control.pk]
        if standing.judgement.standing in {Standing.NOT_TESTED, Standing.STALE, Standing.COLLECTOR_SILENT}:
            omissions.append(
                Omission(f"proof of the control {control.slug}", f"{standing.word}: {standing.judgement.reason}")
            )
        documents.update(_control_documents(control, standing, window=window))
    context = {
        "engagement": engagement,
        "window": window,
        "matrix": matrix,
        "controls": [standing_of[control.pk] for control in controls],
        "omissions": omissions,
        "asserted": ASSERTED,
    }
    documents["controls.html"] = render_to_string("compliance/pack/index.html", context).encode()
    progress("Writing OSCAL, registers and the report", steps - 2, steps)
    documents.update(oscal_documents(engagement, window=window, matrix=matrix, controls=standing_of))
    tables = [*registers(), *audit_registers(engagement), control_matrix(frameworks)]
    for table in tables:
        documents[f"registers/{table.name}.csv"] = as_csv(table.columns, table.rows())
    for framework in frameworks:
        lines = statement_of_applicability(framework, now=now)
        documents[f"statement-of-applicability-{framework.slug}.csv"] = as_csv(STATEMENT_COLUMNS, statement_rows(lines))
    title = f"{engagement.name}: operating effectiveness"
    documents["report.pdf"] = as_pdf(
        "compliance/pack/report.html", {**context, "title": title, "summary": _summary(matrix)}
    )
    return PackDraft(documents, omissions, controls, steps)


def _summary(matrix: Sequence[tuple[Framework, Sequence[RequirementStanding]]]) -> list[dict[str, Any]]:
    lines = []
    for framework, standings in matrix:
        served = [one for one in standings if one.controls]
        words = Counter(one.word for one in served)
        lines.append(
            {"framework": framework, "total": len(standings), "served": len(served), "words": words.most_common()}
        )
    return lines


def _control_documents(control: Control, standing: ControlStanding, *, window: Window) -> dict[str, Document]:
    found = _occurrences(control, window=window)
    count = found.count()
    # What deviates stands first where not everything is shown; the table holds all of it.
    shown = found if count <= SHOWN else found.order_by(Case(When(GOOD, then=1), default=0), "due_at", "pk")[:SHOWN]
    rows = [_occurrence(row) for row in shown]
    links = [
        {
            "requirement": f"{link.requirement.framework.name} {link.requirement.ref}",
            "title": link.requirement.label,
            "strength": link.strength,
            "rationale": link.rationale,
        }
        for link in control.links.select_related("requirement__framework")
    ]
    exceptions = [
        {
            "reason": one.reason,
            "starts_at": _instant(one.starts_at),
            "expires_at": _instant(one.expires_at),
            "requested_by": one.requested_by,
            "approved_by": one.approved_by or "nobody: it does not count",
        }
        for one in control.exceptions.all()
    ]
    whole = {
        "control": control.slug,
        "title": control.title,
        "version": control.version,
        "objective": control.objective,
        "owner": control.owner,
        "frequency": control.frequency,
        "standing": WORDS[standing.judgement.standing],
        "passed": standing.judgement.passed,
        "due": standing.judgement.due,
        "reason": standing.judgement.reason,
        "window": {"from": _instant(window.start), "to": _instant(window.end)},
        "requirements": links,
        "exceptions": exceptions,
        "definition": control.definition,
        "occurrences": rows,
        "occurrences_in_all": count,
        "occurrences_file": "occurrences.csv",
    }
    context = {
        "control": control,
        "standing": standing,
        "links": links,
        "exceptions": exceptions,
        "rows": rows,
        "more": count - len(rows),
    }
    folder = f"controls/{control.slug}"
    return {
        f"{folder}/control.html": render_to_string(
            "compliance/pack/control.html", {**context, "window": window, "asserted": ASSERTED}
        ).encode(),
        f"{folder}/occurrences.csv": _occurrence_table(control, window=window),
        f"{folder}/control.json": orjson.dumps(whole, option=orjson.OPT_INDENT_2),
    }


def _occurrences(control: Control, *, window: Window) -> QuerySet[Occurrence]:
    events = Q(check_run__cadence=Cadence.EVENT, due_at__gte=window.start, due_at__lt=window.end)
    # A period falls due at the instant after its end.
    due = Q(due_at__lte=window.end) | Q(happened_at__gte=window.start, happened_at__lt=window.end)
    scheduled = ~Q(check_run__cadence=Cadence.EVENT) & Q(due_at__gt=window.start) & due
    found = Occurrence.objects.filter(events | scheduled, check_run__control=control)
    return found.select_related("check_run").order_by("due_at", "pk")


def _occurrence_table(control: Control, *, window: Window) -> Iterator[bytes]:
    """Yield the table of all occurrences, some rows at a time: there may be a hundred thousand."""
    yield as_csv(COLUMNS, [])
    rows = (_occurrence(row) for row in _occurrences(control, window=window).iterator(chunk_size=ROWS))
    while some := list(islice(rows, ROWS)):
        yield as_csv(COLUMNS, [[row[name] for name in COLUMNS] for row in some], header=False)


def _occurrence(row: Occurrence) -> dict[str, Any]:
    return {
        "check": row.check_run.slug,
        "check_version": row.check_version,
        "occurrence": row.key,
        "due_at": _instant(row.due_at),
        "happened_at": _instant(row.happened_at),
        "outcome": row.outcome,
        "verified": row.verified,
        "reason": row.reason,
        "entries": row.entries,
    }


def _instant(moment: datetime | None) -> str:
    return "" if moment is None else moment.astimezone(UTC).isoformat(timespec="seconds")
