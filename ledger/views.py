"""Pages of the ledger: entries, checkpoints, verification, packs."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
from django.contrib.auth.mixins import LoginRequiredMixin
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views import View

from core.lists import Action, Column, Empty, Filter, RecordListView
from core.naming import names_of
from ledger.data import EVIDENCE_NAMES
from ledger.data.packs import EXPORT, Reader
from ledger.forms import PackForm
from ledger.models import Artifact, Checkpoint, LedgerEntry
from ledger.navigation import may_view
from ledger.selectors import (
    anchors,
    artifacts_of,
    checkpoints,
    entries,
    entry_types,
    latest_checkpoint,
    latest_verification,
    log_size,
    pending_count,
    rotations,
)
from ledger.services import (
    VERIFIER,
    ExportRefusedError,
    NothingSealedError,
    PackTooLargeError,
    compare_checkpoint,
    explain_proof,
    log_origin,
    public_verifier_key,
    read_artifact,
    request_verification,
    scratch_folder,
    write_pack,
)


def reader_of(request: HttpRequest) -> Reader:
    """Return who makes the request."""
    reader: Reader = request.principal  # type: ignore[attr-defined]
    return reader


class LedgerView(LoginRequiredMixin, View):
    """A page that needs the right to see the ledger."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.user.is_authenticated and not may_view(reader_of(request)):
            raise PermissionDenied("Your roles do not open the ledger; compliance managers and administrators see it.")
        return super().dispatch(request, *args, **kwargs)


def _place(entry: LedgerEntry) -> str:
    return "waits" if entry.seq is None else str(entry.seq)


class EntryListView(RecordListView):
    """What was recorded, newest first."""

    title = "Ledger"
    intro = "What happened, recorded at the moment that it happened. Nothing here is ever changed or deleted."
    noun = "entries"
    columns = (
        Column("seq", "No.", _place, kind="code", order_by=("seal__seq",)),
        Column(
            "occurred",
            "Occurred",
            lambda e: e.occurred_at,
            kind="time",
            order_by=("occurred_at",),
        ),
        Column(
            "type",
            "What",
            lambda e: e.entry_type,
            kind="strong",
            order_by=("entry_type",),
            href=lambda e: e.get_absolute_url(),
        ),
        Column("evidence", "Evidence", lambda e: e.evidence_type, order_by=("evidence_type",)),
        Column("subject", "About", lambda e: e.subject, order_by=("subject",)),
        Column("actor", "By", lambda e: getattr(e, "actor_name", e.actor), order_by=("actor",), wide_only=True),
        Column("reference", "By, as recorded", lambda e: e.actor, kind="code", order_by=("actor",), shown=False),
        Column("recorded", "Recorded", lambda e: e.recorded_at, kind="time", order_by=("recorded_at",), shown=False),
        Column("sha256", "Payload SHA-256", lambda e: e.payload_sha256, kind="code", shown=False),
    )
    search_fields = ("subject", "actor", "entry_type")
    counted_up_to = 10_000
    empty = Empty(
        "Nothing was recorded yet. Each change of rights, incident, run and approval writes an entry by itself.",
        command=".venv/bin/python manage.py ledger list",
    )

    def may_view(self, principal: Any) -> bool:
        return may_view(principal)

    def get_records(self) -> QuerySet[LedgerEntry]:
        return entries()

    def search(self, records: QuerySet[LedgerEntry], text: str) -> QuerySet[LedgerEntry]:
        """Keep the entries about what has a word in its name, by who is so named, or of a type with it in its name."""
        for word in text.split():
            types = [name for name in entry_types() if word.lower() in name]
            records = records.filter(Q(subject__icontains=word) | Q(actor=word) | Q(entry_type__in=types))
        return records

    def get_filters(self) -> Sequence[Filter]:
        kinds = [(kind.value, f"{kind.value}: {name}") for kind, name in EVIDENCE_NAMES.items()]
        types = [(name, name) for name in entry_types()]
        return (Filter("evidence_type", "Evidence", kinds), Filter("entry_type", "Type", types))

    def shown_as(self, records: Sequence[LedgerEntry]) -> Sequence[LedgerEntry]:
        names = names_of(entry.actor for entry in records)
        for entry in records:
            vars(entry)["actor_name"] = names[entry.actor]
        return records

    def get_actions(self) -> Sequence[Action]:
        actions = [
            Action("Verify", reverse("ledger:verify"), icon="shield-check"),
            Action("Checkpoints", reverse("ledger:checkpoint_list"), icon="certificate", primary=False),
        ]
        if reader_of(self.request).may(EXPORT):
            actions.append(Action("Export a pack", reverse("ledger:export"), icon="file-export", primary=False))
        return actions


class EntryDetailView(LedgerView):
    """One entry: what it says, and what proves it."""

    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        entry = get_object_or_404(entries(), pk=pk)
        payload = entry.payload
        context = {
            "title": entry.entry_type,
            "entry": entry,
            "evidence_name": EVIDENCE_NAMES.get(entry.evidence_type, ""),  # type: ignore[call-overload]
            "fields": _shown(payload or {}),
            "raw": orjson.dumps(payload, option=orjson.OPT_INDENT_2).decode() if payload is not None else "",
            "artifacts": artifacts_of(entry),
            "proof": explain_proof(entry),
            "command": f".venv/bin/python manage.py ledger prove {entry.seq}",
        }
        return render(request, "ledger/entry_detail.html", context)


