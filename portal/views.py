"""The pages that gather several rooms."""

import sys
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from django.conf import settings
from django.contrib.auth.mixins import LoginRequiredMixin
from django.core.exceptions import DisallowedHost, RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.views import View
from django.views.defaults import page_not_found
from django.views.generic import TemplateView

from accounts.data import Capability, Principal
from accounts.services import principal_of
from catalog.selectors import services_visible
from core.clock import database_now
from core.context import site
from core.database_trouble import RETRY_AFTER_SECONDS, SAID, trouble_of
from core.lists import Column, Empty, Filter, RecordListView
from core.navigation import search_for
from core.templatetags.assay import state
from portal.data import ServiceLine
from portal.selectors import now_for, service_page, services_standing


class HomeView(LoginRequiredMixin, TemplateView):
    """What needs me now, and is anything on fire?"""

    template_name = "portal/home.html"

    def get_template_names(self) -> list[str]:
        return ["portal/now.html" if self.request.htmx else "portal/home.html"]  # type: ignore[attr-defined]

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        now = database_now()
        board = now_for(viewer=principal_of(self.request), username=self.request.user.get_username(), now=now)
        return super().get_context_data(title="Now", now=now, board=board, **kwargs)


class ServiceListView(RecordListView):
    """Every service that the reader may see, with how it stands."""

    title = "Services"
    noun = "services"
    columns = (
        Column(
            "name",
            "Service",
            lambda line: line.name,
            kind="strong",
            sort_key=lambda line: line.name.lower(),
            href=lambda line: line.url,
        ),
        Column(
            "state",
            "State",
            lambda line: line.state,
            sort_key=lambda line: -line.tone.badness,
            render=lambda line: state(line.state, tone=line.tone.value),
        ),
        Column(
            "incidents",
            "Open incidents",
            lambda line: line.incidents,
            kind="number",
            sort_key=lambda line: line.incidents,
        ),
        Column("tier", "Tier", lambda line: line.tier, kind="number", sort_key=lambda line: line.tier),
        Column("team", "Owner", lambda line: line.team, sort_key=lambda line: line.team),
        Column(
            "environment",
            "Environment",
            lambda line: line.environment,
            sort_key=lambda line: line.environment,
            wide_only=True,
        ),
        Column("slug", "Slug", lambda line: line.slug, kind="code", sort_key=lambda line: line.slug, shown=False),
    )
    default_sort = "state"
    empty = Empty(
        "No service is known yet. Describe services in YAML and apply them.",
        command=".venv/bin/python manage.py catalog apply services.yaml",
    )

    def get_filters(self) -> Sequence[Filter]:
        return (
            Filter(
                "tone",
                "State",
                [("bad", "on fire"), ("risk", "at risk"), ("unknown", "unknown"), ("ok", "OK")],
                apply=lambda lines, chosen: [line for line in lines if line.tone.value in chosen],
            ),
            Filter(
                "team",
                "Owner",
                sorted({(line.team, line.team) for line in self.lines if line.team}),
                apply=lambda lines, chosen: [line for line in lines if line.team in chosen],
            ),
            Filter(
                "tier",
                "Tier",
                [(str(tier), str(tier)) for tier in (1, 2, 3, 4)],
                apply=lambda lines, chosen: [line for line in lines if str(line.tier) in chosen],
            ),
        )

    def may_view(self, principal: Principal) -> bool:
        return principal.may_somewhere(Capability.OPERATIONS_VIEW)

    @cached_property
    def lines(self) -> list[ServiceLine]:
        return services_standing(viewer=principal_of(self.request), now=database_now())

    def get_records(self) -> list[ServiceLine]:
        return self.lines


class ServiceDetailView(LoginRequiredMixin, TemplateView):
    """How is this service, who owns it, what changed?"""

    template_name = "portal/service_detail.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        viewer = principal_of(self.request)
        service = services_visible(viewer=viewer).filter(slug=kwargs["slug"]).first()
        if service is None:
            raise Http404("No such service.")
        now = database_now()
        return super().get_context_data(
            title=service.name,
            service=service,
            now=now,
            about=service_page(viewer=viewer, service=service, now=now),
            **kwargs,
        )


class SearchView(LoginRequiredMixin, View):
    """Search across every room; as a page, or as the panel under the search box."""

    def get(self, request: HttpRequest) -> HttpResponse:
        text = request.GET.get("q", "").replace("\x00", "").strip()[:200]
        partial = bool(request.htmx)  # type: ignore[attr-defined]
        hits = search_for(principal_of(request), text, limit=5 if partial else 50)
        context: dict[str, Any] = {"title": "Search", "query": text, "hits": hits}
        return TemplateResponse(request, "portal/search_hits.html" if partial else "portal/search.html", context)


PROGRAM_PATHS = ("/api/", "/v1/", "/v2/", "/inbound/")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer to what is no request that this site takes: a foreign host name, or more than a form may hold."""
    if isinstance(exception, DisallowedHost):
        headline, says = (
            "This is not the site's address",
            "The site answers to other host names than the one asked for.",
        )
        do = f"People use {settings.SITE_URL}. Further names go into ASSAY_ALLOWED_HOSTS."
    elif isinstance(exception, RequestDataTooBig | TooManyFieldsSent | TooManyFilesSent):
        headline, says = "That is too much at once", "What was sent is larger than a form may be."
        do = "Send less at once, or use the REST API or the command line for files."
    else:
        headline, says = "That was not understood", "What was sent is damaged, or was not made by a page of this site."
        do = "Go back, load the page anew, and try again."
    context = {**site(request), "headline": headline, "says": says, "do": do}
    if request.path.startswith(PROGRAM_PATHS):
        return JsonResponse({"detail": f"{says} {do}", "request_id": context["request_id"]}, status=400)
    return HttpResponse(render_to_string("400.html", context), status=400)


def foreign_form(request: HttpRequest, reason: str = "") -> HttpResponse:  # noqa: ARG001 Django's signature
    """Answer to a form without this site's mark: it is too old, or was not made by a page of this site."""
    says = "The form was open for too long, was sent after signing in elsewhere, or was not made by this site."
    do = "Go back, load the page anew, and send it again. Cookies must be allowed for this site."
    context = {**site(request), "headline": "That form is no longer good", "says": says, "do": do}
    if request.path.startswith(PROGRAM_PATHS):
        return JsonResponse({"detail": f"{says} {do}", "request_id": context["request_id"]}, status=403)
    return HttpResponse(render_to_string("400.html", context), status=403)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer where nothing is, or nothing that the caller may know of. Programs get JSON."""
    if request.path.startswith(PROGRAM_PATHS):
        return JsonResponse({"detail": "Nothing answers at this address."}, status=404)
    return page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer when a request failed, with the id that the log carries; reads no database, which may be what failed.

    A database that does not answer, takes no writes or is full is 503, to be tried again; all else is 500. Programs get
    JSON.
    """
    trouble = trouble_of(sys.exc_info()[1])
    said = (
        f"{SAID[trouble]}; nothing of this request was kept." if trouble else "Something failed; the log has this id."
    )
    context = {**site(request), "trouble": trouble, "headline": SAID[trouble] if trouble else "Something failed"}
    status = 503 if trouble else 500
    if request.path.startswith(PROGRAM_PATHS):
        response: HttpResponse = JsonResponse({"detail": said, "request_id": context["request_id"]}, status=status)
    else:
        response = HttpResponse(render_to_string("500.html", context), status=status)
    if trouble:
        response["Retry-After"] = str(RETRY_AFTER_SECONDS[trouble])
    return response
