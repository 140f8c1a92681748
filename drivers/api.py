"""REST: which typed actions there are, and what one would do."""

from typing import Any

from django.core.exceptions import PermissionDenied
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.data import Capability
from accounts.services import ensure_may, principal_of
from core.parsing import parse_document
from drivers.data import Arguments
from drivers.services import (
    action,
    actions,
    described_action,
    plan_action,
    plan_as_json,
    probe_action,
    risk_of_action,
)
from drivers.services.agents import PollBody, agent_of_token, take_poll

PLANNERS = (Capability.CHAOS_EDIT, Capability.CHAOS_RUN, Capability.RUNBOOK_EDIT, Capability.RUNBOOK_RUN)

ActionAnswer = inline_serializer(
    "DriverAction",
    {
        "action": serializers.CharField(),
        "description": serializers.CharField(),
        "risk": serializers.CharField(),
        "idempotency": serializers.CharField(),
        "reversible": serializers.BooleanField(),
        "proof": serializers.CharField(),
        "arguments": serializers.DictField(),
    },
)


class PlanBody(Arguments):
    """What a plan is asked for."""

    arguments: dict[str, Any] = {}


class ActionListApi(APIView):
    """Typed actions on real systems."""

    @extend_schema(operation_id="driver_actions_list", responses={200: serializers.ListSerializer(child=ActionAnswer)})
    def get(self, request: Request) -> Response:
        """Return every action with the JSON Schema of its arguments."""
        _ensure_reader(request)
        return Response([described_action(one) for one in actions().values()])


class ActionDetailApi(APIView):
    """One action."""

    @extend_schema(operation_id="driver_actions_retrieve", responses={200: ActionAnswer})
    def get(self, request: Request, name: str) -> Response:
        """Return an action with the JSON Schema of its arguments."""
        _ensure_reader(request)
        return Response(described_action(action(name)))


class ActionPlanApi(APIView):
    """What an action would do."""

    @extend_schema(
        operation_id="driver_actions_plan",
        request=inline_serializer("DriverPlanRequest", {"arguments": serializers.DictField()}),
        responses={200: OpenApiTypes.OBJECT, 400: None},
    )
    def post(self, request: Request, name: str) -> Response:
        """Resolve the real targets. Nothing is touched."""
        principal = principal_of(request)
        if not any(principal.may_somewhere(capability) for capability in PLANNERS):
            raise PermissionDenied("Who may run chaos experiments or runbooks may ask for a plan.")
        body = parse_document(PlanBody, request.data, source="body")
        plan = plan_action(name, body.arguments)
        support = probe_action(name, body.arguments)
        return Response(
            {
                "action": name,
                "risk": risk_of_action(name, body.arguments).value,
                **plan_as_json(plan),
                "supported": support.supported,
                "reason": support.reason,
            }
        )


class AgentPollApi(APIView):
    """Where agents ask for orders. The agent's own token is asked for, and nobody else's."""

    authentication_classes = ()
    permission_classes = ()

    @extend_schema(exclude=True)
    def post(self, request: Request) -> Response:
        """Keep what the agent tells and return its next orders, signed for this question."""
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        agent = agent_of_token(token) if kind == "Agent" and token else None
        if agent is None:
            raise PermissionDenied("This is for agents that were added to the site.")
        return Response(take_poll(agent, parse_document(PollBody, request.data, source="body")))


def _ensure_reader(request: Request) -> None:
    principal = principal_of(request)
    if not principal.may_somewhere(Capability.OPERATIONS_VIEW):
        ensure_may(principal, Capability.OPERATIONS_VIEW)
