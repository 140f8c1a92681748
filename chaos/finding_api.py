"""REST: findings, that they are mended, and that one is closed without a retest."""

from typing import Any

from django.db.models import QuerySet
from django.http import Http404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.data import Capability
from accounts.services import ensure_may, principal_of
from chaos.program_models import ChaosFinding
from chaos.selectors import findings_visible
from chaos.services import mend_finding, waive_retest
from core.clock import database_now

PARAMETERS = [OpenApiParameter("id", int, OpenApiParameter.PATH, description="The finding's number.")]


class FindingSerializer(serializers.ModelSerializer[ChaosFinding]):
    """A finding, until when it must be tried again, and how it was closed."""

    experiment = serializers.SlugRelatedField(slug_field="slug", read_only=True)  # type: ignore[var-annotated]
    found_in = serializers.SlugRelatedField(slug_field="reference", read_only=True)  # type: ignore[var-annotated]
    proven_in = serializers.CharField(source="proven_in.reference", read_only=True, allow_null=True, default=None)
    kind = serializers.CharField()
    state = serializers.CharField()
    overdue = serializers.SerializerMethodField(help_text="Said to be mended, and not tried again in time.")

    class Meta:
        model = ChaosFinding
        fields = (
            "id",
            "experiment",
            "kind",
            "state",
            "text",
            "times",
            "found_in",
            "found_at",
            "mended_by",
            "mended_at",
            "mended_how",
            "retest_due_at",
            "overdue",
            "proven_in",
            "proven_at",
            "waived_by",
            "waived_at",
            "waived_reason",
        )

    def get_overdue(self, finding: ChaosFinding) -> bool:
        """Say whether its retest is overdue."""
        return finding.is_overdue(database_now())


class MendedSerializer(serializers.Serializer[Any]):
    """What was done."""

    how = serializers.CharField(max_length=500)


class WaivedSerializer(serializers.Serializer[Any]):
    """Why no run needs to show that it is mended."""

    reason = serializers.CharField(max_length=500)


class FindingViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[ChaosFinding]):
    """What runs have shown to be wrong."""

    queryset = ChaosFinding.objects.none()
    serializer_class = FindingSerializer
    lookup_value_regex = "[0-9]{1,12}"

    def get_queryset(self) -> QuerySet[ChaosFinding]:
        principal = principal_of(self.request)
        if not principal.may_somewhere(Capability.OPERATIONS_VIEW):
            ensure_may(principal, Capability.OPERATIONS_VIEW)
        return findings_visible(viewer=principal)

    @extend_schema(request=MendedSerializer, responses=FindingSerializer, parameters=PARAMETERS)
    @action(detail=True, methods=["post"])
    def mend(self, request: Request, pk: str) -> Response:
        """Say that it is mended: a retest is due from now on. One that is not open stays as it is."""
        body = MendedSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        mend_finding(principal=principal_of(request), finding=self._finding(pk), how=body.validated_data["how"])
        return Response(FindingSerializer(self._finding(pk)).data)

    @extend_schema(request=WaivedSerializer, responses=FindingSerializer, parameters=PARAMETERS)
    @action(detail=True, methods=["post"])
    def waive(self, request: Request, pk: str) -> Response:
        """Close it without a retest; the ledger keeps the reason. One that is closed stays as it is."""
        body = WaivedSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        waive_retest(principal=principal_of(request), finding=self._finding(pk), reason=body.validated_data["reason"])
        return Response(FindingSerializer(self._finding(pk)).data)

    def _finding(self, pk: str) -> ChaosFinding:
        finding = self.get_queryset().filter(pk=int(pk)).first()
        if finding is None:
            raise Http404
        return finding
