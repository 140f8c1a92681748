"""REST: experiments and their plans, runs, the kill switch."""

from typing import Any

from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.data import Capability, Principal
from accounts.services import ensure_may, principal_of
from chaos.models import ChaosRun, Experiment, Fault, KillSwitch
from chaos.selectors import engaged_kill_switch, experiments_visible, latest_revision, run_by_reference, runs_visible
from chaos.services import (
    GuardRefusedError,
    apply_documents,
    approve_plan,
    ask_guards,
    engage_kill_switch,
    plan_as_json,
    plan_run,
    release_kill_switch,
    request_run,
    stop_run,
)
from core.parsing import LineIndex, refuse

PLAN_PARAMETERS = [OpenApiParameter("slug", str, OpenApiParameter.PATH, description="The experiment.")]


class ExperimentSerializer(serializers.ModelSerializer[Experiment]):
    """An experiment."""

    environment = serializers.SlugRelatedField(slug_field="slug", read_only=True)  # type: ignore[var-annotated]
    services = serializers.SlugRelatedField(slug_field="slug", many=True, read_only=True)  # type: ignore[var-annotated]

    class Meta:
        model = Experiment
        fields: tuple[str, ...] = ("slug", "title", "environment", "services")


class FaultSerializer(serializers.ModelSerializer[Fault]):
    """A fault of a run, with what undoing it needs."""

    state = serializers.CharField()

    class Meta:
        model = Fault
        fields = (
            "position",
            "action",
            "arguments",
            "targets",
            "state",
            "took_effect",
            "intended_at",
            "injected_at",
            "expires_at",
            "reverted_at",
            "detail",
        )


class RunSerializer(serializers.ModelSerializer[ChaosRun]):
    """A run."""

    experiment = serializers.CharField(source="revision.experiment.slug")
    revision = serializers.IntegerField(source="revision.number")
    state = serializers.CharField()
    verdict = serializers.CharField(allow_blank=True)

    class Meta:
        model = ChaosRun
        fields: tuple[str, ...] = (
            "reference",
            "experiment",
            "revision",
            "plan_sha256",
            "state",
            "verdict",
            "reason",
            "requested_by",
            "requested_at",
            "started_at",
            "ended_at",
            "deadline_at",
            "steady_before",
            "steady_during",
            "steady_after",
            "stop_requested_by",
            "stop_reason",
        )


class RunDetailSerializer(RunSerializer):
    """A run with its faults, guards and journal."""

    faults = FaultSerializer(many=True, read_only=True)

    class Meta(RunSerializer.Meta):
        fields = (*RunSerializer.Meta.fields, "faults", "guards", "journal")


class WhySerializer(serializers.Serializer[Any]):
    """Why a run is stopped, or all of them."""

    reason = serializers.CharField(max_length=300)


class KillSwitchSerializer(serializers.ModelSerializer[KillSwitch]):
    """The kill switch while it is engaged."""

    class Meta:
        model = KillSwitch
        fields = ("engaged_by", "engaged_at", "reason")


class ExperimentViewSet(mixins.ListModelMixin, viewsets.GenericViewSet[Experiment]):
    """Experiments: read them, apply documents, plan, approve, start a run."""

    queryset = Experiment.objects.none()
    serializer_class = ExperimentSerializer
    lookup_field = "slug"

    def get_queryset(self) -> Any:
        _ensure_reader(self._principal)
        return experiments_visible(viewer=self._principal)

    @extend_schema(responses={200: OpenApiTypes.OBJECT})
    def retrieve(self, request: Request, slug: str) -> Response:  # noqa: ARG002 DRF's signature
        """Return an experiment with what it says now."""
        experiment = self._experiment(slug)
        revision = latest_revision(experiment=experiment)
        return Response(
            {
                **ExperimentSerializer(experiment).data,
                "revision": revision.number,
                "author": revision.author,
                "sha256": revision.sha256,
                "definition": revision.definition,
            }
        )

    @extend_schema(request=OpenApiTypes.OBJECT, responses={200: OpenApiTypes.OBJECT, 400: None})
    def create(self, request: Request) -> Response:
        """Apply `kind: Experiment` documents, one or a list of them, all or nothing."""
        documents = request.data if isinstance(request.data, list) else [request.data]
        if not documents:
            raise refuse("body", found="an empty list", allowed="Experiment documents are allowed")
        changed = apply_documents(
            principal=self._principal, documents=[(one, LineIndex({})) for one in documents], source="body"
        )
        return Response({"changed": changed})

    @extend_schema(parameters=PLAN_PARAMETERS, responses={200: OpenApiTypes.OBJECT})
    @action(detail=True, methods=["get"])
    def plan(self, request: Request, slug: str) -> Response:  # noqa: ARG002 DRF's signature
        """Resolve the real targets and ask every guard. Nothing is touched."""
        plan = plan_run(experiment=self._experiment(slug))
        return Response(plan_as_json(plan, ask_guards(plan, requested_by=self._principal.reference)))

    @extend_schema(
        request=None,
        parameters=PLAN_PARAMETERS,
        responses={
            201: inline_serializer(
                "PlanApproval",
                {
                    "plan_sha256": serializers.CharField(),
                    "approved_by": serializers.CharField(),
                    "expires_at": serializers.DateTimeField(),
                },
            )
        },
    )
    @action(detail=True, methods=["post"])
    def approve(self, request: Request, slug: str) -> Response:  # noqa: ARG002 DRF's signature
        """Agree to the plan as it is now, for an hour; who wrote it cannot."""
        approval = approve_plan(principal=self._principal, experiment=self._experiment(slug))
        answer = {name: getattr(approval, name) for name in ("plan_sha256", "approved_by", "expires_at")}
        return Response(answer, status=status.HTTP_201_CREATED)

    @extend_schema(request=None, parameters=PLAN_PARAMETERS, responses={201: RunSerializer, 409: OpenApiTypes.OBJECT})
    @action(detail=True, methods=["post"])
    def start(self, request: Request, slug: str) -> Response:  # noqa: ARG002 DRF's signature
        """Start a run. 409 with every guard's answer when one says no."""
        try:
            run = request_run(principal=self._principal, experiment=self._experiment(slug))
        except GuardRefusedError as error:
            answer = {"detail": str(error), "guards": [vars(decision) for decision in error.decisions]}
            return Response(answer, status=status.HTTP_409_CONFLICT)
        return Response(RunSerializer(run).data, status=status.HTTP_201_CREATED)

    @property
    def _principal(self) -> Principal:
        return principal_of(self.request)

    def _experiment(self, slug: str) -> Experiment:
        found: Experiment | None = self.get_queryset().filter(slug=slug).first()
        if found is None:
            raise Http404
        return found


