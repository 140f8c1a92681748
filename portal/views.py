"""The pages that gather several rooms."""

from typing import Any

from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.views import View
from django.views.generic import TemplateView

from core.navigation import search_for


class HomeView(LoginRequiredMixin, TemplateView):
    """What needs me now, and is anything on fire?"""

    template_name = "portal/home.html"
    extra_context = {"title": "Now"}


class SearchView(LoginRequiredMixin, View):
    """Search across every room; as a page, or as the panel under the search box."""

    def get(self, request: HttpRequest) -> HttpResponse:
        text = request.GET.get("q", "").replace("\x00", "").strip()[:200]
        principal = request.principal  # type: ignore[attr-defined]
        partial = bool(request.htmx)  # type: ignore[attr-defined]
        hits = search_for(principal, text, limit=5 if partial else 50)
        context: dict[str, Any] = {"title": "Search", "query": text, "hits": hits}
        return TemplateResponse(request, "portal/search_hits.html" if partial else "portal/search.html", context)
