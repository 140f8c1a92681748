"""REST: incidents, alerts, who is on call."""

from dataclasses import asdict
from typing import Any

from django.http import Http404
from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.data import Capability, Principal
from accounts.services import ensure_may, principal_of
from catalog.selectors import services_by_slugs
from core.parsing import refuse
from incidents.data import Severity
from incidents.models import Alert, EscalationPolicy, Incident, Schedule, TimelineEntry
from incidents.selectors import alerts_visible, incident_by_reference, incidents_visible, on_call_now, schedules
from incidents.services import (
    Opening,
    acknowledge_incident,
    mitigate_incident,
    open_incident,
    resolve_incident,
    write_note,
)


class TimelineEntrySerializer(serializers.ModelSerializer[TimelineEntry]):
    """Something that happened in an incident."""

    class Meta:
        model = TimelineEntry
        fields = ("at", "kind", "text", "actor", "actor_label", "link", "source_key")


class IncidentSerializer(serializers.ModelSerializer[Incident]):
    """An incident."""

    reference = serializers.CharField(read_only=True)
    services = serializers.SlugRelatedField(slug_field="slug", many=True, read_only=True)  # type: ignore[var-annotated]
    acknowledged_by = serializers.CharField(source="acknowledged_by.username", default="", read_only=True)

    class Meta:
        model = Incident
        fields: tuple[str, ...] = (
            "reference",
            "title",
            "severity",
            "status",
            "services",
            "route_name",
            "caused_by",
            "runbook_slug",
            "impact_started_at",
            "detected_at",
            "triggered_at",
            "first_notified_at",
            "acknowledged_at",
            "acknowledged_by",
            "mitigated_at",
            "resolved_at",
            "resolved_by",
        )


class IncidentDetailSerializer(IncidentSerializer):
    """An incident with its timeline."""

    timeline = TimelineEntrySerializer(many=True, read_only=True)

    class Meta(IncidentSerializer.Meta):
        fields = (*IncidentSerializer.Meta.fields, "timeline")


class OpeningSerializer(serializers.Serializer[Any]):
    """What opens an incident."""

    title = serializers.CharField(max_length=200)
    severity = serializers.ChoiceField(choices=[one.value for one in Severity], default=Severity.SEV3.value)
    services = serializers.ListField(child=serializers.SlugField(), default=list)
    escalation_policy = serializers.SlugField(default="", allow_blank=True)


class ReasonSerializer(serializers.Serializer[Any]):
    """Why."""

    reason = serializers.CharField(max_length=200, default="", allow_blank=True)


class NoteSerializer(serializers.Serializer[Any]):
    """A note for the timeline. The same key again writes nothing."""

    text = serializers.CharField(max_length=10_000)
    key = serializers.CharField(max_length=200, default="", allow_blank=True)


