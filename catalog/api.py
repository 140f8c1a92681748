"""REST: services, and deployments as a pipeline posts them."""

from datetime import datetime
from typing import Any

from drf_spectacular.utils import extend_schema
from pydantic import BaseModel, ConfigDict, Field
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.services import principal_of
from catalog.models import Deployment, Service
from catalog.selectors import deployments_visible, services_visible
from catalog.services import record_deployment
from core.parsing import parse_document, refuse


class ServiceSerializer(serializers.ModelSerializer[Service]):
    """A service."""

    team = serializers.SlugRelatedField(slug_field="slug", read_only=True)  # type: ignore[var-annotated]
    environment = serializers.SlugRelatedField(slug_field="slug", read_only=True)  # type: ignore[var-annotated]
    region = serializers.SlugRelatedField(slug_field="slug", read_only=True)  # type: ignore[var-annotated]

    class Meta:
        model = Service
        fields = ("slug", "name", "description", "team", "environment", "region", "tier", "lifecycle", "rto", "rpo")


class DeploymentSerializer(serializers.ModelSerializer[Deployment]):
    """A deployment with its change record."""

    service = serializers.SlugField()

    class Meta:
        model = Deployment
        fields = (
            "reference",
            "service",
            "commit",
            "ticket",
            "author",
            "approver",
            "emergency",
            "tests_passed",
            "result",
            "committed_at",
            "started_at",
            "finished_at",
        )

    def to_representation(self, instance: Deployment) -> dict[str, Any]:
        return {name: getattr(instance, name) for name in self.Meta.fields} | {"service": instance.service.slug}


class DeploymentBody(BaseModel):
    """What a pipeline posts."""

    model_config = ConfigDict(extra="forbid")
    reference: str = Field(min_length=1, max_length=120)
    service: str
    author: str = Field(min_length=1, max_length=120)
    started_at: datetime
    finished_at: datetime | None = None
    committed_at: datetime | None = None
    commit: str = Field(default="", max_length=64)
    ticket: str = Field(default="", max_length=120)
    approver: str = Field(default="", max_length=120)
    emergency: bool = False
    tests_passed: bool | None = None
    result: str = Field(default="succeeded", max_length=40)


class ServiceViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Service]):
    """The services that the caller may see."""

    queryset = Service.objects.none()
    serializer_class = ServiceSerializer
    lookup_field = "slug"

    def get_queryset(self) -> Any:
        return services_visible(viewer=principal_of(self.request))


class DeploymentViewSet(mixins.ListModelMixin, viewsets.GenericViewSet[Deployment]):
    """Deployments: list them, record one. The same reference again answers with the one there is."""

    queryset = Deployment.objects.none()
    serializer_class = DeploymentSerializer

    def get_queryset(self) -> Any:
        return deployments_visible(viewer=principal_of(self.request))

    @extend_schema(request=DeploymentSerializer, responses={201: DeploymentSerializer})
    def create(self, request: Request) -> Response:
        """Record a deployment."""
        body = parse_document(DeploymentBody, request.data, source="body")
        for name in ("committed_at", "started_at", "finished_at"):
            moment: datetime | None = getattr(body, name)
            if moment is not None and moment.tzinfo is None:
                raise refuse(f"body {name}", found=moment.isoformat(), allowed="an instant with its zone is allowed")
        principal = principal_of(request)
        service = services_visible(viewer=principal).filter(slug=body.service).first()
        if service is None:
            raise refuse("body service", found=body.service, allowed="the slug of a service that you may see")
        values = {**body.model_dump(), "service": service}
        made = record_deployment(principal=principal, **values)
        return Response(DeploymentSerializer(made).data, status=status.HTTP_201_CREATED)
