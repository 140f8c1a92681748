"""REST: read the ledger."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404
from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.parsing import refuse
from ledger.data import EvidenceType
from ledger.data.packs import VIEW, Reader
from ledger.models import Checkpoint, LedgerEntry
from ledger.selectors import checkpoints, entries, latest_checkpoint
from ledger.services import NotInLogError, log_origin, prove_inclusion, public_verifier_key


def ensure_may_view(request: Request) -> None:
    """Raise PermissionDenied unless the caller may see the ledger; authentication has attached the principal."""
    reader: Reader = request._request.principal  # type: ignore[attr-defined]  # noqa: SLF001 DRF's only way
    if not reader.may(VIEW):
        raise PermissionDenied("You may not see the ledger; compliance managers and administrators may.")


class EntrySerializer(serializers.ModelSerializer[LedgerEntry]):
    """An entry; `seq` is null until it is sealed, `payload` once it is erased; `payload_gone` says by what."""

    seq = serializers.IntegerField(allow_null=True, read_only=True)
    payload = serializers.JSONField(allow_null=True, read_only=True)
    payload_gone = serializers.CharField(source="content_gone", read_only=True)

    class Meta:
        model = LedgerEntry
        fields = (
            "id",
            "seq",
            "entry_type",
            "version",
            "evidence_type",
            "actor",
            "subject",
            "recorded_at",
            "occurred_at",
            "period_start",
            "period_end",
            "payload_sha256",
            "artifacts",
            "payload",
            "payload_gone",
        )


class EntryFilters(serializers.Serializer[Any]):
    """What a list of entries may be narrowed by."""

    entry_type = serializers.ListField(child=serializers.CharField(), required=False)
    evidence_type = serializers.ListField(
        child=serializers.ChoiceField([kind.value for kind in EvidenceType]), required=False
    )
    subject = serializers.ListField(child=serializers.CharField(), required=False)
    since = serializers.DateTimeField(required=False)
    until = serializers.DateTimeField(required=False)


class EntryViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[LedgerEntry]):
    """Entries of the ledger, newest first."""

    queryset = LedgerEntry.objects.none()
    serializer_class = EntrySerializer

    def get_queryset(self) -> Any:
        ensure_may_view(self.request)
        asked = EntryFilters(data=self.request.query_params)
        asked.is_valid(raise_exception=True)
        given = asked.validated_data
        return entries(
            types=given.get("entry_type", ()),
            evidence_types=[EvidenceType(kind) for kind in given.get("evidence_type", ())],
            subjects=given.get("subject", ()),
            since=given.get("since"),
            until=given.get("until"),
        )

    @extend_schema(parameters=[EntryFilters])
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Return entries, newest first."""
        return super().list(request, *args, **kwargs)

    @extend_schema(
        parameters=[OpenApiParameter("size", int, description="The log to prove it in; the newest checkpoint's.")],
        responses=inline_serializer(
            "InclusionProof",
            {
                "seq": serializers.IntegerField(),
                "size": serializers.IntegerField(),
                "leaf_hash": serializers.CharField(),
                "path": serializers.ListField(child=serializers.CharField()),
                "checkpoint": serializers.CharField(),
            },
        ),
    )
    @action(detail=True)
    def proof(self, request: Request, pk: str) -> Response:  # noqa: ARG002 the route's name for it
        """Return the proof that the entry is in the log; hashes are hexadecimal, the checkpoint is a signed note."""
        entry = self.get_object()
        checkpoint = latest_checkpoint()
        wanted = request.query_params.get("size", str(checkpoint.size) if checkpoint else "")
        if not wanted.isdecimal() or len(wanted) > 18:
            raise refuse("size", found=wanted or "no checkpoint yet", allowed="a whole number of entries")
        try:
            path = prove_inclusion(-1 if entry.seq is None else entry.seq, size=int(wanted))
        except NotInLogError as error:
            raise Http404(str(error)) from None
        note = checkpoint.note if checkpoint and checkpoint.size == int(wanted) else ""
        return Response(
            {
                "seq": entry.seq,
                "size": int(wanted),
                "leaf_hash": bytes(entry.seal.leaf_hash).hex(),
                "path": [value.hex() for value in path],
                "checkpoint": note,
            }
        )


class CheckpointSerializer(serializers.ModelSerializer[Checkpoint]):
    """A signed checkpoint."""

    root_hash = serializers.SerializerMethodField()

    class Meta:
        model = Checkpoint
        fields = ("id", "size", "root_hash", "note", "created_at")

    def get_root_hash(self, checkpoint: Checkpoint) -> str:
        """Return the root in hexadecimal."""
        return bytes(checkpoint.root).hex()


class CheckpointViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Checkpoint]):
    """Signed checkpoints, newest first."""

    queryset = Checkpoint.objects.none()
    serializer_class = CheckpointSerializer

    def get_queryset(self) -> Any:
        ensure_may_view(self.request)
        return checkpoints()


class KeyView(APIView):
    """The key that checkpoints are signed with."""

    @extend_schema(
        responses=inline_serializer("LogKey", {"log": serializers.CharField(), "key": serializers.CharField()})
    )
    def get(self, request: Request) -> Response:
        """Return the log's name and public key."""
        ensure_may_view(request)
        return Response({"log": log_origin(), "key": public_verifier_key()})
