"""REST: runbooks with their revisions, what a run would do, and runs with people's answers."""

from typing import Any

from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.data import Principal
from accounts.services import principal_of
from core.identifiers import new_id
from core.parsing import refuse
from runbooks.models import OutputLine, Runbook, RunbookRevision, RunbookRun, RunStep, StepAttempt
from runbooks.selectors import latest_revision, lines_of, run_by_reference, runbooks_visible, runs_visible
from runbooks.services import (
    answer_step,
    apply_documents,
    cancel_run,
    hand_over_run,
    lint_documents,
    pause_run,
    plan_run,
    resume_run,
    start_run,
    take_over_run,
)

MOST_DOCUMENTS = 200


class RunbookSerializer(serializers.ModelSerializer[Runbook]):
    """A runbook."""

    owner = serializers.CharField(source="team.slug", default=None, read_only=True)
    services = serializers.SlugRelatedField(slug_field="slug", many=True, read_only=True)  # type: ignore[var-annotated]

    class Meta:
        model = Runbook
        fields: tuple[str, ...] = ("slug", "title", "owner", "services", "review_by", "triggers", "schedule")


class RunbookRevisionSerializer(serializers.ModelSerializer[RunbookRevision]):
    """A revision, named by the SHA-256 of its text."""

    class Meta:
        model = RunbookRevision
        fields = ("sha256", "author", "created_at", "inputs", "source")


class RunbookDetailSerializer(RunbookSerializer):
    """A runbook with the revision in force."""

    revision = serializers.SerializerMethodField()

    class Meta(RunbookSerializer.Meta):
        fields = (*RunbookSerializer.Meta.fields, "revision")

    @extend_schema(responses=RunbookRevisionSerializer)
    def get_revision(self, runbook: Runbook) -> dict[str, Any]:
        """Return the revision in force."""
        return dict(RunbookRevisionSerializer(latest_revision(runbook=runbook)).data)


class RunbookDocumentSerializer(serializers.Serializer[Any]):
    """A runbook's file."""

    name = serializers.CharField(max_length=200)
    text = serializers.CharField(max_length=1_000_000, trim_whitespace=False)


class RunbookDocumentsSerializer(serializers.Serializer[Any]):
    """Files to check or to put into force, all or nothing."""

    documents = serializers.ListField(child=RunbookDocumentSerializer(), max_length=MOST_DOCUMENTS, allow_empty=False)


class ChangedRunbooksSerializer(serializers.Serializer[Any]):
    """The runbooks that changed."""

    changed = serializers.ListField(child=serializers.CharField())


class LintProblemSerializer(serializers.Serializer[Any]):
    """Something to mend: where, what, how."""

    where = serializers.CharField()
    found = serializers.CharField()
    allowed = serializers.CharField()


class RunInputsSerializer(serializers.Serializer[Any]):
    """The values that a run is given."""

    inputs = serializers.DictField(default=dict)


class StartRunSerializer(RunInputsSerializer):
    """What starts a run. The same key again answers with the run there is."""

    key = serializers.CharField(max_length=120, default="", allow_blank=True)
    incident = serializers.CharField(max_length=60, default="", allow_blank=True)


class PlannedBlockSerializer(serializers.Serializer[Any]):
    """What a block would do."""

    id = serializers.CharField()
    kind = serializers.CharField()
    item = serializers.CharField()
    action = serializers.CharField()
    risk = serializers.CharField()
    arguments = serializers.DictField()
    summary = serializers.CharField()
    commands = serializers.ListField(child=serializers.CharField())
    targets = serializers.ListField(child=serializers.CharField())
    guarded_by = serializers.ListField(child=serializers.CharField())
    problem = serializers.CharField()


class StepAttemptSerializer(serializers.ModelSerializer[StepAttempt]):
    """One try of a step."""

    class Meta:
        model = StepAttempt
        fields = (
            "number",
            "state",
            "idempotency_key",
            "arguments",
            "output",
            "error",
            "artifact_sha256",
            "started_at",
            "deadline_at",
            "finished_at",
        )


class RunbookRunStepSerializer(serializers.ModelSerializer[RunStep]):
    """A block of a run."""

    id = serializers.CharField(source="step_id")
    attempts = StepAttemptSerializer(many=True, read_only=True)

    class Meta:
        model = RunStep
        fields = (
            "id",
            "kind",
            "item",
            "state",
            "detail",
            "answer",
            "evidence",
            "performed_by",
            "waiting_until",
            "finished_at",
            "attempts",
        )


class RunbookRunSerializer(serializers.ModelSerializer[RunbookRun]):
    """A run."""

    runbook = serializers.CharField(source="revision.runbook.slug", read_only=True)
    revision = serializers.CharField(source="revision.sha256", read_only=True)

    class Meta:
        model = RunbookRun
        fields: tuple[str, ...] = (
            "reference",
            "runbook",
            "revision",
            "state",
            "reason",
            "inputs",
            "trigger",
            "operator",
            "incident_reference",
            "started_at",
            "ended_at",
        )