class IncidentViewSet(mixins.ListModelMixin, viewsets.GenericViewSet[Incident]):
    """Incidents: read them, open one, take it on, end it."""

    queryset = Incident.objects.none()
    serializer_class = IncidentSerializer
    lookup_field = "reference"
    lookup_value_regex = "[A-Za-z]+-[0-9]+"

    def get_queryset(self) -> Any:
        found = incidents_visible(viewer=self._principal).prefetch_related("services")
        status = self.request.query_params.get("status", "")
        return found.filter(status__in=status.split(",")) if status else found

    @extend_schema(
        parameters=[OpenApiParameter("status", str, description="One or more states, parted by commas.")],
    )
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List incidents, newest first."""
        return super().list(request, *args, **kwargs)

    @extend_schema(responses=IncidentDetailSerializer)
    def retrieve(self, request: Request, reference: str) -> Response:  # noqa: ARG002 DRF's signature
        """Return one incident with its timeline."""
        return Response(IncidentDetailSerializer(self._incident(reference)).data)

    @extend_schema(request=OpeningSerializer, responses={201: IncidentDetailSerializer})
    def create(self, request: Request) -> Response:
        """Open an incident."""
        body = OpeningSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        data = body.validated_data
        services = list(services_by_slugs(data["services"]))
        if missing := sorted(set(data["services"]) - {service.slug for service in services}):
            raise refuse("services", found=missing[0], allowed="services of the catalogue are allowed")
        policy = EscalationPolicy.objects.filter(slug=data["escalation_policy"]).first()
        if data["escalation_policy"] and policy is None:
            raise refuse("escalation_policy", found=data["escalation_policy"], allowed="one that exists is allowed")
        incident = open_incident(
            principal=self._principal,
            opening=Opening(
                title=data["title"],
                severity=Severity(data["severity"]),
                service_ids=tuple(service.pk for service in services),
                service_slugs=tuple(service.slug for service in services),
                team_id=services[0].team_id if services else None,
                policy=policy,
            ),
        )
        return Response(IncidentDetailSerializer(incident).data, status=201)

    @extend_schema(request=None, responses=IncidentDetailSerializer)
    @action(detail=True, methods=["post"])
    def acknowledge(self, request: Request, reference: str) -> Response:  # noqa: ARG002 DRF's signature
        """Take an incident on; its escalation stops."""
        incident = self._incident(reference)
        acknowledge_incident(principal=self._principal, incident=incident, via="API")
        return Response(IncidentDetailSerializer(incident).data)

    @extend_schema(request=None, responses=IncidentDetailSerializer)
    @action(detail=True, methods=["post"])
    def mitigate(self, request: Request, reference: str) -> Response:  # noqa: ARG002 DRF's signature
        """Say that the impact has ended."""
        incident = mitigate_incident(principal=self._principal, incident=self._incident(reference))
        return Response(IncidentDetailSerializer(incident).data)

    @extend_schema(request=ReasonSerializer, responses=IncidentDetailSerializer)
    @action(detail=True, methods=["post"])
    def resolve(self, request: Request, reference: str) -> Response:
        """End an incident."""
        body = ReasonSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        incident = resolve_incident(
            principal=self._principal, incident=self._incident(reference), reason=body.validated_data["reason"]
        )
        return Response(IncidentDetailSerializer(incident).data)

    @extend_schema(request=NoteSerializer, responses={201: TimelineEntrySerializer})
    @action(detail=True, methods=["post"])
    def notes(self, request: Request, reference: str) -> Response:
        """Write to the timeline."""
        body = NoteSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        entry = write_note(
            principal=self._principal,
            incident=self._incident(reference),
            text=body.validated_data["text"],
            source_key=body.validated_data["key"],
        )
        return Response(TimelineEntrySerializer(entry).data, status=201)

    @property
    def _principal(self) -> Principal:
        return principal_of(self.request)

    def _incident(self, reference: str) -> Incident:
        incident = incident_by_reference(reference=reference, viewer=self._principal)
        if incident is None:
            raise Http404
        return incident


class AlertSerializer(serializers.ModelSerializer[Alert]):
    """An alert and what was decided."""

    integration = serializers.SlugRelatedField(slug_field="slug", read_only=True)  # type: ignore[var-annotated]
    service = serializers.SlugRelatedField(slug_field="slug", read_only=True)  # type: ignore[var-annotated]
    incident = serializers.CharField(source="incident.reference", default="", read_only=True)

    class Meta:
        model = Alert
        fields = (
            "id",
            "title",
            "status",
            "fingerprint",
            "labels",
            "annotations",
            "url",
            "starts_at",
            "resolved_at",
            "last_received_at",
            "occurrences",
            "is_tombstone",
            "integration",
            "service",
            "incident",
            "decision",
        )


class AlertViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Alert]):
    """Alerts with the decision that was taken."""

    queryset = Alert.objects.none()
    serializer_class = AlertSerializer

    def get_queryset(self) -> Any:
        status = self.request.query_params.get("status", "")
        return alerts_visible(viewer=principal_of(self.request), status=status)


class OnCallView(APIView):
    """Who is on call now."""

    @extend_schema(
        parameters=[OpenApiParameter("schedule", str, description="Only this schedule.")],
        responses=inline_serializer(
            "OnCallPerson",
            {
                "schedule": serializers.CharField(),
                "username": serializers.CharField(),
                "name": serializers.CharField(),
                "until": serializers.DateTimeField(),
                "why": serializers.CharField(),
            },
            many=True,
        ),
    )
    def get(self, request: Request) -> Response:
        """Return the people on call now, with the end of their shift and why."""
        viewer = principal_of(request)
        seen = {one.slug for one in schedules(viewer=viewer)}
        wanted = request.query_params.get("schedule", "")
        if not viewer.may_somewhere(Capability.OPERATIONS_VIEW):
            ensure_may(viewer, Capability.OPERATIONS_VIEW)
        if wanted and not Schedule.objects.filter(slug=wanted, slug__in=seen).exists():
            raise Http404
        found = [asdict(person) for person in on_call_now(schedule_slug=wanted) if person.schedule in seen]
        return Response([{k: v for k, v in one.items() if k not in {"user_id", "mail"}} for one in found])
