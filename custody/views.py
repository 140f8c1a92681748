"""How long data is kept, what is held, what is stored about whom."""

from collections.abc import Sequence
from typing import Any

import orjson
from django.contrib import messages
from django.contrib.auth import get_user_model
from django.contrib.auth.mixins import LoginRequiredMixin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views import View

from accounts.data import Capability
from accounts.selectors import is_same_person
from accounts.services import ensure_may, principal_of
from core.clock import database_now
from core.formatting import MISSING
from core.lifecycle import part_standings
from core.lists import Action, Column, Empty, Filter, RecordListView
from core.parsing import InputRefusedError
from custody.forms import ErasureForm, HoldForm, OwnExportForm, ReasonForm, RetentionForm
from custody.models import Erasure, LegalHold
from custody.navigation import may_view
from custody.selectors import COUNT_UP_TO, Standing, erasures, holds, standings, stored_about
from custody.services import (
    decide_hold,
    decide_release,
    export_about,
    request_erasure,
    request_hold,
    request_release,
    set_retention,
)
from ledger.services import ExportRefusedError


def kept_for(one: Standing) -> str:
    """Return how long in words."""
    return "for ever" if one.keep is None else f"{one.keep.days} day{'' if one.keep.days == 1 else 's'}"


def counted(count: int) -> str:
    """Return a count that may have stopped early."""
    return f"{COUNT_UP_TO} or more" if count >= COUNT_UP_TO else str(count)


class KeeperView(LoginRequiredMixin, View):
    """A page for those who deal with the life of data."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.user.is_authenticated and not may_view(principal_of(request)):
            raise PermissionDenied("Compliance managers and administrators look after the life of data.")
        return super().dispatch(request, *args, **kwargs)


class ClassListView(RecordListView):
    """Every class of data with its rule, and what would go now."""

    title = "Data"
    intro = "What is kept, for how long, and what would go now. Removal runs every hour and is recorded in the ledger."
    noun = "classes of data"
    columns = (
        Column(
            "name",
            "Data",
            lambda s: s.data_class.name,
            kind="strong",
            sort_key=lambda s: s.data_class.name,
            href=lambda s: reverse("custody:class_detail", args=[s.data_class.key]),
        ),
        Column("state", "State", lambda s: s.state, kind="state"),
        Column("kept", "Kept for", kept_for, sort_key=lambda s: s.keep),
        Column("go", "Would go now", lambda s: counted(s.would_go), sort_key=lambda s: s.would_go),
        Column("held", "Held back", lambda s: counted(s.held_back), sort_key=lambda s: s.held_back),
        Column("all", "Gone so far", lambda s: s.rule.removed_in_all if s.rule else 0, kind="number"),
        Column("looked", "Last looked", lambda s: s.rule.looked_at if s.rule else None, kind="time"),
        Column("says", "What it is", lambda s: s.data_class.says, wide_only=True),
    )
    default_sort = "name"

    def may_view(self, principal: Any) -> bool:
        return may_view(principal)

    def get_records(self) -> Sequence[Standing]:
        return standings(now=database_now())

    def get_actions(self) -> Sequence[Action]:
        holds = Action("Legal holds", reverse("custody:hold_list"), icon="lock", primary=False)
        erased = Action("Erasures", reverse("custody:erasure_list"), icon="trash", primary=False)
        return (holds, erased) if principal_of(self.request).may(Capability.SITE_ADMIN) else (holds,)


class ClassDetailView(KeeperView):
    """One class of data; administrators change how long it is kept."""

    def get(self, request: HttpRequest, key: str) -> HttpResponse:
        return self._page(request, self._standing(key))

    def post(self, request: HttpRequest, key: str) -> HttpResponse:
        one, form = self._standing(key), RetentionForm(request.POST)
        ensure_may(principal_of(request), Capability.SITE_ADMIN)
        if form.is_valid():
            try:
                set_retention(principal=principal_of(request), key=key, **form.cleaned_data)
            except InputRefusedError as error:
                form.add_error("keep_days", f"Allowed: {error.problems[0].allowed}.")
            else:
                messages.success(request, "The rule holds from the next hourly run on.")
                return redirect("custody:class_detail", key=key)
        return self._page(request, one, form)

    @staticmethod
    def _standing(key: str) -> Standing:
        found = next((one for one in standings(now=database_now()) if one.data_class.key == key), None)
        if found is None:
            raise Http404("There is no such class of data.")
        return found

    @staticmethod
    def _page(request: HttpRequest, one: Standing, form: RetentionForm | None = None) -> HttpResponse:
        rule, ceiling = one.rule, one.data_class.ceiling
        may_change = principal_of(request).may(Capability.SITE_ADMIN)
        initial = {"keep_days": one.keep.days if one.keep else None}
        context = {
            "title": one.data_class.name,
            "intro": one.data_class.says,
            "one": one,
            "parts": part_standings(one.data_class.table) if one.data_class.table else [],
            "form": form or (RetentionForm(initial=initial) if may_change else None),
            "facts": [
                ("Kept for", kept_for(one)),
                ("Set", f"by rule: {rule.reason}" if rule and rule.changed else "default"),
                ("At most", f"{ceiling.days} days: it is about people" if ceiling else "for ever"),
                ("At least", f"{one.data_class.floor.days} days{', as evidence' if one.data_class.evidence else ''}"),
                ("Would go now", counted(one.would_go)),
                ("Held back", "all of it" if one.kept_whole else counted(one.held_back)),
                ("Gone so far", str(rule.removed_in_all) if rule else "0"),
                ("Last failure", rule.error if rule and rule.error else MISSING),
            ],
        }
        return render(request, "custody/class_detail.html", context, status=400 if form else 200)


class HoldListView(RecordListView):
    """Legal holds, newest first."""

    title = "Legal holds"
    intro = "What must not go, whatever the rules say. A hold begins when it is asked for; another person confirms it."
    noun = "holds"
    columns = (
        Column("reference", "Hold", lambda h: h.reference, kind="strong", href=lambda h: h.get_absolute_url()),
        Column("status", "State", lambda h: h.status, kind="state", order_by=("status",)),
        Column("kind", "Holds", lambda h: h.get_kind_display(), order_by=("kind",)),
        Column("target", "Which", lambda h: h.target, kind="code", order_by=("target",)),
        Column("requested", "Asked for", lambda h: h.requested_at, kind="time", order_by=("requested_at",)),
        Column("reason", "Reason", lambda h: h.reason, wide_only=True),
    )
    filters = (Filter("status", "State", LegalHold.Status.choices),)
    search_fields = ("target", "reason")
    default_sort = "-requested"
    empty = Empty("Nothing is held.", command=".venv/bin/python manage.py custody hold service gateway --reason …")

    def may_view(self, principal: Any) -> bool:
        return may_view(principal)

    def get_records(self) -> QuerySet[LegalHold]:
        return holds()

    def get_actions(self) -> Sequence[Action]:
        return (Action("Hold data", reverse("custody:hold_create"), icon="lock"),)


class HoldCreateView(KeeperView):
    """Asks for a hold."""

    def get(self, request: HttpRequest) -> HttpResponse:
        return self._page(request, HoldForm())

    def post(self, request: HttpRequest) -> HttpResponse:
        form = HoldForm(request.POST)
        if form.is_valid():
            try:
                hold = request_hold(principal=principal_of(request), **form.cleaned_data)
            except InputRefusedError as error:
                problem = error.problems[0]
                form.add_error("target", f"{problem.found} is not known. Allowed: {problem.allowed}.")
            else:
                messages.success(request, f"{hold.reference} holds from now on. Another person confirms it.")
                return redirect(hold)
        return self._page(request, form)

    @staticmethod
    def _page(request: HttpRequest, form: HoldForm) -> HttpResponse:
        context = {"title": "Hold data", "form": form, "cancel_url": reverse("custody:hold_list")}
        return render(request, "custody/hold_create.html", context, status=400 if form.errors else 200)


class HoldDetailView(KeeperView):
    """One hold: confirm, reject, ask for its release, agree to it."""

    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        hold = get_object_or_404(LegalHold, pk=pk)
        asked_by = hold.requested_by if hold.status == "requested" else hold.release_requested_by
        context = {
            "title": hold.reference,
            "hold": hold,
            "form": ReasonForm(),
            "asked_by_me": is_same_person(principal_of(request), reference=asked_by),
        }
        return render(request, "custody/hold_detail.html", context)

    def post(self, request: HttpRequest, pk: int) -> HttpResponse:
        hold, principal = get_object_or_404(LegalHold, pk=pk), principal_of(request)
        step = request.POST.get("step", "")
        try:
            if step in {"approve", "reject"}:
                decide_hold(principal=principal, hold=hold, approve=step == "approve")
            elif step in {"release", "go-on"}:
                decide_release(principal=principal, hold=hold, approve=step == "release")
            else:
                request_release(principal=principal, hold=hold, reason=request.POST.get("reason", ""))
        except InputRefusedError as error:
            messages.error(request, f"Nothing was changed: {error.problems[0].allowed}.")
        return redirect(hold)


def _kept_words(erasure: Erasure) -> str:
    return " ".join(f"{part['name']} ({part['kept']}): {part['because']}" for part in erasure.outcome if part["kept"])


class ErasureListView(RecordListView):
    """Whose data was erased."""

    title = "Erasures"
    intro = "People whose data was erased. What evidence must be kept is erased when it is thirteen months old."
    noun = "erasures"
    columns = (
        Column("person", "Person", lambda e: str(e.user), kind="strong"),
        Column("state", "State", lambda e: e.status, kind="state"),
        Column("requested", "Asked for", lambda e: e.requested_at, kind="time", order_by=("requested_at",)),
        Column("erased", "Payloads erased", lambda e: e.payloads_erased, kind="number", order_by=("payloads_erased",)),
        Column("kept", "Payloads kept", lambda e: e.payloads_kept, kind="number", order_by=("payloads_kept",)),
        Column("next", "Goes on", lambda e: None if e.finished_at else e.due_at, kind="time"),
        Column("parts", "Kept, and why", _kept_words, wide_only=True),
        Column("reason", "Reason", lambda e: e.reason, wide_only=True),
    )
    search_fields = ("reason", "user__username")
    default_sort = "-requested"
    empty = Empty("Nobody was erased.", command=".venv/bin/python manage.py custody erase USERNAME --reason …")

    def may_view(self, principal: Any) -> bool:
        return bool(principal.may(Capability.SITE_ADMIN))

    def get_records(self) -> QuerySet[Erasure]:
        return erasures()


class PersonDataView(LoginRequiredMixin, View):
    """What is stored about a person; POST exports it, or erases it."""

    own = False

    def get(self, request: HttpRequest, username: str) -> HttpResponse:
        return self._page(request, self._person(request, username))

    def post(self, request: HttpRequest, username: str) -> HttpResponse:
        person = self._person(request, username)
        if request.POST.get("step") == "erase":
            return self._erase(request, person)
        form = OwnExportForm(request.POST)
        if form.is_valid():
            try:
                found = export_about(principal=principal_of(request), user=person, **form.cleaned_data)
            except ExportRefusedError as error:
                form.add_error("region", str(error))
            else:
                return HttpResponse(
                    orjson.dumps(found, option=orjson.OPT_INDENT_2, default=str),
                    content_type="application/json",
                    headers={"Content-Disposition": f'attachment; filename="about-user-{person.pk}.json"'},
                )
        return self._page(request, person, export_form=form)

    def _erase(self, request: HttpRequest, person: Any) -> HttpResponse:
        form = ErasureForm(request.POST)
        if form.is_valid():
            if form.cleaned_data["username"] != person.username:
                form.add_error("username", "This is not the user name of this person.")
            else:
                try:
                    request_erasure(
                        principal=principal_of(request), username=person.username, reason=form.cleaned_data["reason"]
                    )
                except InputRefusedError as error:
                    form.add_error(None, f"Allowed: {error.problems[0].allowed}.")
                else:
                    messages.success(request, "The erasure has begun.")
                    return redirect("custody:erasure_list")
        return self._page(request, person, erase_form=form)

    def _person(self, request: HttpRequest, username: str) -> Any:
        ensure_may(principal_of(request), Capability.SITE_ADMIN)
        return get_object_or_404(get_user_model(), username=username)

    def _page(self, request: HttpRequest, person: Any, **forms: Any) -> HttpResponse:
        principal = principal_of(request)
        may_erase = principal.may(Capability.SITE_ADMIN) and principal.user_id != person.pk
        context = {
            "title": "What is stored about you" if self.own else f"What is stored about {person}",
            "person": person,
            "own": self.own,
            "parts": stored_about(viewer=principal, user=person, in_records="records" in request.GET),
            "in_records": "records" in request.GET,
            "export_form": OwnExportForm(),
            "erase_form": ErasureForm() if may_erase else None,
            **forms,
        }
        return render(request, "custody/person_data.html", context, status=400 if forms else 200)


class OwnDataView(PersonDataView):
    """What is stored about the reader."""

    own = True

    def get(self, request: HttpRequest, username: str = "") -> HttpResponse:
        return super().get(request, username)

    def post(self, request: HttpRequest, username: str = "") -> HttpResponse:
        if request.POST.get("step") == "erase":
            raise PermissionDenied("An administrator erases people.")
        return super().post(request, username)

    def _person(self, request: HttpRequest, username: str) -> Any:  # noqa: ARG002 the reader, whatever the address
        return request.user
