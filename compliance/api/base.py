"""What the room's REST views share: what the caller may see, filters, and the auditor's log."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from drf_spectacular.utils import OpenApiParameter
from rest_framework import mixins, viewsets
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.data import Principal
from accounts.services import principal_of
from compliance.data import Access
from compliance.selectors import access_of
from compliance.views.base import note_access
from core.parsing import refuse

M = TypeVar("M", bound=Model)
YES_OR_NO = {"true": True, "false": False}


@dataclass(frozen=True)
class Narrow:
    """A filter of a list: the field that it looks at, and the values that are allowed, where they are fixed."""

    field: str
    says: str
    allowed: Sequence[str] = ()


def parameters(narrows: Mapping[str, Narrow]) -> list[OpenApiParameter]:
    """Return what the schema says of filters."""
    return [
        OpenApiParameter(name, str, enum=list(one.allowed) or None, description=one.says)
        for name, one in narrows.items()
    ]


def narrowed(found: QuerySet[M], request: Request, narrows: Mapping[str, Narrow]) -> QuerySet[M]:
    """Filter a list by what was asked for. Raises InputRefusedError for a value that is never there."""
    for name, one in narrows.items():
        given = request.query_params.get(name, "").strip()
        if not given:
            continue
        if one.allowed and given not in one.allowed:
            raise refuse(name, found=given, allowed=f"{', '.join(one.allowed)} are allowed")
        if one.field.endswith("__isnull"):
            found = found.filter(**{one.field: YES_OR_NO[given]})
        else:
            found = found.filter(**{one.field: given})
    return found


class ComplianceApiView(APIView):
    """Shows what the caller may see and nothing else; what an auditor reads is noted as on pages."""

    def access(self, request: Request) -> Access:
        """Return what the caller may see."""
        return access_of(principal_of(request))

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        """Note an auditor's look in their access log."""
        answer: Response = super().finalize_response(request, response, *args, **kwargs)
        if request.user.is_authenticated and answer.status_code < 400:
            slug = str(self.kwargs.get("audit", ""))
            note_access(request._request, slug=slug)  # noqa: SLF001 Django's request under DRF's
        return answer


class ComplianceViewSet(ComplianceApiView, mixins.ListModelMixin, viewsets.GenericViewSet[M], Generic[M]):
    """A list with filters, and single records by their own name."""

    narrows: ClassVar[Mapping[str, Narrow]] = {}

    @property
    def principal(self) -> Principal:
        """Who asks."""
        return principal_of(self.request)

    def records(self) -> QuerySet[M]:
        """Return what the caller may see of this kind."""
        raise NotImplementedError

    def get_queryset(self) -> QuerySet[M]:
        """Return it narrowed by the filters."""
        found = self.records()
        return narrowed(found, self.request, self.narrows) if self.action == "list" else found

    def retrieve(self, request: Request, *_: Any, **__: Any) -> Response:  # noqa: ARG002 DRF's signature
        """Return one."""
        return Response(self.get_serializer(self.get_object()).data)

    def body(self, kind: Any) -> Any:
        """Return what was sent, judged by a serializer. Raises ValidationError."""
        sent = kind(data=self.request.data)
        sent.is_valid(raise_exception=True)
        return sent.validated_data

    def shown(self, record: M, *, status: int = 200) -> Response:
        """Answer with a record as it now is."""
        record.refresh_from_db()
        return Response(self.get_serializer(record).data, status=status)


class RegisterViewSet(ComplianceViewSet[M], Generic[M]):
    """A register: open to those who see all of compliance, closed to auditors, whose packs hold it."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse who may not see registers."""
        super().initial(request, *args, **kwargs)
        if not self.access(request).everything:
            raise PermissionDenied("This register is open to compliance managers and administrators.")
