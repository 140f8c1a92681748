"""What every page of the room needs to know of its reader."""

from typing import Any

from django.contrib.auth.mixins import LoginRequiredMixin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponseBase
from django.views import View

from accounts.data import Principal
from accounts.services import principal_of
from catalog.selectors import service_by_slug, services_visible
from reliability.models import SLO, SLOVersion
from reliability.navigation import may_view
from reliability.selectors import slo_by_slug, slos_visible, version_in_force


class RoomView(LoginRequiredMixin, View):
    """A page that needs the right to see operations somewhere."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.user.is_authenticated and not may_view(principal_of(request)):
            raise PermissionDenied("Your roles do not open this page; it needs the right to see operations.")
        return super().dispatch(request, *args, **kwargs)

    @property
    def principal(self) -> Principal:
        """Who is asking."""
        return principal_of(self.request)

    def slo_or_404(self, slug: str) -> SLO:
        """Return an SLO that the reader may see."""
        slo = slo_by_slug(slug=slug)
        if slo is None:
            raise Http404("There is no SLO of this name.")
        if not slos_visible(viewer=self.principal).filter(pk=slo.pk).exists():
            raise PermissionDenied("Your roles do not open this service's SLOs.")
        return slo

    def version_or_404(self, slo: SLO) -> SLOVersion:
        """Return the definition in force."""
        version = version_in_force(slo=slo)
        if version is None:
            raise Http404("This SLO has no definition in force.")
        return version

    def service_or_404(self, slug: str) -> Any:
        """Return a service that the reader may see."""
        service = service_by_slug(slug=slug)
        if service is None:
            raise Http404("There is no service of this name.")
        if not services_visible(viewer=self.principal).filter(pk=service.pk).exists():
            raise PermissionDenied("Your roles do not open this service.")
        return service
