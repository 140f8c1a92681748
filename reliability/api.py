"""REST: SLOs and how they stand, applying OpenSLO, the gate."""

from typing import Any

from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.data import Capability
from accounts.services import ensure_may, principal_of
from core.parsing import LineIndex, refuse
from reliability.selectors import detailed_statuses, slos_visible, status_as_json
from reliability.services import apply_documents


class SLOListApi(APIView):
    """All SLOs that the caller may see."""

    @extend_schema(
        operation_id="slos_list",
        parameters=[OpenApiParameter("service", str, description="Slug of a service.")],
        responses={200: OpenApiTypes.OBJECT},
    )
    def get(self, request: Request) -> Response:
        """Return how SLOs stand."""
        principal = principal_of(request)
        if not principal.may_somewhere(Capability.OPERATIONS_VIEW):
            ensure_may(principal, Capability.OPERATIONS_VIEW)
        found = slos_visible(viewer=principal)
        if service := request.query_params.get("service"):
            found = found.filter(service__slug=service)
        return Response([status_as_json(status) for status in detailed_statuses(found)])

    @extend_schema(
        operation_id="slos_apply", request=OpenApiTypes.OBJECT, responses={200: OpenApiTypes.OBJECT, 400: None}
    )
    def post(self, request: Request) -> Response:
        """Apply OpenSLO v1 documents, a list of them or one, all or nothing."""
        data: Any = request.data
        documents = data if isinstance(data, list) else [data]
        if not documents:
            raise refuse("body", found="an empty list", allowed="OpenSLO documents are allowed")
        applied = apply_documents(
            principal=principal_of(request),
            documents=[(document, LineIndex({})) for document in documents],
            source="body",
        )
        return Response(applied)


class SLODetailApi(APIView):
    """One SLO."""

    @extend_schema(operation_id="slos_retrieve", responses={200: OpenApiTypes.OBJECT})
    def get(self, request: Request, slug: str) -> Response:
        """Return how an SLO stands: an entry for each objective, window and group."""
        slo = slos_visible(viewer=principal_of(request)).filter(slug=slug).first()
        statuses = detailed_statuses([slo]) if slo else []
        if not statuses:
            raise Http404
        return Response([status_as_json(status) for status in statuses])
