"""What every page of the room needs to know of its reader."""

from typing import Any

from django.contrib.auth.mixins import LoginRequiredMixin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponseBase
from django.views import View

from accounts.data import Capability, Principal
from accounts.services import principal_of
from incidents.models import Incident
from incidents.selectors import incident_by_reference


class RoomView(LoginRequiredMixin, View):
    """A page that needs the right to see operations somewhere."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.user.is_authenticated and not principal_of(request).may_somewhere(Capability.OPERATIONS_VIEW):
            raise PermissionDenied("Your roles do not open this page; it needs the right to see operations.")
        return super().dispatch(request, *args, **kwargs)

    @property
    def principal(self) -> Principal:
        """Who is asking."""
        return principal_of(self.request)

    def incident_or_404(self, reference: str) -> Incident:
        """Return an incident that the reader may see."""
        incident = incident_by_reference(reference=reference, viewer=self.principal)
        if incident is None:
            raise Http404(f"There is no incident {reference}, or not for you.")
        return incident
