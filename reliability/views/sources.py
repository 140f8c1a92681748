"""Where counts are read from, how that goes, and a question put to a source now."""

from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from accounts.data import Capability
from core import formatting
from core.lists import Column, Empty, RecordListView
from reliability.data import DataState
from reliability.models import DataSource
from reliability.navigation import may_see_sources
from reliability.selectors.data_sources import (
    SourceStanding,
    slos_read_from,
    source_by_slug,
    source_standings,
    source_state,
)
from reliability.services.trying import try_source
from reliability.views.access import RoomView


class SourceListView(RecordListView):
    """Every source, the failing first."""

    title = "Data sources"
    intro = "Where SLOs are counted from. OpenTelemetry is received at /v1/metrics and /v1/traces and needs no source."
    noun = "data sources"
    columns = (
        Column(
            "name",
            "Source",
            lambda row: row.source.name,
            kind="strong",
            sort_key=lambda row: row.source.name.lower(),
            href=lambda row: reverse("reliability:source_detail", args=[row.source.slug]),
        ),
        Column("state", "State", lambda row: row.state, kind="state", sort_key=lambda row: row.state),
        Column("host", "Address", lambda row: row.host, kind="code"),
        Column("kind", "Kind", lambda row: row.source.flavour_found or formatting.MISSING),
        Column("slos", "SLOs", lambda row: row.slos, kind="number", sort_key=lambda row: row.slos),
        Column(
            "troubled", "Not read well", lambda row: row.troubled, kind="number", sort_key=lambda row: -row.troubled
        ),
        Column(
            "behind",
            "Read up to",
            lambda row: row.behind,
            render=lambda row: f"{formatting.written_duration(row.behind, parts=1)} ago" if row.behind else "—",
            sort_key=lambda row: -(row.behind or timedelta(0)),
        ),
        Column("success", "Last success", lambda row: row.source.last_success_at, kind="time"),
        Column("error", "Last error", lambda row: row.source.last_error_at, kind="time"),
        Column("said", "What it said", lambda row: row.source.last_error, shown=False),
    )
    default_sort = "state"
    empty = Empty(
        "No Prometheus is read. A source is an OpenSLO document of the kind DataSource.",
        command=".venv/bin/python manage.py slo apply datasource.yaml",
    )

    def may_view(self, principal: Any) -> bool:
        return may_see_sources(principal)

    def get_records(self) -> list[SourceStanding]:
        return source_standings()

    def row_tone(self, record: SourceStanding) -> str:
        return "bad" if record.state == "failed" else ""


class SourceDetailView(RoomView):
    """One source: how it is asked, what it said last, and which SLOs are read from it."""

    def get(self, request: HttpRequest, slug: str) -> HttpResponse:
        source, principal = self._source(slug), self.principal
        settings = source.settings
        context = {
            "title": source.name,
            "source": source,
            "state": source_state(source),
            "slos": slos_read_from(source=source, viewer=principal),
            "may_try": principal.may(Capability.SLO_EDIT),
            "facts": [
                ("Address", source.url),
                ("Kind", source.flavour_found or "not found out yet"),
                ("Signs in", _signs_in(settings)),
                ("Tenant", settings.tenant or formatting.MISSING),
                ("Private address", "allowed on purpose" if source.allow_private else "not allowed"),
                ("Series read at once", f"at most {settings.series_limit:,}"),
            ],
        }
        return render(request, "reliability/source_detail.html", context)

    def post(self, request: HttpRequest, slug: str) -> HttpResponse:
        tried = try_source(principal=self.principal, source=self._source(slug))
        tell = messages.success if tried.state is DataState.OK else messages.error
        kind = f" ({tried.flavour})" if tried.flavour else ""
        tell(request, f"{tried.said}{kind} Asked for {tried.seconds:.1f} s.")
        return redirect("reliability:source_detail", slug=slug)

    def _source(self, slug: str) -> DataSource:
        found = source_by_slug(slug=slug)
        if found is None or not may_see_sources(self.principal):
            raise Http404("There is no data source of this name.")
        return found


def _signs_in(settings: Any) -> str:
    if settings.bearer_token.get_secret_value():
        return "with a token"
    if settings.username:
        return f"as {settings.username}"
    return "with a certificate" if settings.client_certificate else "not at all"
