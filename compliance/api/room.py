"""REST of the audit room: requests and findings of an audit, for its auditors and for the organization."""

from functools import cached_property
from typing import Any

from django.db.models import QuerySet
from django.http import Http404
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from compliance.api.base import ComplianceViewSet, Narrow, parameters
from compliance.models import AuditFinding, AuditRequest, Control, Engagement, Evidence, RequestMessage
from compliance.selectors import controls_visible, engagements_visible, evidence_visible
from compliance.services import answer_finding, ask_for, close_finding, move_request, raise_finding
from core.parsing import refuse

AUDIT = OpenApiParameter("audit", str, OpenApiParameter.PATH, description="Short name of the audit.")
NUMBER = OpenApiParameter("number", int, OpenApiParameter.PATH, description="Its number in the audit.")


class RoomViewSet(ComplianceViewSet[Any]):
    """Things of one audit; to who may not see the audit there is no such thing."""

    lookup_field = "number"
    lookup_value_regex = "[0-9]+"

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Find the audit before anything that was sent is looked at."""
        super().initial(request, *args, **kwargs)
        self.kwargs["audit"] = self.engagement.slug

    @cached_property
    def engagement(self) -> Engagement:
        """The audit. Raises Http404 when the caller may not see it."""
        found = engagements_visible(access=self.access(self.request)).filter(slug=self.kwargs["audit"]).first()
        if found is None:
            raise Http404
        return found

    def control(self, slug: str) -> Control | None:
        """Return a control in scope. Raises InputRefusedError for any other."""
        if not slug:
            return None
        found = controls_visible(access=self.access(self.request)).filter(slug=slug).first()
        if found is None:
            raise refuse("control", found=slug, allowed="a control in scope is allowed")
        return found


class AuditMessageSerializer(serializers.ModelSerializer[RequestMessage]):
    """A line of a request's thread."""

    evidence = serializers.SlugRelatedField(slug_field="reference", read_only=True)  # type: ignore[var-annotated]

    class Meta:
        model = RequestMessage
        fields = ("at", "author_label", "text", "state", "evidence")


class AuditRequestSerializer(serializers.ModelSerializer[AuditRequest]):
    """Something that an auditor asked for, with its thread."""

    control = serializers.SlugRelatedField(slug_field="slug", read_only=True)  # type: ignore[var-annotated]
    messages = AuditMessageSerializer(many=True, read_only=True)

    class Meta:
        model = AuditRequest
        fields = (
            "number",
            "title",
            "text",
            "control",
            "due_on",
            "state",
            "asked_by_label",
            "asked_at",
            "changed_at",
            "messages",
        )


class AuditRequestBody(serializers.Serializer[Any]):
    """What is asked for."""

    title = serializers.CharField(max_length=200)
    text = serializers.CharField(required=False, allow_blank=True, default="")
    control = serializers.SlugField(required=False, allow_blank=True, default="")
    due_on = serializers.DateField(required=False, allow_null=True, default=None)


class AuditMessageBody(serializers.Serializer[Any]):
    """A message, evidence handed over, or a change of state."""

    text = serializers.CharField(required=False, allow_blank=True, default="")
    state = serializers.ChoiceField(choices=AuditRequest.State.values, required=False, allow_blank=True, default="")
    evidence = serializers.CharField(max_length=40, required=False, allow_blank=True, default="")


REQUESTS = {"state": Narrow("state", "How it stands.", AuditRequest.State.values)}


@extend_schema_view(
    list=extend_schema(parameters=[AUDIT, *parameters(REQUESTS)]),
    retrieve=extend_schema(parameters=[AUDIT, NUMBER], responses=AuditRequestSerializer),
)
class RequestViewSet(RoomViewSet):
    """Requests of an audit: open, submitted, flagged with a reason, accepted, withdrawn."""

    queryset = AuditRequest.objects.none()
    serializer_class = AuditRequestSerializer
    narrows = REQUESTS

    def records(self) -> QuerySet[AuditRequest]:
        found = AuditRequest.objects.filter(engagement=self.engagement)
        return found.select_related("engagement", "control").prefetch_related("messages__evidence")

    @extend_schema(parameters=[AUDIT], request=AuditRequestBody, responses={201: AuditRequestSerializer})
    def create(self, request: Request, audit: str) -> Response:  # noqa: ARG002 DRF's signature
        """Ask for something."""
        given = self.body(AuditRequestBody)
        control = self.control(given.pop("control"))
        made = ask_for(principal=self.principal, engagement=self.engagement, control=control, **given)
        return self.shown(made, status=201)

    @extend_schema(parameters=[AUDIT, NUMBER], request=AuditMessageBody, responses={201: AuditRequestSerializer})
    @action(detail=True, methods=["post"])
    def messages(self, request: Request, audit: str, number: str) -> Response:  # noqa: ARG002 DRF's signature
        """Say something, hand over evidence, or change the state: the auditor judges, the organization submits."""
        given, one = self.body(AuditMessageBody), self.get_object()
        evidence = self._evidence(given["evidence"])
        move_request(principal=self.principal, request=one, state=given["state"], text=given["text"], evidence=evidence)
        return self.shown(self.records().get(pk=one.pk), status=201)

    def _evidence(self, reference: str) -> Evidence | None:
        if not reference:
            return None
        found = evidence_visible(viewer=self.principal, access=self.access(self.request))
        known = found.filter(reference=reference, state=Evidence.State.ACCEPTED).first()
        if known is None:
            raise refuse("evidence", found=reference, allowed="accepted evidence is allowed")
        return known


class AuditFindingSerializer(serializers.ModelSerializer[AuditFinding]):
    """A shortcoming on record, with the management's answer."""

    control = serializers.SlugRelatedField(slug_field="slug", read_only=True)  # type: ignore[var-annotated]
    status = serializers.CharField(read_only=True)

    class Meta:
        model = AuditFinding
        fields = (
            "number",
            "title",
            "severity",
            "text",
            "control",
            "status",
            "raised_at",
            "response",
            "due_on",
            "responded_at",
            "closed_at",
        )


class AuditFindingBody(serializers.Serializer[Any]):
    """What falls short."""

    title = serializers.CharField(max_length=200)
    severity = serializers.ChoiceField(choices=AuditFinding.Severity.values)
    text = serializers.CharField(required=False, allow_blank=True, default="")
    control = serializers.SlugField(required=False, allow_blank=True, default="")


class AuditAnswerBody(serializers.Serializer[Any]):
    """The management's answer."""

    response = serializers.CharField()
    due_on = serializers.DateField(required=False, allow_null=True, default=None)


FINDINGS = {
    "severity": Narrow("severity", "How bad.", AuditFinding.Severity.values),
    "open": Narrow("closed_at__isnull", "Whether it is not closed.", ("true", "false")),
}


@extend_schema_view(
    list=extend_schema(parameters=[AUDIT, *parameters(FINDINGS)]),
    retrieve=extend_schema(parameters=[AUDIT, NUMBER], responses=AuditFindingSerializer),
)
class FindingViewSet(RoomViewSet):
    """Findings of an audit."""

    queryset = AuditFinding.objects.none()
    serializer_class = AuditFindingSerializer
    narrows = FINDINGS

    def records(self) -> QuerySet[AuditFinding]:
        return AuditFinding.objects.filter(engagement=self.engagement).select_related("engagement", "control")

    @extend_schema(parameters=[AUDIT], request=AuditFindingBody, responses={201: AuditFindingSerializer})
    def create(self, request: Request, audit: str) -> Response:  # noqa: ARG002 DRF's signature
        """Put a shortcoming on record."""
        given = self.body(AuditFindingBody)
        control = self.control(given.pop("control"))
        made = raise_finding(principal=self.principal, engagement=self.engagement, control=control, **given)
        return self.shown(made, status=201)

    @extend_schema(parameters=[AUDIT, NUMBER], request=AuditAnswerBody, responses=AuditFindingSerializer)
    @action(detail=True, methods=["post"])
    def answer(self, request: Request, audit: str, number: str) -> Response:  # noqa: ARG002 DRF's signature
        """Write the management's answer."""
        one = self.get_object()
        answer_finding(principal=self.principal, finding=one, **self.body(AuditAnswerBody))
        return self.shown(one)

    @extend_schema(parameters=[AUDIT, NUMBER], request=None, responses=AuditFindingSerializer)
    @action(detail=True, methods=["post"])
    def close(self, request: Request, audit: str, number: str) -> Response:  # noqa: ARG002 DRF's signature
        """Close a finding that was answered; never who answered it."""
        one = self.get_object()
        close_finding(principal=self.principal, finding=one)
        return self.shown(one)