def _shown(payload: dict[str, object]) -> list[tuple[str, str]]:
    """Return a payload's fields for reading: plain values as text, the rest as JSON."""
    return [
        (
            name.replace("_", " "),
            "—"
            if value is None or value in ("", [], {})
            else value
            if isinstance(value, str)
            else orjson.dumps(value).decode(),
        )
        for name, value in payload.items()
    ]


class ArtifactView(LedgerView):
    """Download a file that entries refer to; never shown in the page, whatever it says it is."""

    def get(self, request: HttpRequest, sha256: str) -> HttpResponse:  # noqa: ARG002 Django's signature
        artifact = get_object_or_404(Artifact, sha256=sha256)
        content = read_artifact(sha256)
        if content is None:
            raise Http404("The file is gone from the artifact store.")
        return HttpResponse(
            content,
            content_type="application/octet-stream",
            headers={"Content-Disposition": f'attachment; filename="{artifact.sha256[:16]}"'},
        )


class CheckpointListView(RecordListView):
    """Signed statements of the log's size and root."""

    title = "Checkpoints"
    intro = "Each is a signed statement of how long the log was and what it held. Keep some of them elsewhere."
    noun = "checkpoints"
    columns = (
        Column(
            "size",
            "Entries",
            lambda c: c.size,
            kind="number",
            order_by=("size",),
            href=lambda c: reverse("ledger:checkpoint_note", args=[c.pk]),
        ),
        Column("root", "Root", lambda c: bytes(c.root).hex(), kind="code"),
        Column("created", "Signed", lambda c: c.created_at, kind="time", order_by=("created_at",)),
    )
    default_sort = "-created"
    empty = Empty(
        "No checkpoint was signed yet; one is made every hour and with each pack.",
        command=".venv/bin/python manage.py ledger checkpoint",
    )

    def may_view(self, principal: Any) -> bool:
        return may_view(principal)

    def get_records(self) -> QuerySet[Checkpoint]:
        return checkpoints()


class CheckpointNoteView(LedgerView):
    """A checkpoint as the text file to keep."""

    def get(self, request: HttpRequest, pk: int) -> HttpResponse:  # noqa: ARG002 Django's signature
        checkpoint = get_object_or_404(Checkpoint, pk=pk)
        return HttpResponse(
            checkpoint.note,
            content_type="text/plain; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="checkpoint-{checkpoint.size}.note"'},
        )


class VerifyView(LedgerView):
    """Whether anything was changed, in words; a button that looks again; how to look without this site."""

    def get(self, request: HttpRequest) -> HttpResponse:
        if request.headers.get("HX-Request"):
            return render(request, "ledger/verification_result.html", {"run": latest_verification()})
        return render(request, "ledger/verify.html", self._context())

    @staticmethod
    def _context() -> dict[str, Any]:
        return {
            "title": "Verify the ledger",
            "run": latest_verification(),
            "anchors": anchors(),
            "rotations": rotations(),
            "size": log_size(),
            "pending": pending_count(),
            "checkpoint": latest_checkpoint(),
            "origin": log_origin(),
            "key": public_verifier_key(),
        }

    def post(self, request: HttpRequest) -> HttpResponse:
        note = request.POST.get("note", "")[:20_000]
        if not note:
            request_verification(principal=reader_of(request))
            return redirect("ledger:verify")
        context = self._context() | {"note": note, "witnessed": compare_checkpoint(note)}
        return render(request, "ledger/verify.html", context)


class VerifierView(LoginRequiredMixin, View):
    """The verifier, apart from any pack: a pack cannot vouch for itself. Everybody who signs in may have it."""

    def get(self, request: HttpRequest) -> FileResponse:  # noqa: ARG002 Django's signature
        return FileResponse(VERIFIER.open("rb"), as_attachment=True, filename="verify.py", content_type="text/x-python")


class ExportView(LedgerView):
    """Ask for an evidence pack and get it."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.user.is_authenticated and not reader_of(request).may(EXPORT):
            raise PermissionDenied("Your roles do not export from the ledger; compliance managers may.")
        return super().dispatch(request, *args, **kwargs)

    def get(self, request: HttpRequest) -> HttpResponse:
        return self._page(request, PackForm())

    def post(self, request: HttpRequest) -> HttpResponseBase:
        form = PackForm(request.POST)
        if form.is_valid():
            with tempfile.TemporaryDirectory(prefix="assay-pack-", dir=scratch_folder()) as folder:
                target = Path(folder) / "pack.zip"
                try:
                    pack = write_pack(
                        target,
                        principal=reader_of(request),
                        title=form.cleaned_data["title"],
                        selection=form.selection(),
                        region=form.cleaned_data["region"],
                        region_reason=form.cleaned_data["region_reason"],
                    )
                except (ExportRefusedError, NothingSealedError, PackTooLargeError) as error:
                    form.add_error(None, str(error))
                else:
                    # The open file outlives its name: the folder is gone before the answer has been sent.
                    return FileResponse(target.open("rb"), as_attachment=True, filename=pack.name)
        return self._page(request, form)

    def _page(self, request: HttpRequest, form: PackForm) -> HttpResponse:
        context = {"title": "Export an evidence pack", "form": form, "key": public_verifier_key()}
        return render(request, "ledger/export.html", context, status=400 if form.errors else 200)
