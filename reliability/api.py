"""REST: SLOs and how they stand, applying OpenSLO, the gate, exclusions, overrides."""

from datetime import timedelta
from typing import Any

from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.data import Capability, Principal
from accounts.services import ensure_may, principal_of
from catalog.selectors import service_by_slug, services_visible
from core.api_schema import OBJECTS
from core.parsing import LineIndex, parse_document, refuse
from reliability.models import Exclusion
from reliability.selectors import (
    GATED_ACTIONS,
    detailed_statuses,
    exclusion_as_json,
    exclusions_visible,
    gate,
    override_as_json,
    overrides_visible,
    slos_visible,
    status_as_json,
)
from reliability.services import (
    Stretch,
    apply_documents,
    approve_exclusion,
    grant_override,
    reject_exclusion,
    request_exclusion,
    withdraw_exclusion,
)

DECISIONS = {"approve": approve_exclusion, "reject": reject_exclusion, "withdraw": withdraw_exclusion}


class SLOListApi(APIView):
    """All SLOs that the caller may see."""

    @extend_schema(
        operation_id="slos_list",
        parameters=[OpenApiParameter("service", str, description="Slug of a service.")],
        responses={200: OBJECTS},
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

    @extend_schema(operation_id="slos_retrieve", responses={200: OBJECTS})
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


class ExclusionBody(BaseModel):
    """What asks that time does not count: for one SLO, or for all of a service."""

    model_config = ConfigDict(extra="forbid")
    slo: str = ""
    service: str = ""
    starts_at: AwareDatetime
    ends_at: AwareDatetime
    recurrence: str = Field(default="", max_length=200)
    zone: str = Field(default="UTC", max_length=60)
    reason: str = Field(min_length=1, max_length=500)
    replaces: str = ""


class ExclusionListApi(APIView):
    """Time that does not count: list it, ask for it."""

    @extend_schema(operation_id="exclusions_list", responses={200: OBJECTS})
    def get(self, request: Request) -> Response:
        """Return every exclusion that the caller may see, newest first."""
        principal = principal_of(request)
        if not principal.may_somewhere(Capability.OPERATIONS_VIEW):
            ensure_may(principal, Capability.OPERATIONS_VIEW)
        return Response([exclusion_as_json(one) for one in exclusions_visible(viewer=principal)])

    @extend_schema(
        operation_id="exclusions_ask", request=OpenApiTypes.OBJECT, responses={201: OpenApiTypes.OBJECT, 400: None}
    )
    def post(self, request: Request) -> Response:
        """Ask for an exclusion; another person approves it."""
        principal = principal_of(request)
        body = parse_document(ExclusionBody, request.data, source="body")
        slo = slos_visible(viewer=principal).filter(slug=body.slo).first() if body.slo else None
        service = services_visible(viewer=principal).filter(slug=body.service).first() if body.service else None
        for name, wanted, found in (("slo", body.slo, slo), ("service", body.service, service)):
            if wanted and found is None:
                raise refuse(f"body {name}", found=wanted, allowed=f"a {name} that you may see is allowed")
        exclusion = request_exclusion(
            principal=principal,
            stretch=Stretch(body.starts_at, body.ends_at, body.recurrence, body.zone),
            reason=body.reason,
            slo=slo,
            service=service,
            replaces=_exclusion(principal, body.replaces) if body.replaces else None,
        )
        return Response(exclusion_as_json(exclusion), status=201)


class ExclusionDecisionApi(APIView):
    """Approve, reject or withdraw an exclusion."""

    @extend_schema(operation_id="exclusions_decide", request=None, responses={200: OpenApiTypes.OBJECT, 404: None})
    def post(self, request: Request, reference: str, decision: str) -> Response:
        """Decide: `approve`, `reject` (another person than who asked) or `withdraw`."""
        principal = principal_of(request)
        decide = DECISIONS.get(decision)
        if decide is None:
            raise Http404
        exclusion = _exclusion(principal, reference)
        decide(principal=principal, exclusion=exclusion)
        return Response(exclusion_as_json(exclusion))


class OverrideBody(BaseModel):
    """What lets an action on a service pass for a while."""

    model_config = ConfigDict(extra="forbid")
    service: str
    action: str = "deploy"
    hours: float = Field(gt=0, le=168)
    reason: str = Field(min_length=1, max_length=500)


class OverrideListApi(APIView):
    """Overrides of the gate: list them, grant one."""

    @extend_schema(operation_id="overrides_list", responses={200: OBJECTS})
    def get(self, request: Request) -> Response:
        """Return every override of services that the caller may see, newest first."""
        principal = principal_of(request)
        if not principal.may_somewhere(Capability.OPERATIONS_VIEW):
            ensure_may(principal, Capability.OPERATIONS_VIEW)
        return Response([override_as_json(one) for one in overrides_visible(viewer=principal)])

    @extend_schema(
        operation_id="overrides_grant", request=OpenApiTypes.OBJECT, responses={201: OpenApiTypes.OBJECT, 400: None}
    )
    def post(self, request: Request) -> Response:
        """Let an action on a service pass for a while; for approvers."""
        principal = principal_of(request)
        body = parse_document(OverrideBody, request.data, source="body")
        service = services_visible(viewer=principal).filter(slug=body.service).first()
        if service is None:
            raise refuse("body service", found=body.service, allowed="a service that you may see is allowed")
        override = grant_override(
            principal=principal,
            service=service,
            action=body.action,
            reason=body.reason,
            length=timedelta(hours=body.hours),
        )
        return Response(override_as_json(override), status=201)


def _exclusion(principal: Principal, reference: str) -> Exclusion:
    found = exclusions_visible(viewer=principal).filter(reference=reference).first()
    if found is None:
        raise Http404
    return found