class RunbookRunDetailSerializer(RunbookRunSerializer):
    """A run with its steps."""

    steps = RunbookRunStepSerializer(many=True, read_only=True)

    class Meta(RunbookRunSerializer.Meta):
        fields = (*RunbookRunSerializer.Meta.fields, "steps")


class OutputLineSerializer(serializers.ModelSerializer[OutputLine]):
    """A line that an action said."""

    step = serializers.CharField(source="attempt.step.step_id")
    attempt = serializers.IntegerField(source="attempt.number")

    class Meta:
        model = OutputLine
        fields = ("id", "step", "attempt", "number", "at", "text")


class StepAnswerSerializer(serializers.Serializer[Any]):
    """An answer: approve, reject or break-glass for an approval; else one of those that the block allows."""

    step = serializers.CharField(max_length=60, help_text="`restart`, or `restart[2]` for the second of `foreach`.")
    answer = serializers.CharField(max_length=60)
    evidence = serializers.CharField(max_length=4000, default="", allow_blank=True)
    reason = serializers.CharField(max_length=2000, default="", allow_blank=True)


class PauseRunSerializer(serializers.Serializer[Any]):
    """Why."""

    reason = serializers.CharField(max_length=300, default="", allow_blank=True)


class HandOverSerializer(serializers.Serializer[Any]):
    """Who operates the run from now on."""

    to = serializers.CharField(max_length=150, help_text="A user name.")


class CancelRunSerializer(PauseRunSerializer):
    """Why, and whether what was done is to be undone."""

    roll_back = serializers.BooleanField(default=False)


class RunbookViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Runbook]):
    """Runbooks: read them, check and apply files, see what a run would do, start one."""

    queryset = Runbook.objects.none()
    serializer_class = RunbookSerializer
    lookup_field = "slug"

    def get_queryset(self) -> Any:
        return runbooks_visible(viewer=principal_of(self.request)).prefetch_related("services")

    def get_serializer_class(self) -> Any:
        return RunbookDetailSerializer if self.action == "retrieve" else RunbookSerializer

    @extend_schema(request=RunbookDocumentsSerializer, responses=ChangedRunbooksSerializer)
    def create(self, request: Request) -> Response:
        """Put files into force, all or nothing."""
        changed = apply_documents(principal=principal_of(request), documents=_documents(request))
        return Response({"changed": changed})

    @extend_schema(request=RunbookDocumentsSerializer, responses=LintProblemSerializer(many=True))
    @action(detail=False, methods=["post"], pagination_class=None)
    def lint(self, request: Request) -> Response:
        """Check files; an empty list means that there is nothing to mend."""
        return Response([vars(problem) for problem in lint_documents(_documents(request))])

    @extend_schema(responses=RunbookRevisionSerializer(many=True))
    @action(detail=True, methods=["get"], pagination_class=None)
    def revisions(self, request: Request, slug: str) -> Response:  # noqa: ARG002 the route's names
        """List the revisions, newest first."""
        return Response(RunbookRevisionSerializer(self.get_object().revisions.all()[:200], many=True).data)

    @extend_schema(request=RunInputsSerializer, responses=PlannedBlockSerializer(many=True))
    @action(detail=True, methods=["post"], pagination_class=None)
    def plan(self, request: Request, slug: str) -> Response:  # noqa: ARG002 the route's names
        """Return what each block would do with these inputs. Nothing is done."""
        body = _body(RunInputsSerializer, request)
        planned = plan_run(principal=principal_of(request), runbook_slug=self.get_object().slug, inputs=body["inputs"])
        return Response(PlannedBlockSerializer(planned, many=True).data)

    @extend_schema(request=StartRunSerializer, responses={201: RunbookRunDetailSerializer})
    @action(detail=True, methods=["post"])
    def runs(self, request: Request, slug: str) -> Response:  # noqa: ARG002 the route's names
        """Start a run."""
        body = _body(StartRunSerializer, request)
        principal = principal_of(request)
        run = start_run(
            principal=principal,
            runbook_slug=self.get_object().slug,
            inputs=body["inputs"],
            trigger=f"{principal.label} by REST",
            idempotency_key=f"rest:{principal.user_id}:{body['key']}" if body["key"] else new_id("rest"),
            incident_reference=body["incident"],
        )
        return Response(RunbookRunDetailSerializer(run).data, status=status.HTTP_201_CREATED)


