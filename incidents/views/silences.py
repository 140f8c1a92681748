"""Silences and maintenance windows: what they hold back now is shown before they are saved."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone

from accounts.data import Capability
from accounts.services import principal_of
from core.clock import database_now
from core.lists import Action, Column, Empty, Filter, RecordListView
from core.parsing import InputRefusedError
from incidents.data import AlertStatus
from incidents.domain.routing import MatcherError, parse_matcher
from incidents.forms import SilenceForm
from incidents.models import Alert, Silence
from incidents.navigation import may_view
from incidents.selectors import alert_groups, alerts_visible, silence_by_reference, silences_visible
from incidents.services import add_silence, end_silence
from incidents.services.deciding import quiet_of
from incidents.views.access import RoomView


def state_of(silence: Silence) -> str:
    """Return whether a silence holds now."""
    if silence.ended_at is not None:
        return "ended"
    now = database_now()
    if quiet_of(silence).span_at(now) is not None:
        return "silenced"
    if not silence.recurrence and silence.ends_at <= now:
        return "ended"
    return "planned"


class SilenceListView(RecordListView):
    """What is silenced, by whom and why."""

    title = "Silences"
    intro = "Alerts that fit page nobody while a silence or maintenance window holds; they are kept all the same."
    noun = "silences"
    columns = (
        Column(
            "reference",
            "Reference",
            lambda s: s.reference,
            kind="strong",
            order_by=("pk",),
            href=lambda s: reverse("incidents:silence_detail", args=[s.reference]),
        ),
        Column("state", "State", state_of, kind="state"),
        Column("kind", "Kind", lambda s: s.get_kind_display()),
        Column("matchers", "Alerts that fit", lambda s: " ".join(s.matchers), kind="code"),
        Column("reason", "Why", lambda s: s.reason),
        Column("starts", "From", lambda s: s.starts_at, kind="time", order_by=("starts_at",)),
        Column("ends", "Until", lambda s: s.ends_at, kind="time", order_by=("ends_at",)),
        Column("by", "By", lambda s: s.created_by_label, wide_only=True),
    )
    filters = (Filter("kind", "Kind", Silence.Kind.choices),)
    search_fields = ("reason", "created_by_label")
    default_sort = "-reference"
    empty = Empty("Nothing has been silenced.")

    def may_view(self, principal: Any) -> bool:
        return may_view(principal)

    def get_records(self) -> QuerySet[Silence]:
        return silences_visible(viewer=principal_of(self.request))

    def get_actions(self) -> Sequence[Action]:
        if principal_of(self.request).may_somewhere(Capability.INCIDENT_RESPOND):
            return (Action("Silence alerts", reverse("incidents:silence_add"), icon="bell-off"),)
        return ()


class SilenceAddView(RoomView):
    """Add a silence; the firing alerts that it would hold are shown first."""

    def get(self, request: HttpRequest) -> HttpResponse:
        now = timezone.localtime(database_now())
        text = "\n".join(request.GET.getlist("match"))
        initial = {
            "matchers": text,
            "starts_at": now,
            "ends_at": now + timedelta(hours=2),
            "kind": Silence.Kind.SILENCE,
        }
        return self._page(SilenceForm(initial=initial), text)

    def post(self, request: HttpRequest) -> HttpResponse:
        form = SilenceForm(request.POST)
        text = request.POST.get("matchers", "")
        if "preview" in request.POST or not form.is_valid():
            return self._page(form, text)
        data = form.cleaned_data
        try:
            silence = add_silence(
                principal=self.principal,
                matchers=[line.strip() for line in text.splitlines() if line.strip()],
                starts_at=data["starts_at"],
                ends_at=data["ends_at"],
                reason=data["reason"],
                kind=data["kind"],
                recurrence=data["recurrence"],
                time_zone=timezone.get_current_timezone_name(),
                team_id=data["team"].pk if data["team"] else None,
            )
        except InputRefusedError as error:
            form.add_error(None, str(error))
            return self._page(form, text)
        messages.success(request, f"{silence.reference} holds until {data['ends_at']:%Y-%m-%d %H:%M}.")
        return redirect("incidents:silence_detail", silence.reference)

    def _page(self, form: SilenceForm, text: str) -> HttpResponse:
        fitting, problem = _fitting(alerts_visible(viewer=self.principal, status=AlertStatus.FIRING), text)
        context = {
            "title": "Silence alerts",
            "form": form,
            "fitting": fitting,
            "problem": problem,
            "cancel_url": reverse("incidents:silence_list"),
        }
        return render(self.request, "incidents/silence_add.html", context)


class SilenceDetailView(RoomView):
    """One silence, and what it has held."""

    def get(self, request: HttpRequest, reference: str) -> HttpResponse:
        silence = self._load(reference)
        held = alerts_visible(viewer=self.principal).filter(suppressed_by=f"silence:{silence.reference}")
        context = {
            "title": silence.reference,
            "silence": silence,
            "state": state_of(silence),
            "held": list(held[:50]),
            "may_end": silence.ended_at is None
            and self.principal.may(Capability.INCIDENT_RESPOND, team_id=silence.team_id),
        }
        return render(request, "incidents/silence_detail.html", context)

    def post(self, request: HttpRequest, reference: str) -> HttpResponse:
        end_silence(principal=self.principal, silence=self._load(reference))
        messages.success(request, "It has ended; what it held and still fires pages within seconds.")
        return redirect("incidents:silence_detail", reference)

    def _load(self, reference: str) -> Silence:
        silence = silence_by_reference(viewer=self.principal, reference=reference)
        if silence is None:
            raise Http404(f"There is no silence {reference}, or not for you.")
        return silence


class AlertGroupListView(RecordListView):
    """Alerts by service and name: how many fire, how often they came, and whether anybody ever acted."""

    title = "Alert groups"
    intro = "The alerts of the last 30 days by service and name. Acted upon means that a person acknowledged."
    noun = "alert groups"
    columns = (
        Column("name", "Alert", lambda g: g.name, kind="strong", sort_key=lambda g: g.name),
        Column("service", "Service", lambda g: g.service, sort_key=lambda g: g.service),
        Column("state", "State", lambda g: g.state, kind="state", sort_key=lambda g: g.firing),
        Column("firing", "Firing", lambda g: g.firing, kind="number", sort_key=lambda g: g.firing),
        Column("episodes", "Episodes", lambda g: g.episodes, kind="number", sort_key=lambda g: g.episodes),
        Column("held", "Held back", lambda g: g.held, kind="number", sort_key=lambda g: g.held, wide_only=True),
        Column("acted", "Acted upon", lambda g: g.acted_ratio, kind="ratio", sort_key=lambda g: g.acted_ratio),
        Column("last", "Last seen", lambda g: g.last_at, kind="time", sort_key=lambda g: g.last_at),
    )
    default_sort = "-last"
    empty = Empty("No alert has come in within 30 days.")

    def may_view(self, principal: Any) -> bool:
        return may_view(principal)

    def get_records(self) -> Sequence[Any]:
        return alert_groups(viewer=principal_of(self.request), since=database_now() - timedelta(days=30))


def _fitting(alerts: QuerySet[Alert], text: str) -> tuple[list[Alert], str]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return [], ""
    try:
        matchers = [parse_matcher(line) for line in lines]
    except MatcherError as error:
        return [], str(error)
    seen = ((one, {"integration": one.integration.slug, **one.labels}) for one in alerts[:2000])
    return [one for one, labels in seen if all(matcher.fits(labels) for matcher in matchers)][:50], ""
