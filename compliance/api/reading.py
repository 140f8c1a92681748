"""REST: frameworks, requirements and controls with how they stand; audits; evidence and reports that are pushed."""

import base64
import binascii
from typing import Any

import orjson
from django.http import Http404
from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.services import principal_of
from compliance.api.base import ComplianceApiView
from compliance.data import ASSERTED, Judgement
from compliance.selectors import (
    control_standings,
    controls_visible,
    engagements_visible,
    frameworks_visible,
    requirement_standings,
    window_to,
)
from compliance.services import apply_documents
from compliance.services.pushing import push_evidence
from compliance.services.retiring import retire_control
from compliance.services.weaknesses import import_sarif
from core.clock import database_now
from core.parsing import load_yaml_documents, refuse

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
RETIRED = inline_serializer(
    "ComplianceRetiredControl",
    {"slug": serializers.CharField(), "retired_at": serializers.DateTimeField(), "reason": serializers.CharField()},
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


class RetireBody(serializers.Serializer[Any]):
    """Why a control no longer applies."""

    reason = serializers.CharField(help_text="10 to 500 characters; the ledger keeps it.")


class ControlRetireApi(ComplianceApiView):
    """Take a control out of force."""

    @extend_schema(
        request=RetireBody,
        responses=RETIRED,
        operation_id="compliance_retire_control",
        description="What had fallen due before is judged in every window that reaches back to it.",
    )
    def post(self, request: Request, slug: str) -> Response:
        control = controls_visible(access=self.access(request), retired=True).filter(slug=slug).first()
        if control is None:
            raise Http404
        sent = RetireBody(data=request.data)
        sent.is_valid(raise_exception=True)
        row = retire_control(principal=principal_of(request), control=control, reason=sent.validated_data["reason"])
        return Response({"slug": row.slug, "retired_at": row.retired_at, "reason": row.retired_reason})


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


class DocumentsBody(serializers.Serializer[Any]):
    """Controls, risks, vendors and policies as YAML documents."""

    yaml = serializers.CharField(max_length=5 * 1024 * 1024)
    dry_run = serializers.BooleanField(default=False)


class DocumentsApi(ComplianceApiView):
    """What the organization declares."""

    @extend_schema(
        request=DocumentsBody,
        responses=inline_serializer(
            "ComplianceDeclared",
            {
                name: serializers.ListField(child=serializers.CharField())
                for name in ("created", "changed", "unchanged")
            },
        ),
        operation_id="compliance_declare",
        description="All documents, or with one mistake none; with `dry_run` nothing is changed.",
    )
    def post(self, request: Request) -> Response:
        sent = DocumentsBody(data=request.data)
        sent.is_valid(raise_exception=True)
        documents = load_yaml_documents(sent.validated_data["yaml"].encode(), source="yaml")
        found = apply_documents(
            principal=principal_of(request),
            documents=documents,
            source="yaml",
            dry_run=sent.validated_data["dry_run"],
        )
        return Response({"created": found.created, "changed": found.changed, "unchanged": found.unchanged})


class PushedEvidence(serializers.Serializer[Any]):
    """What a collector sends: its signed envelope, and the file that it speaks of in base64, if there is one."""

    envelope = serializers.JSONField()
    file = serializers.CharField(required=False, allow_blank=True, help_text="Base64.")
    file_name = serializers.CharField(required=False, allow_blank=True, max_length=160)


class EvidenceApi(APIView):
    """Signed evidence from collectors elsewhere."""

    @extend_schema(
        request=PushedEvidence,
        responses={
            201: inline_serializer(
                "CompliancePushedEvidence",
                {
                    "reference": serializers.CharField(),
                    "state": serializers.CharField(),
                    "reason": serializers.CharField(),
                },
            )
        },
        operation_id="compliance_push_evidence",
        description="A DSSE envelope around an in-toto statement. State `quarantined` carries the reason in `reason`.",
    )
    def post(self, request: Request) -> Response:
        sent = PushedEvidence(data=request.data)
        sent.is_valid(raise_exception=True)
        text = sent.validated_data.get("file", "")
        try:
            content = base64.b64decode(text.encode(), validate=True) if text else None
        except binascii.Error:
            raise refuse("file", found="something else", allowed="base64 is allowed") from None
        made = push_evidence(
            principal=principal_of(request),
            envelope=sent.validated_data["envelope"],
            content=content,
            file_name=sent.validated_data.get("file_name", ""),
        )
        return Response({"reference": made.reference, "state": made.state, "reason": made.reason}, status=201)


class ScannerReportApi(APIView):
    """SARIF of other scanners."""

    @extend_schema(
        parameters=[OpenApiParameter("scope", str, required=True, description="What was scanned, as `repo:gateway`.")],
        request={"application/json": {"type": "object"}},
        responses={
            201: inline_serializer(
                "ComplianceScannerReport",
                {
                    "reference": serializers.CharField(),
                    "tool": serializers.CharField(),
                    "results": serializers.IntegerField(),
                },
                many=True,
            )
        },
        operation_id="compliance_take_sarif",
    )
    def post(self, request: Request) -> Response:
        scope = request.query_params.get("scope", "").strip()
        if not scope:
            raise refuse("scope", found="nothing", allowed="what was scanned is required")
        made = import_sarif(principal=principal_of(request), raw=orjson.dumps(request.data), scope=scope)
        return Response(
            [{"reference": one.reference, "tool": one.tool, "results": one.results} for one in made], status=201
        )