class RunViewSet(mixins.ListModelMixin, viewsets.GenericViewSet[ChaosRun]):
    """Runs: read them, stop one."""

    queryset = ChaosRun.objects.none()
    serializer_class = RunSerializer
    lookup_field = "reference"

    def get_queryset(self) -> Any:
        _ensure_reader(principal_of(self.request))
        found = runs_visible(viewer=principal_of(self.request))
        for name in ("state", "verdict"):
            if wanted := self.request.query_params.get(name, ""):
                found = found.filter(**{name: wanted})
        return found

    @extend_schema(
        parameters=[
            OpenApiParameter("state", str, description="Only runs in this state."),
            OpenApiParameter("verdict", str, description="Only runs with this verdict."),
        ]
    )
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List runs, newest first."""
        return super().list(request, *args, **kwargs)

    @extend_schema(responses=RunDetailSerializer)
    def retrieve(self, request: Request, reference: str) -> Response:  # noqa: ARG002 DRF's signature
        """Return a run with its faults, guards and journal."""
        return Response(RunDetailSerializer(self._run(reference)).data)

    @extend_schema(request=WhySerializer, responses={202: RunSerializer, 409: OpenApiTypes.OBJECT})
    @action(detail=True, methods=["post"])
    def stop(self, request: Request, reference: str) -> Response:
        """Stop a run; its faults are undone at once."""
        body = WhySerializer(data=request.data)
        body.is_valid(raise_exception=True)
        run = self._run(reference)
        if not stop_run(principal=principal_of(request), run=run, reason=body.validated_data["reason"]):
            return Response({"detail": "The run is not going on."}, status=status.HTTP_409_CONFLICT)
        run.refresh_from_db()
        return Response(RunSerializer(run).data, status=status.HTTP_202_ACCEPTED)

    def _run(self, reference: str) -> ChaosRun:
        run = run_by_reference(reference=reference)
        if run is None or not self.get_queryset().filter(pk=run.pk).exists():
            raise Http404
        return run


class KillSwitchApi(APIView):
    """Stops every run and lets none start while it is engaged."""

    @extend_schema(operation_id="chaos_kill_switch_retrieve", responses={200: KillSwitchSerializer, 204: None})
    def get(self, request: Request) -> Response:
        """Return the switch; 204 when it is not engaged."""
        _ensure_reader(principal_of(request))
        return _switch()

    @extend_schema(operation_id="chaos_kill_switch_engage", request=WhySerializer, responses=KillSwitchSerializer)
    def post(self, request: Request) -> Response:
        """Engage it: every run stops, faults are undone, none starts."""
        body = WhySerializer(data=request.data)
        body.is_valid(raise_exception=True)
        engage_kill_switch(principal=principal_of(request), reason=body.validated_data["reason"])
        return _switch()

    @extend_schema(operation_id="chaos_kill_switch_release", responses={204: None})
    def delete(self, request: Request) -> Response:
        """Release it: runs may start again."""
        release_kill_switch(principal=principal_of(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


def _switch() -> Response:
    switch = engaged_kill_switch()
    return Response(KillSwitchSerializer(switch).data) if switch else Response(status=status.HTTP_204_NO_CONTENT)


def _ensure_reader(principal: Principal) -> None:
    if not principal.may_somewhere(Capability.OPERATIONS_VIEW):
        ensure_may(principal, Capability.OPERATIONS_VIEW)
