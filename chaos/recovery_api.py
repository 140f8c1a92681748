"""REST: recovery tests and what their runs measured."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.services import principal_of
from chaos.recovery_models import RecoveryTest, RecoveryTestRun
from chaos.recovery_selectors import recovery_runs_visible, recovery_tests_visible
from chaos.services.recovery import RecoveryRefusedError, request_recovery_run


class RecoveryTestSerializer(serializers.ModelSerializer[RecoveryTest]):
    """A recovery test."""

    service = serializers.SlugRelatedField(slug_field="slug", read_only=True)  # type: ignore[var-annotated]
    rto = serializers.DurationField(source="service.rto", read_only=True, allow_null=True)
    rpo = serializers.DurationField(source="service.rpo", read_only=True, allow_null=True)

    class Meta:
        model = RecoveryTest
        fields: tuple[str, ...] = ("slug", "title", "service", "kind", "next_due_at", "missed", "rto", "rpo")


class RecoveryRunSerializer(serializers.ModelSerializer[RecoveryTestRun]):
    """A run of a recovery test, with its steps and what was measured."""

    test = serializers.SlugRelatedField(slug_field="slug", read_only=True)  # type: ignore[var-annotated]
    state = serializers.CharField()
    verdict = serializers.CharField()

    class Meta:
        model = RecoveryTestRun
        fields = (
            "reference",
            "test",
            "state",
            "verdict",
            "reason",
            "requested_by",
            "requested_at",
            "started_at",
            "ended_at",
            "rto",
            "rpo",
            "steps",
            "result",
        )


class RecoveryTestViewSet(viewsets.ReadOnlyModelViewSet[RecoveryTest]):
    """Recovery tests; POST to `run` asks for a run."""

    serializer_class = RecoveryTestSerializer
    queryset = RecoveryTest.objects.none()
    lookup_field = "slug"

    def get_queryset(self) -> Any:
        return recovery_tests_visible(viewer=principal_of(self.request))

    @extend_schema(request=None, responses={201: RecoveryRunSerializer})
    @action(detail=True, methods=["post"])
    def run(self, request: Request, slug: str) -> Response:  # noqa: ARG002 the object is looked up by it
        """Ask for a run; 409 says why it does not start."""
        try:
            run = request_recovery_run(principal=principal_of(request), test=self.get_object())
        except RecoveryRefusedError as error:
            return Response({"detail": str(error)}, status=status.HTTP_409_CONFLICT)
        return Response(RecoveryRunSerializer(run).data, status=status.HTTP_201_CREATED)


class RecoveryRunViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[RecoveryTestRun]):
    """Runs of recovery tests, newest first."""

    serializer_class = RecoveryRunSerializer
    queryset = RecoveryTestRun.objects.none()
    lookup_field = "reference"

    def get_queryset(self) -> Any:
        return recovery_runs_visible(viewer=principal_of(self.request))
