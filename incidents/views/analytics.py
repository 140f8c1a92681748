"""What incidents took and what they did to people: tiles, charts, tables, CSV."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from accounts.data import Capability
from core.clock import database_now
from core.keeping import Keeper
from core.replicas import reading_from_replica
from incidents.data import Severity
from incidents.forms import AnalyticsForm
from incidents.selectors.analytics import MEASURES, Analytics, Cut, Row, analytics
from incidents.selectors.people_load import Handing, Load, Noise, follow_ups_kept, handing_of, load_of, noise_of
from incidents.views.access import RoomView

DEFAULT_DAYS = 90
# Reports of more incidents are kept for a while: the page says of when they are.
MANY = 5_000
KEPT_SECONDS = 300.0
MOST_PARTS = 100
TONES = {Severity.SEV1: "bad", Severity.SEV2: "risk", Severity.SEV3: "active", Severity.SEV4: "plain"}
# A part links to the incidents behind it where the list has a filter of that name.
FILTERS = {Cut.SERVICE: "service", Cut.SEVERITY: "severity", Cut.SOURCE: "source"}


@dataclass(frozen=True)
class _Report:
    """Everything that is reckoned for the page."""

    found: Analytics
    load: Load
    noise: Sequence[Noise]
    handing: Sequence[Handing]
    follow_ups: Mapping[str, int]


def _is_long(report: _Report) -> bool:
    return report.found.whole.count > MANY


_reports = Keeper[_Report](seconds=KEPT_SECONDS, worth=_is_long)


class AnalyticsView(RoomView):
    """The measures of a period; `?csv=1` gives the table."""

    def get(self, request: HttpRequest) -> HttpResponse:
        form = AnalyticsForm(request.GET or {"days": DEFAULT_DAYS, "by": Cut.SERVICE.value}, viewer=self.principal)
        form.full_clean()
        # What is not understood is said at its field; what is, holds.
        chosen = form.cleaned_data
        with reading_from_replica():
            return self._answer(request, form, chosen)

    def _answer(self, request: HttpRequest, form: AnalyticsForm, chosen: dict[str, Any]) -> HttpResponse:
        until = database_now()
        days = chosen.get("days") or DEFAULT_DAYS
        since = until - timedelta(days=days)
        by, service, severity = (chosen.get(name) or "" for name in ("by", "service", "severity"))

        def measured(most_parts: int | None) -> Analytics:
            return analytics(
                viewer=self.principal,
                since=since,
                until=until,
                by=Cut(by or Cut.SERVICE),
                service=service,
                severity=severity,
                most_parts=most_parts,
            )

        if request.GET.get("csv"):
            return _as_csv(measured(None))
        viewer = self.principal
        seen = viewer.teams_where(Capability.OPERATIONS_VIEW)
        report = _reports.get(
            (viewer.reference, seen, days, by, service, severity),
            lambda: _Report(
                measured(MOST_PARTS),
                load_of(viewer=viewer, since=since, until=until),
                noise_of(viewer=viewer, since=since, until=until),
                handing_of(since=since, until=until),
                follow_ups_kept(since=since, until=until),
            ),
        )
        found = report.found
        times = _times(found)
        context = {
            "title": "Incident analytics",
            "intro": "Medians and 90th percentiles with their counts; what has not happened is left out.",
            "form": form,
            "found": found,
            "days": days,
            "rows": [_shown(one, found.by, days) for one in found.parts],
            "whole": _shown(found.whole, found.by, days),
            "measures": [(name, _label(name)) for name in MEASURES],
            "tiles": [(_label(name), found.whole.measures[name]) for name in MEASURES],
            "weekly": _weekly(found),
            "times": times,
            "has_times": any(one is not None for column in times["rows"][1:] for one in column),
            "load": report.load,
            "noise": report.noise,
            "handing": report.handing,
            "follow_ups": report.follow_ups,
            "is_kept": _is_long(report),
            "csv_query": urlencode({**{key: value for key, value in request.GET.items() if value}, "csv": "1"}),
        }
        return render(request, "incidents/analytics.html", context)


def _label(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _shown(row: Row, by: Cut, days: int) -> dict[str, Any]:
    query = {"opened": str(days)} if days in {7, 30, 90} else {}
    if row.label != "all" and by in FILTERS and row.label != "none":
        query[FILTERS[by]] = row.label
    return {
        "row": row,
        "url": f"{reverse('incidents:incident_list')}?{urlencode(query)}",
        "cells": [row.measures[name] for name in MEASURES],
        "acknowledged": row.ratio(row.acknowledged),
        "resolved_unseen": row.ratio(row.resolved_unseen),
        "told_by_people": row.ratio(row.told_by_people),
        "repeats": row.ratio(row.repeats),
        "with_runbook": row.ratio(row.with_runbook),
    }


def _weekly(found: Analytics) -> dict[str, Any]:
    weeks = _weeks(found)
    counted = found.by_week_and_severity
    columns = [[counted[week][one.value] if week in counted else 0 for week in weeks] for one in Severity]
    return {
        "series": [{"label": one.value.upper(), "tone": TONES[one], "width": 2} for one in Severity],
        "rows": [[_instant(week) for week in weeks], *columns],
        "unit": "",
    }


def _times(found: Analytics) -> dict[str, Any]:
    weeks = _weeks(found)
    rows = {row.label: row for row in found.weeks}

    def minutes(name: str) -> list[float | None]:
        medians = [rows[week].measures[name].median if week in rows else None for week in weeks]
        return [None if one is None else round(one.total_seconds() / 60, 2) for one in medians]

    return {
        "series": [
            {"label": "Acknowledge", "tone": "active", "width": 2},
            {"label": "Resolve", "tone": "risk", "width": 2},
        ],
        "rows": [
            [_instant(week) for week in weeks],
            minutes("time_to_acknowledge"),
            minutes("time_to_resolve"),
        ],
        "unit": " min",
    }


def _weeks(found: Analytics) -> list[str]:
    """Return every week of the period, also those in which nothing happened."""
    monday = found.since.astimezone(UTC) - timedelta(days=found.since.astimezone(UTC).weekday())
    weeks = []
    while monday <= found.until:
        weeks.append(f"{monday:%Y-%m-%d}")
        monday += timedelta(weeks=1)
    return weeks


def _instant(week: str) -> int:
    return int(datetime.fromisoformat(week).replace(tzinfo=UTC).timestamp())


def _as_csv(found: Analytics) -> HttpResponse:
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = 'attachment; filename="incident-analytics.csv"'
    writer = csv.writer(response)
    figures = ("n", "median_seconds", "p90_seconds", "mean_seconds")
    writer.writerow(
        [
            found.by.value,
            *("count", "still_open", "acknowledged", "resolved_unseen", "told_by_people", "repeats", "with_runbook"),
            "time_between_seconds",
            *(f"{name}_{figure}" for name in MEASURES for figure in figures),
        ]
    )
    for row in (*found.parts, found.whole):
        cells: list[object] = []
        for name in MEASURES:
            one = row.measures[name]
            cells += [one.n, *(_seconds(value) for value in (one.median, one.p90, one.mean))]
        writer.writerow(
            [
                # A spreadsheet must not take a label for a formula.
                f"'{row.label}" if row.label[:1] in "=+-@" else row.label,
                row.count,
                row.still_open,
                row.acknowledged,
                row.resolved_unseen,
                row.told_by_people,
                row.repeats,
                row.with_runbook,
                _seconds(row.time_between),
                *cells,
            ]
        )
    return response


def _seconds(value: timedelta | None) -> str:
    return "" if value is None else f"{value.total_seconds():.0f}"
