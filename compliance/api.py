"""REST: frameworks, requirements and controls with how they stand; audits. Read only."""

from typing import Any

from django.http import Http404
from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.services import principal_of
from compliance.data import ASSERTED, Access, Judgement
from compliance.selectors import (
    access_of,
    control_standings,
    controls_visible,
    engagements_visible,
    frameworks_visible,
    requirement_standings,
    window_to,
)
from core.clock import database_now

JUDGEMENT: dict[str, serializers.Field[Any, Any, Any, Any]] = {
    "standing": serializers.CharField(),
    "passed": serializers.IntegerField(),
    "due": serializers.IntegerField(),
    "excepted": serializers.IntegerField(),
    "reason": serializers.CharField(),
}
FRAMEWORKS = inline_serializer(
    "ComplianceFramework",
    {"slug": serializers.CharField(), "name": serializers.CharField(), "version": serializers.IntegerField()},
    many=True,
)
REQUIREMENTS = inline_serializer(
    "ComplianceRequirement",
    {
        "ref": serializers.CharField(),
        "title": serializers.CharField(),
        "category": serializers.CharField(),
        "controls": serializers.ListField(child=serializers.CharField()),
        **JUDGEMENT,
    },
    many=True,
)
CONTROLS = inline_serializer(
    "ComplianceControl",
    {"slug": serializers.CharField(), "title": serializers.CharField(), "owner": serializers.CharField(), **JUDGEMENT},
    many=True,
)
AUDITS = inline_serializer(
    "ComplianceAudit",
    {
        "slug": serializers.CharField(),
        "name": serializers.CharField(),
        "kind": serializers.CharField(),
        "frameworks": serializers.ListField(child=serializers.CharField()),
        "window_start": serializers.DateTimeField(),
        "window_end": serializers.DateTimeField(),
    },
    many=True,
)


def _judged(judgement: Judgement) -> dict[str, Any]:
    return {
        "standing": judgement.standing.value,
        "passed": judgement.passed,
        "due": judgement.due,
        "excepted": judgement.excepted,
        "reason": judgement.reason,
    }


class ComplianceApiView(APIView):
    """Shows what the caller may see and nothing else."""

    def access(self, request: Request) -> Access:
        """Return what the caller may see."""
        return access_of(principal_of(request))


class FrameworkListApi(ComplianceApiView):
    """The frameworks."""

    @extend_schema(responses=FRAMEWORKS, operation_id="compliance_frameworks")
    def get(self, request: Request) -> Response:
        found = frameworks_visible(access=self.access(request))
        return Response([{"slug": one.slug, "name": one.name, "version": one.version} for one in found])


class RequirementListApi(ComplianceApiView):
    """A framework's requirements with how they stand over the last 90 days."""

    @extend_schema(
        responses=REQUIREMENTS,
        operation_id="compliance_requirements",
        description=ASSERTED,
    )
    def get(self, request: Request, slug: str) -> Response:
        framework = frameworks_visible(access=self.access(request)).filter(slug=slug).first()
        if framework is None:
            raise Http404
        now = database_now()
        return Response(
            [
                {
                    "ref": one.ref,
                    "title": one.label,
                    "category": one.category,
                    "controls": [control.slug for control in one.controls],
                    **_judged(one.judgement),
                }
                for one in requirement_standings(framework, window=window_to(now), now=now)
            ]
        )


class ControlListApi(ComplianceApiView):
    """The controls with how they stand over the last 90 days."""

    @extend_schema(responses=CONTROLS, operation_id="compliance_controls")
    def get(self, request: Request) -> Response:
        now = database_now()
        controls = controls_visible(access=self.access(request))
        found = control_standings(controls, window=window_to(now), now=now).values()
        return Response(
            [{"slug": one.slug, "title": one.title, "owner": one.owner, **_judged(one.judgement)} for one in found]
        )


class AuditListApi(ComplianceApiView):
    """The audits."""

    @extend_schema(responses=AUDITS, operation_id="compliance_audits")
    def get(self, request: Request) -> Response:
        return Response(
            [
                {
                    "slug": one.slug,
                    "name": one.name,
                    "kind": one.kind,
                    "frameworks": [framework.slug for framework in one.frameworks.all()],
                    "window_start": one.window_start,
                    "window_end": one.window_end,
                }
                for one in engagements_visible(access=self.access(request))
            ]
        )
