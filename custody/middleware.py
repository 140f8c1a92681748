"""No file and no answer of the API leaves the residency of the site's data without a reason.

What is asked is not a list of exports: every answer that is a file, and every reading answer of the API, is looked at
when it is about to go.
"""

import time
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render

from accounts.services import principal_of
from ledger.data.access import AuditedAction
from ledger.services import ExportRefusedError, ensure_stays_where_asked, record

Answer = Callable[[HttpRequest], HttpResponseBase]
API = "/api/"
REASON = "export_reason"
# Forms that ask themselves where their file goes have their reason under this name.
REASON_OF_FORM = "region_reason"
HEADER = "X-Assay-Export-Reason"
FILES = (
    "text/csv", "text/calendar", "application/pdf", "application/zip", "application/jsonl", "application/octet-stream",
    "application/yaml", "text/yaml",
)  # fmt: skip
# Addresses that hand out no data of the organization, each with its reason.
HOLD_NO_DATA = {
    "ledger:verifier": "the script that verifies packs",
    "ledger:checkpoint_note": "a size and a hash, made to be kept elsewhere",
    "api-schema": "how the API is called",
}
NOTED_AGAIN_AFTER_SECONDS = 3600.0
MOST_NOTED = 10_000


class ResidencyMiddleware:
    """Asks whether what is about to be handed out may go to where it was asked from."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response
        self._noted: dict[tuple[str, ...], float] = {}

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if not settings.REGION or not settings.REGION_NETWORKS or not is_export(request, response):
            return response
        address, reason = address_of(request), _reason(request)
        try:
            leaving = ensure_stays_where_asked(address=address, reason=reason)
        except ExportRefusedError as error:
            response.close()
            self._note(request, "export.refused", outcome="refused", after={"why": str(error)[:200]})
            return _refusal(request, str(error))
        if leaving:
            self._note(request, "export.left_residency", after=leaving, reason=reason)
        return response

    def _note(
        self, request: HttpRequest, action: str, *, after: dict[str, str], outcome: str = "done", reason: str = ""
    ) -> None:
        """Record it: each file, and of the API each address once an hour, since machines ask without end."""
        principal, address = principal_of(request), address_of(request)
        if request.path.startswith(API):
            key, now = (principal.reference, action, request.path, address, reason), time.monotonic()
            if now - self._noted.get(key, -NOTED_AGAIN_AFTER_SECONDS) < NOTED_AGAIN_AFTER_SECONDS:
                return
            if len(self._noted) >= MOST_NOTED:
                self._noted.clear()
            self._noted[key] = now
        record(
            AuditedAction(
                action=action,
                target=request.path[:200],
                outcome=outcome,
                after=after,
                reason=reason[:500],
                address=address,
            ),
            actor=principal.reference,
            subject="site:residency",
        )


def address_of(request: HttpRequest) -> str:
    """Return who asks: of a proxy that is trusted, the last address that it has seen itself."""
    seen = request.headers.get("X-Forwarded-For", "") if settings.TRUST_PROXY else ""
    return seen.rpartition(",")[2].strip() or str(request.META.get("REMOTE_ADDR", ""))


def is_export(request: HttpRequest, response: HttpResponseBase) -> bool:
    """Say whether an answer hands out data: a file, or what the API answers to a question."""
    if not 200 <= response.status_code < 300:
        return False
    match = request.resolver_match
    if match is not None and (match.view_name in HOLD_NO_DATA):
        return False
    if response.headers.get("Content-Disposition", "").startswith("attachment"):
        return True
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip()
    return kind in FILES or (request.path.startswith(API) and request.method in {"GET", "HEAD"})


def _reason(request: HttpRequest) -> str:
    given = request.headers.get(HEADER) or request.GET.get(REASON)
    if not given and request.method == "POST" and not request.path.startswith(API):
        given = request.POST.get(REASON) or request.POST.get(REASON_OF_FORM)
    return (given or "").strip()


def _refusal(request: HttpRequest, says: str) -> HttpResponse:
    if request.path.startswith(API):
        return JsonResponse({"detail": f"{says} A reason goes into the header {HEADER}."}, status=403)
    asked = request.POST if request.method == "POST" else request.GET
    context = {
        "title": "This would leave the region",
        "says": says,
        "method": "post" if request.method == "POST" else "get",
        "fields": [
            (name, value)
            for name, values in asked.lists()
            for value in values
            if name not in {REASON, "csrfmiddlewaretoken"}
        ],
        "reason_name": REASON,
    }
    return render(request, "custody/export_refused.html", context, status=403)
