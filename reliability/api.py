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
from catalog.selectors import service_by_slug
from core.parsing import LineIndex, refuse
from reliability.selectors import GATED_ACTIONS, detailed_statuses, gate, slos_visible, status_as_json
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


class GateApi(APIView):
    """The gate for pipelines: whether a service's error budgets allow an action."""

    @extend_schema(
        operation_id="gate_retrieve",
        parameters=[
            OpenApiParameter("service", str, required=True, description="Slug of the service that is to change."),
            OpenApiParameter("action", str, enum=list(GATED_ACTIONS), description="deploy (default) or chaos."),
        ],
        responses={200: OpenApiTypes.OBJECT, 404: None},
    )
    def get(self, request: Request) -> Response:
        """Return `answer` (allow, deny, cannot tell) with the reasons; always 200 when there is an answer."""
        action = request.query_params.get("action", "deploy")
        if action not in GATED_ACTIONS:
            raise refuse("action", found=action, allowed=f"one of {', '.join(GATED_ACTIONS)} is allowed")
        service = service_by_slug(slug=request.query_params.get("service", ""))
        if service is None:
            raise Http404
        ensure_may(principal_of(request), Capability.OPERATIONS_VIEW, team_id=service.team_id)
        return Response(gate(service=service, action=action).as_json())
