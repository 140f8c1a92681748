"""REST: the delivery log, webhook endpoints, a person's notifications."""

from typing import Any

from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from delivery.data import Actor
from delivery.models import Delivery, DeliveryAttempt, Endpoint, Notification
from delivery.selectors import attempts_of, deliveries, endpoints, notifications_for
from delivery.services import create_endpoint, mark_read, redeliver, rotate_endpoint_secret


def actor_of(request: Request) -> Actor:
    """Return who makes the request; authentication has attached the principal."""
    actor: Actor = request._request.principal  # type: ignore[attr-defined]  # noqa: SLF001 DRF's only way
    return actor


class AttemptSerializer(serializers.ModelSerializer[DeliveryAttempt]):
    """One try."""

    class Meta:
        model = DeliveryAttempt
        fields = ("number", "started_at", "finished_at", "outcome", "http_status", "error", "response_excerpt")


class DeliverySerializer(serializers.ModelSerializer[Delivery]):
    """Something that leaves the site. Its text is left out: a page holds a link that acknowledges."""

    class Meta:
        model = Delivery
        fields: tuple[str, ...] = (
            "reference",
            "idempotency_key",
            "channel",
            "address",
            "subject",
            "about",
            "state",
            "tries",
            "created_at",
            "due_at",
            "sent_at",
            "dead_at",
            "last_error",
        )


class DeliveryDetailSerializer(DeliverySerializer):
    """A delivery with its tries."""

    attempts = serializers.SerializerMethodField()

    class Meta(DeliverySerializer.Meta):
        fields = (*DeliverySerializer.Meta.fields, "attempts")

    @extend_schema(responses=AttemptSerializer(many=True))
    def get_attempts(self, delivery: Delivery) -> list[dict[str, Any]]:
        """Return the tries, first to last."""
        return list(AttemptSerializer(attempts_of(delivery=delivery), many=True).data)


class DeliveryViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Delivery]):
    """The delivery log."""

    queryset = Delivery.objects.none()
    lookup_field = "reference"
    serializer_class = DeliverySerializer

    def get_queryset(self) -> Any:
        query = self.request.query_params
        return deliveries(
            viewer=actor_of(self.request),
            state=query.get("state", ""),
            channel=query.get("channel", ""),
            about=query.get("about", ""),
        )

    def get_serializer_class(self) -> Any:
        return DeliverySerializer if self.action == "list" else DeliveryDetailSerializer

    @extend_schema(request=None, responses=DeliveryDetailSerializer)
    @action(detail=True, methods=["post"])
    def redeliver(self, request: Request, reference: str) -> Response:  # noqa: ARG002 the route's name for it
        """Send it again, with the same identity."""
        delivery = redeliver(principal=actor_of(request), delivery=self.get_object())
        return Response(DeliveryDetailSerializer(delivery).data)


class EndpointSerializer(serializers.ModelSerializer[Endpoint]):
    """A receiver of signed webhooks, without its secret."""

    class Meta:
        model = Endpoint
        fields: tuple[str, ...] = ("slug", "name", "url", "event_kinds", "allow", "state", "circuit", "failures_in_row")
        read_only_fields = ("state", "circuit", "failures_in_row")
        extra_kwargs = {"name": {"required": False}, "slug": {"validators": []}}


class EndpointWithSecretSerializer(EndpointSerializer):
    """The answer to creation and rotation: the only time that the secret is shown."""

    class Meta(EndpointSerializer.Meta):
        fields = (*EndpointSerializer.Meta.fields, "secret")


class EndpointViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Endpoint]):
    """Receivers of signed webhooks."""

    queryset = Endpoint.objects.none()
    lookup_field = "slug"
    serializer_class = EndpointSerializer

    def get_queryset(self) -> Any:
        return endpoints(viewer=actor_of(self.request))

    @extend_schema(responses={201: EndpointWithSecretSerializer})
    def create(self, request: Request) -> Response:
        """Add a receiver; the answer holds its secret, this once."""
        body = EndpointSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        endpoint = create_endpoint(principal=actor_of(request), **body.validated_data)
        return Response(EndpointWithSecretSerializer(endpoint).data, status=201)

    @extend_schema(request=None, responses=EndpointWithSecretSerializer)
    @action(detail=True, methods=["post"])
    def rotate(self, request: Request, slug: str) -> Response:  # noqa: ARG002 the route's name for it
        """Give it a new secret; both sign for a day."""
        endpoint = rotate_endpoint_secret(principal=actor_of(request), endpoint=self.get_object())
        return Response(EndpointWithSecretSerializer(endpoint).data)


class NotificationSerializer(serializers.ModelSerializer[Notification]):
    """A message to the caller."""

    class Meta:
        model = Notification
        fields = ("id", "title", "text", "link", "created_at", "read_at")


class NotificationViewSet(mixins.ListModelMixin, viewsets.GenericViewSet[Notification]):
    """What the site has to say to the caller."""

    queryset = Notification.objects.none()
    serializer_class = NotificationSerializer

    def get_queryset(self) -> Any:
        return notifications_for(recipient=self._recipient())

    @extend_schema(request=None, responses={204: None})
    @action(detail=True, methods=["post"])
    def read(self, request: Request, pk: str) -> Response:  # noqa: ARG002 DRF's signature
        """Mark one as read."""
        if not pk.isdecimal() or not self.get_queryset().filter(pk=int(pk)).exists():
            raise Http404
        mark_read(recipient=self._recipient(), notification_id=int(pk))
        return Response(status=204)

    def _recipient(self) -> str:
        return f"user:{actor_of(self.request).user_id}"
