"""The site's own backups, and the hold that a restored site starts with."""

from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views import View

from accounts.data import Capability
from accounts.services import principal_of
from core.holding import current_hold, forget_what_is_known
from core.work import oldest_overdue
from drivers.forms import ReleaseForm
from drivers.services.site_database import SiteError
from drivers.services.site_hold import release_site
from ledger.selectors import entries

HISTORY = ("recovery.backup_made", "recovery.site_restored", "recovery.site_released")
WORDS = {"recovery.backup_made": "Backup", "recovery.site_restored": "Restored", "recovery.site_released": "Released"}


class SiteView(LoginRequiredMixin, View):
    """Is there a backup, was this restored, and does anything wait?"""

    def get(self, request: HttpRequest) -> HttpResponse:
        return self._page(request, ReleaseForm())

    def post(self, request: HttpRequest) -> HttpResponse:
        form = ReleaseForm(request.POST)
        if not form.is_valid():
            return self._page(request, form)
        try:
            _, withdrawn = release_site(
                principal=principal_of(request),
                note=form.cleaned_data["note"],
                send_waiting=form.cleaned_data["send_waiting"],
            )
        except SiteError as error:
            messages.error(request, str(error))
        else:
            forget_what_is_known()
            messages.success(request, f"Released. {withdrawn} messages of the backup were withdrawn.")
        return redirect("drivers:site")

    def _page(self, request: HttpRequest, form: ReleaseForm) -> HttpResponse:
        principal = principal_of(request)
        if not principal.may_somewhere(Capability.OPERATIONS_VIEW):
            raise Http404
        hold = current_hold()
        context = {
            "title": "Backup and restore",
            "intro": "One encrypted file holds the whole site: database, artifacts, files and keys.",
            "hold": hold,
            "form": form,
            "may_release": principal.may(Capability.SITE_ADMIN),
            "waiting": sorted(oldest_overdue().items()) if hold else [],
            "history": [(WORDS[entry.entry_type], entry, entry.payload or {}) for entry in entries(types=HISTORY)[:20]],
        }
        return render(request, "drivers/site_detail.html", context)
