"""System health, and the support bundle."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views import View

from accounts.services import principal_of
from drivers.services.site_bundle import make_bundle
from drivers.services.site_health import site_health
from ledger.services import ExportRefusedError, must_stay_in


class SystemView(LoginRequiredMixin, View):
    """Is Assay itself well? POST downloads the support bundle."""

    def get(self, request: HttpRequest) -> HttpResponse:
        health = site_health(principal=principal_of(request))
        context: dict[str, Any] = {
            "title": "System health",
            "stays_in": must_stay_in(),
            "health": health,
            "now": health.asked_at,
            "versions": list(health.versions.items()),
            "queues": sorted(health.queues, key=lambda one: (one.oldest_due is None, -one.due, one.name)),
            "jobs": sorted(health.jobs, key=lambda one: (one["state"] == "ok", one["name"])),
        }
        return render(request, "drivers/system.html", context)

    def post(self, request: HttpRequest) -> HttpResponse:
        region, reason = request.POST.get("region", "").strip()[:63], request.POST.get("reason", "").strip()[:500]
        try:
            name, data = make_bundle(principal=principal_of(request), region=region, reason=reason)
        except ExportRefusedError as error:
            messages.error(request, f"No bundle was made. {error}")
            return redirect("drivers:system")
        return HttpResponse(
            data,
            content_type="application/zip",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )
