"""Pages about who outside is told the log."""

from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views import View

from core.lists import Action, Column, Empty, RecordListView
from ledger.data.packs import KEEP, Reader
from ledger.forms import ForwarderForm, PlaceForm, RewindForm
from ledger.models import Forwarder
from ledger.selectors import forwarders, log_size, sealed_at
from ledger.services import (
    ForwarderRefusedError,
    ForwarderSetup,
    add_forwarder,
    must_stay_in,
    pause_forwarder,
    place_forwarder,
    remove_forwarder,
    resume_forwarder,
    rewind_forwarder,
)


def reader_of(request: HttpRequest) -> Reader:
    """Return who makes the request."""
    reader: Reader = request.principal  # type: ignore[attr-defined]
    return reader


class ForwarderListView(RecordListView):
    """Who outside is told every entry."""

    title = "Forwarding"
    intro = "Places outside, as a SIEM, that are told every entry of the ledger: in order, at least once."
    noun = "destinations"
    columns = (
        Column(
            "name",
            "Name",
            lambda f: f.name,
            kind="strong",
            order_by=("name",),
            href=lambda f: reverse("ledger:forwarder_detail", args=[f.name]),
        ),
        Column("state", "State", lambda f: f.status, kind="state"),
        Column("kind", "Kind", lambda f: f.get_kind_display(), order_by=("kind",)),
        Column("address", "To", lambda f: f.address, kind="code"),
        Column("next", "Next entry", lambda f: f.next_seq, kind="number", order_by=("next_seq",)),
        Column("told", "Last told", lambda f: f.last_told_at, kind="time", order_by=("last_told_at",)),
        Column("error", "Last error", lambda f: f.last_error, wide_only=True),
    )
    search_fields = ("name", "address")
    default_sort = "name"
    empty = Empty(
        "Nobody outside is told. A SIEM that has every entry shows what was changed here afterwards.",
        command=".venv/bin/python manage.py forwarder add siem --kind syslog --to tls://siem.example.org:6514",
    )

    def may_view(self, principal: Any) -> bool:
        return bool(principal.may(KEEP))

    def get_records(self) -> QuerySet[Forwarder]:
        return forwarders()

    def get_actions(self) -> list[Action]:
        return [Action("Add a destination", reverse("ledger:forwarder_create"))]


class KeeperView(LoginRequiredMixin, View):
    """A page for administrators."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.user.is_authenticated and not reader_of(request).may(KEEP):
            raise PermissionDenied("Administrators of the site set up where the ledger is told.")
        return super().dispatch(request, *args, **kwargs)


class ForwarderCreateView(KeeperView):
    """Adds a destination."""

    def get(self, request: HttpRequest) -> HttpResponse:
        return self._page(request, ForwarderForm())

    def post(self, request: HttpRequest) -> HttpResponse:
        form = ForwarderForm(request.POST)
        if form.is_valid():
            given = form.cleaned_data
            setup = ForwarderSetup(
                name=given["name"],
                kind=given["kind"],
                address=given["address"],
                secret=given["secret"].strip(),
                trust=given["trust"].strip(),
                allow=tuple(given["allow"].split()),
                confirmation=given["confirmation"],
                alarm_after=timedelta(minutes=given["alarm_minutes"]),
                start=None if given["from_now"] else 0,
                region=given["region"],
                region_reason=given["region_reason"],
            )
            try:
                row, made = add_forwarder(principal=reader_of(request), setup=setup)
            except ForwarderRefusedError as error:
                form.add_error(None, f"{error}.")
            else:
                return _detail(request, row, secret=made)
        return self._page(request, form)

    def _page(self, request: HttpRequest, form: ForwarderForm) -> HttpResponse:
        context = {"title": "Add a destination", "form": form, "cancel_url": reverse("ledger:forwarder_list")}
        return render(request, "ledger/forwarder_create.html", context, status=400 if form.errors else 200)


class ForwarderDetailView(KeeperView):
    """One destination: how far it is, what it answered; pause, resume, tell again, remove."""

    def get(self, request: HttpRequest, name: str) -> HttpResponse:
        return _detail(request, _named(name))

    def post(self, request: HttpRequest, name: str) -> HttpResponse:
        row, reader = _named(name), reader_of(request)
        step = request.POST.get("step", "")
        if step == "remove":
            remove_forwarder(principal=reader, row=row)
            messages.success(request, f"{name} is removed.")
            return redirect("ledger:forwarder_list")
        if step == "pause":
            pause_forwarder(principal=reader, row=row)
        elif step == "resume":
            resume_forwarder(principal=reader, row=row)
        elif step == "place":
            place = PlaceForm(request.POST)
            try:
                if place.is_valid():
                    place_forwarder(principal=reader, row=row, **place.cleaned_data)
            except ForwarderRefusedError as error:
                place.add_error(None, f"{error}.")
            if place.errors:
                return _detail(request, row, place=place)
        else:
            form = RewindForm(request.POST)
            if not form.is_valid():
                return _detail(request, row, form=form)
            try:
                rewind_forwarder(principal=reader, row=row, **form.cleaned_data)
            except ForwarderRefusedError as error:
                form.add_error(None, f"{error}.")
                return _detail(request, row, form=form)
        return redirect("ledger:forwarder_detail", name=name)


def _named(name: str) -> Forwarder:
    row = forwarders().filter(name=name).first()
    if row is None:
        raise Http404("There is no such destination.")
    return row


def _detail(
    request: HttpRequest,
    row: Forwarder,
    *,
    secret: str = "",
    form: RewindForm | None = None,
    place: PlaceForm | None = None,
) -> HttpResponse:
    oldest = sealed_at(row.next_seq)
    context = {
        "title": row.name,
        "row": row,
        "secret": secret,
        "form": form or RewindForm(),
        "place": place or PlaceForm(initial={"region": row.region, "reason": row.region_reason}),
        "stays_in": must_stay_in(),
        "waiting": max(log_size() - row.next_seq, 0),
        "behind": timezone.now() - oldest if oldest else None,
    }
    return render(request, "ledger/forwarder_detail.html", context, status=400 if form or place else 200)