class RunViewSet(mixins.ListModelMixin, viewsets.GenericViewSet[RunbookRun]):
    """Runs: follow them, answer, pause, take over, cancel."""

    queryset = RunbookRun.objects.none()
    serializer_class = RunbookRunSerializer
    lookup_field = "reference"
    lookup_value_regex = "rbr_[a-z0-9]{26}"

    def get_queryset(self) -> Any:
        found = runs_visible(viewer=principal_of(self.request))
        query = self.request.query_params
        if query.get("state"):
            found = found.filter(state__in=query["state"].split(","))
        return found.filter(revision__runbook__slug=query["runbook"]) if query.get("runbook") else found

    @extend_schema(
        parameters=[
            OpenApiParameter("state", str, description="One or more states, parted by commas."),
            OpenApiParameter("runbook", str, description="Slug of a runbook."),
        ]
    )
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List runs, newest first."""
        return super().list(request, *args, **kwargs)

    @extend_schema(responses=RunbookRunDetailSerializer)
    def retrieve(self, request: Request, reference: str) -> Response:  # noqa: ARG002 the route's names
        """Return a run with its steps and tries."""
        return self._answer()

    @extend_schema(
        parameters=[OpenApiParameter("after", OpenApiTypes.INT, description="Only lines with a greater id.")],
        responses=OutputLineSerializer(many=True),
    )
    @action(detail=True, methods=["get"], pagination_class=None)
    def output(self, request: Request, reference: str) -> Response:  # noqa: ARG002 the route's names
        """Return the lines that actions said, in order; ask again with the last id for what is new."""
        after = request.query_params.get("after", "0")
        if not after.isdecimal():
            raise refuse("after", found=after, allowed="the id of a line is allowed")
        return Response(OutputLineSerializer(lines_of(run=self._run(), after=int(after)), many=True).data)

    @extend_schema(request=StepAnswerSerializer, responses=RunbookRunDetailSerializer)
    @action(detail=True, methods=["post"])
    def answer(self, request: Request, reference: str) -> Response:  # noqa: ARG002 the route's names
        """Answer what a step asks."""
        body = _body(StepAnswerSerializer, request)
        answer_step(
            principal=self._principal,
            run=self._run(),
            step_id=body["step"],
            answer=body["answer"],
            evidence=body["evidence"],
            reason=body["reason"],
        )
        return self._answer()

    @extend_schema(request=PauseRunSerializer, responses=RunbookRunDetailSerializer)
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, reference: str) -> Response:  # noqa: ARG002 the route's names
        """Take no further step until somebody resumes."""
        pause_run(principal=self._principal, run=self._run(), reason=_body(PauseRunSerializer, request)["reason"])
        return self._answer()

    @extend_schema(request=None, responses=RunbookRunDetailSerializer)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, reference: str) -> Response:  # noqa: ARG002 the route's names
        """Let a paused run go on."""
        resume_run(principal=self._principal, run=self._run())
        return self._answer()

    @extend_schema(request=None, responses=RunbookRunDetailSerializer)
    @action(detail=True, methods=["post"], url_path="take-over")
    def take_over(self, request: Request, reference: str) -> Response:  # noqa: ARG002 the route's names
        """Become the operator."""
        take_over_run(principal=self._principal, run=self._run())
        return self._answer()

    @extend_schema(request=HandOverSerializer, responses=RunbookRunDetailSerializer)
    @action(detail=True, methods=["post"], url_path="hand-over")
    def hand_over(self, request: Request, reference: str) -> Response:  # noqa: ARG002 the route's names
        """Make somebody else the operator; they must be allowed to run it."""
        hand_over_run(principal=self._principal, run=self._run(), to=_body(HandOverSerializer, request)["to"])
        return self._answer()

    @extend_schema(request=CancelRunSerializer, responses=RunbookRunDetailSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, reference: str) -> Response:  # noqa: ARG002 the route's names
        """End a run; what it has done stays done unless it is to be rolled back."""
        body = _body(CancelRunSerializer, request)
        reason = body["reason"] or "no reason"
        cancel_run(principal=self._principal, run=self._run(), reason=reason, roll_back=body["roll_back"])
        return self._answer()

    @property
    def _principal(self) -> Principal:
        return principal_of(self.request)

    def _run(self) -> RunbookRun:
        found: RunbookRun = self.get_object()
        return found

    def _answer(self) -> Response:
        run = run_by_reference(reference=self._run().reference)
        if run is None:
            raise Http404
        return Response(RunbookRunDetailSerializer(run).data)


def _documents(request: Request) -> list[tuple[str, str]]:
    return [(one["name"], one["text"]) for one in _body(RunbookDocumentsSerializer, request)["documents"]]


def _body(kind: type[serializers.Serializer[Any]], request: Request) -> dict[str, Any]:
    body = kind(data=request.data)
    body.is_valid(raise_exception=True)
    if isinstance(request.data, dict) and (unknown := set(request.data) - set(body.fields)):
        raise refuse(f"body {min(unknown)}", found="an unknown key", allowed=f"{', '.join(body.fields)} are allowed")
    return dict(body.validated_data)
