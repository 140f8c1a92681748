"""System health, and the support bundle."""

from typing import Any

from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views import View

from accounts.services import principal_of
from drivers.services.site_bundle import make_bundle
from drivers.services.site_health import site_health


class SystemView(LoginRequiredMixin, View):
    """Is Assay itself well? POST downloads the support bundle."""

    def get(self, request: HttpRequest) -> HttpResponse:
        health = site_health(principal=principal_of(request))
        context: dict[str, Any] = {
            "title": "System health",
            "health": health,
            "now": health.asked_at,
            "versions": list(health.versions.items()),
            "queues": sorted(health.queues, key=lambda one: (one.oldest_due is None, -one.due, one.name)),
            "jobs": sorted(health.jobs, key=lambda one: (one["state"] == "ok", one["name"])),
        }
        return render(request, "drivers/system.html", context)

    def post(self, request: HttpRequest) -> HttpResponse:
        name, data = make_bundle(principal=principal_of(request))
        return HttpResponse(
            data,
            content_type="application/zip",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )
