"""REST of evidence that people hand in, and of exceptions: reviewed by somebody else."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.parsers import FormParser, MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from compliance.api.base import ComplianceViewSet, Narrow, parameters
from compliance.models import Control, ControlException, Evidence
from compliance.selectors import evidence_visible, exceptions_visible, may_open_reviews
from compliance.services import (
    Submission,
    accept_evidence,
    approve_exception,
    reject_evidence,
    reject_exception,
    request_exception,
    submit_evidence,
)
from core.clock import database_now
from core.json_body import StrictJSONParser
from core.parsing import refuse


def control_named(slug: str) -> Control:
    """Return a control. Raises InputRefusedError when there is none of that name."""
    found = Control.objects.filter(slug=slug, retired_at__isnull=True).first()
    if found is None:
        raise refuse("control", found=slug, allowed="a control of the organization is allowed")
    return found


class ReviewedViewSet(ComplianceViewSet[Any]):
    """What waits for a second pair of eyes: open to those who see compliance, and to approvers."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse who may not see any of it."""
        super().initial(request, *args, **kwargs)
        if not may_open_reviews(self.principal):
            raise PermissionDenied("Open to compliance managers, administrators, approvers, and granted auditors.")


class EvidenceSerializer(serializers.ModelSerializer[Evidence]):
    """Evidence that was handed in, with its four times."""

    control = serializers.SlugRelatedField(slug_field="slug", read_only=True)  # type: ignore[var-annotated]
    supersedes = serializers.SlugRelatedField(slug_field="reference", read_only=True)  # type: ignore[var-annotated]

    class Meta:
        model = Evidence
        exclude = ("id", "submitted_by", "reviewed_by")


class UploadBody(serializers.Serializer[Any]):
    """A file, or a statement that one attests."""

    control = serializers.SlugField()
    title = serializers.CharField(max_length=160)
    statement = serializers.CharField(required=False, allow_blank=True, default="")
    file = serializers.FileField(required=False)
    period_start = serializers.DateTimeField()
    period_end = serializers.DateTimeField()
    observed_at = serializers.DateTimeField(required=False, allow_null=True, default=None)
    collected_at = serializers.DateTimeField(required=False, allow_null=True, default=None)
    expires_at = serializers.DateTimeField(required=False, allow_null=True, default=None)
    source = serializers.CharField(  # type: ignore[assignment]  # a declared field
        max_length=160, required=False, allow_blank=True, default=""
    )
    query = serializers.CharField(max_length=2000, required=False, allow_blank=True, default="")
    external_id = serializers.CharField(max_length=160, required=False, allow_blank=True, default="")
    sensitivity = serializers.ChoiceField(choices=Evidence.Sensitivity.values, default=Evidence.Sensitivity.INTERNAL)
    supersedes = serializers.CharField(max_length=40, required=False, allow_blank=True, default="")


class RejectBody(serializers.Serializer[Any]):
    """Why it is turned down."""

    reason = serializers.CharField(max_length=500)


EVIDENCE = {
    "control": Narrow("control__slug", "What it is for."),
    "state": Narrow("state", "What became of it.", Evidence.State.values),
    "kind": Narrow("kind", "How it came here.", Evidence.Kind.values),
}


@extend_schema_view(
    list=extend_schema(parameters=parameters(EVIDENCE)), retrieve=extend_schema(responses=EvidenceSerializer)
)
class HandedInViewSet(ReviewedViewSet):
    """Evidence that was handed in. An auditor sees what was accepted for the controls in scope."""

    queryset = Evidence.objects.none()
    serializer_class = EvidenceSerializer
    lookup_field = "reference"
    lookup_value_regex = r"[-\w]+"
    parser_classes = (StrictJSONParser, MultiPartParser, FormParser)
    narrows = EVIDENCE

    def records(self) -> QuerySet[Evidence]:
        return evidence_visible(viewer=self.principal, access=self.access(self.request))

    @extend_schema(request=UploadBody, responses={201: EvidenceSerializer})
    def create(self, request: Request) -> Response:  # noqa: ARG002 DRF's signature
        """Hand evidence in; what cannot be right is put aside, with state `quarantined` and the reason."""
        given = self.body(UploadBody)
        upload, control = given.pop("file", None), control_named(given.pop("control"))
        known = given.pop("supersedes")
        supersedes = Evidence.objects.filter(reference=known, control=control).first() if known else None
        if known and supersedes is None:
            raise refuse("supersedes", found=known, allowed="evidence of the same control is allowed")
        content, name = (upload.read(), upload.name) if upload else (None, "")
        submission = Submission(content=content, file_name=name, **given)
        made = submit_evidence(principal=self.principal, control=control, submission=submission, supersedes=supersedes)
        return self.shown(made, status=201)

    @extend_schema(request=None, responses=EvidenceSerializer)
    @action(detail=True, methods=["post"])
    def accept(self, request: Request, reference: str) -> Response:  # noqa: ARG002 DRF's signature
        """Accept evidence; somebody other than who handed it in."""
        one = self.get_object()
        accept_evidence(principal=self.principal, evidence=one)
        return self.shown(one)

    @extend_schema(request=RejectBody, responses=EvidenceSerializer)
    @action(detail=True, methods=["post"])
    def reject(self, request: Request, reference: str) -> Response:  # noqa: ARG002 DRF's signature
        """Turn evidence down, with the reason that its sender sees."""
        one = self.get_object()
        reject_evidence(principal=self.principal, evidence=one, **self.body(RejectBody))
        return self.shown(one)


class ExceptionSerializer(serializers.ModelSerializer[ControlException]):
    """A deviation that is accepted for a while."""

    control = serializers.SlugRelatedField(slug_field="slug", read_only=True)  # type: ignore[var-annotated]
    state = serializers.SerializerMethodField()

    class Meta:
        model = ControlException
        fields = (
            "id",
            "control",
            "state",
            "reason",
            "compensation",
            "covers",
            "starts_at",
            "expires_at",
            "requested_at",
            "approved_at",
            "rejected_at",
        )

    def get_state(self, one: ControlException) -> str:
        """What it is worth now."""
        return one.state_at(database_now())


class ExceptionBody(serializers.Serializer[Any]):
    """What is to be accepted, why, what protects meanwhile, and until when."""

    control = serializers.SlugField()
    reason = serializers.CharField()
    compensation = serializers.CharField(required=False, allow_blank=True, default="")
    covers = serializers.CharField(max_length=200, required=False, allow_blank=True, default="")
    expires_at = serializers.DateTimeField()


EXCEPTIONS = {
    "control": Narrow("control__slug", "Which control deviates."),
    "waiting": Narrow("approved_at__isnull", "Whether nobody has approved it yet.", ("true", "false")),
}


@extend_schema_view(
    list=extend_schema(parameters=parameters(EXCEPTIONS)), retrieve=extend_schema(responses=ExceptionSerializer)
)
class ExceptionViewSet(ReviewedViewSet):
    """Exceptions: each ends, and counts once somebody else has approved it."""

    queryset = ControlException.objects.none()
    serializer_class = ExceptionSerializer
    narrows = EXCEPTIONS

    def records(self) -> QuerySet[ControlException]:
        return exceptions_visible(viewer=self.principal, access=self.access(self.request))

    @extend_schema(request=ExceptionBody, responses={201: ExceptionSerializer})
    def create(self, request: Request) -> Response:  # noqa: ARG002 DRF's signature
        """Ask for an exception."""
        given = self.body(ExceptionBody)
        control = control_named(given.pop("control"))
        return self.shown(request_exception(principal=self.principal, control=control, **given), status=201)

    @extend_schema(request=None, responses=ExceptionSerializer)
    @action(detail=True, methods=["post"])
    def approve(self, request: Request, pk: str) -> Response:  # noqa: ARG002 DRF's signature
        """Approve an exception that somebody else asked for."""
        one = self.get_object()
        approve_exception(principal=self.principal, exception=one)
        return self.shown(one)

    @extend_schema(request=None, responses=ExceptionSerializer)
    @action(detail=True, methods=["post"])
    def reject(self, request: Request, pk: str) -> Response:  # noqa: ARG002 DRF's signature
        """Turn an exception down."""
        one = self.get_object()
        reject_exception(principal=self.principal, exception=one)
        return self.shown(one)
