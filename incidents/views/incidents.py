"""The list of incidents, the room of one, and what can be done in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import PermissionDenied
from django.core.signing import BadSignature, SignatureExpired, TimestampSigner
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views import View

from accounts.data import Capability
from accounts.selectors import name_of, people, principal_for_user
from accounts.services import principal_of
from catalog.data import ActivityKind
from catalog.selectors import activities_between, activity_by_key, services_visible
from core.clock import database_now
from core.lists import Action, Column, Empty, Filter, RecordListView
from core.states import tone_of
from delivery.selectors import deliveries_about
from incidents.data import AlertStatus, IncidentRole, IncidentStatus, Severity, TimelineKind
from incidents.domain.measures import measures_of
from incidents.forms import (
    AuthorityForm,
    AwarenessForm,
    CorrectionForm,
    MergeForm,
    NoteForm,
    OpenIncidentForm,
    PauseForm,
    ResolveForm,
    RoleForm,
    SeverityForm,
    SplitForm,
    StatusForm,
    TaskForm,
)
from incidents.models import Incident, TimelineEntry
from incidents.navigation import may_view
from incidents.selectors import (
    clocks_of,
    incident_by_reference,
    incidents_visible,
    integrations,
    measured,
    review_of,
    spent_by,
    status_pages,
    timeline_of,
)
from incidents.selectors.incidents import keys_by_service_name, similar_incidents
from incidents.services import Opening, acknowledge_incident, open_incident
from incidents.services.commands import HELP
from incidents.services.paging import LINK_SALT
from incidents.views.access import RoomView

LINK_LIFE = timedelta(days=7)
CORRECTABLE = 50
CHANGE_WINDOW = timedelta(hours=6)
CHANGES = (ActivityKind.DEPLOYMENT, ActivityKind.CHAOS_RUN, ActivityKind.DR_TEST, ActivityKind.MAINTENANCE)
ICONS = {
    TimelineKind.NOTE: "message",
    TimelineKind.STATUS: "flag",
    TimelineKind.ALERT: "bell-ringing",
    TimelineKind.PAGE: "phone-call",
    TimelineKind.RUNBOOK: "book-2",
    TimelineKind.ROLE: "user-check",
    TimelineKind.CAUSE: "flask",
    TimelineKind.TASK: "square-check",
    TimelineKind.TARGET: "clock",
    TimelineKind.OUTSIDE: "speakerphone",
}


def address_of(incident: Incident) -> str:
    """Return the address of an incident's room."""
    return reverse("incidents:incident_detail", args=[incident.reference])


def _service_choices(request: HttpRequest) -> list[tuple[str, str]]:
    return list(services_visible(viewer=principal_of(request)).order_by("name").values_list("slug", "name"))


def _source_choices(_: HttpRequest) -> list[tuple[str, str]]:
    return [("person", "a person"), *((f"alert:{one.slug}", one.name) for one in integrations())]


def _opened_within(records: Any, chosen: list[str]) -> Any:
    days = max((int(one) for one in chosen if one.isdecimal()), default=0)
    return records.filter(triggered_at__gte=database_now() - timedelta(days=days)) if days else records


class IncidentListView(RecordListView):
    """What is on fire, and what was."""

    title = "Incidents"
    intro = "What needs people now, and what did."
    noun = "incidents"
    columns = (
        Column("reference", "Reference", lambda i: i.reference, kind="strong", order_by=("pk",), href=address_of),
        Column("title", "Title", lambda i: i.title, order_by=("title",), href=address_of),
        Column("severity", "Severity", lambda i: i.severity, kind="state", order_by=("severity",)),
        Column("status", "State", lambda i: i.status, kind="state", order_by=("status",)),
        Column("services", "Services", lambda i: ", ".join(s.name for s in i.services.all())),
        Column("opened", "Opened", lambda i: i.triggered_at, kind="time", order_by=("triggered_at",)),
        Column(
            "acknowledged_by",
            "Acknowledged by",
            lambda i: str(i.acknowledged_by) if i.acknowledged_by else "",
            wide_only=True,
        ),
        Column("resolved", "Resolved", lambda i: i.resolved_at, kind="time", order_by=("resolved_at",), wide_only=True),
        Column("caused_by", "Declared cause", lambda i: i.caused_by, kind="code", shown=False),
    )
    filters = (
        Filter("status", "State", [(one.value, one.value) for one in IncidentStatus]),
        Filter("severity", "Severity", [(one.value, one.value.upper()) for one in Severity]),
        Filter("service", "Service", _service_choices, field="services__slug", multiple=False),
        Filter("source", "Found by", _source_choices, field="detected_by", multiple=False),
        Filter(
            "opened",
            "Opened",
            [("7", "7 days"), ("30", "30 days"), ("90", "90 days")],
            apply=_opened_within,
            multiple=False,
        ),
    )
    search_fields = ("title", "services__name")
    default_sort = "-reference"
    saves_views = True
    counted_up_to = 10_000
    refresh_seconds = 10
    empty = Empty(
        "No incident has been opened. Alerts open them by their route, and people by hand.",
        command=".venv/bin/python manage.py incident open 'Customers cannot sign in' --severity sev2 --as alice",
    )

    def may_view(self, principal: Any) -> bool:
        return may_view(principal)

    def get_records(self) -> QuerySet[Incident]:
        return incidents_visible(viewer=principal_of(self.request)).prefetch_related("services")

    def search(self, records: Any, text: str) -> Any:
        for word in text.split():
            records = records.filter(Q(title__icontains=word) | Q(pk__in=keys_by_service_name(word)))
        return records

    def get_actions(self) -> Sequence[Action]:
        if principal_of(self.request).may_somewhere(Capability.INCIDENT_RESPOND):
            return (Action("Open an incident", reverse("incidents:incident_open"), icon="plus"),)
        return ()


@dataclass(frozen=True)
class TimelineLine:
    """A timeline entry as the component shows it."""

    title: str
    at: datetime
    actor: str
    text: str
    url: str
    icon: str
    tone: str


def line_of(entry: TimelineEntry) -> TimelineLine:
    """Return an entry for the page; a note's words stand below the head, everything else is its own title."""
    kind = TimelineKind(entry.kind)
    note = kind is TimelineKind.NOTE
    tone = "bad" if kind is TimelineKind.ALERT and "fires" in entry.text else "plain"
    if kind is TimelineKind.TARGET and entry.source_key.endswith(":breached"):
        tone = "bad"
    text = entry.text if note else ""
    if entry.corrects is not None:
        text = f"{text}\nPut right by {entry.actor_label}. Written first: “{entry.corrects.text}”".strip()
    return TimelineLine(
        title="Note" if note else entry.text,
        at=entry.at,
        # Parts of the site go by what a person would call them; people by the name that they had then.
        actor=name_of(entry.actor) if entry.actor.startswith("system:") else entry.actor_label,
        text=text,
        url=entry.link,
        icon=ICONS[kind],
        tone=tone,
    )


def lines_of(entries: Sequence[TimelineEntry]) -> list[TimelineLine]:
    """Return entries for the page; one that was put right stands inside the one that did so."""
    corrected = {entry.corrects_id for entry in entries if entry.corrects_id is not None}
    return [line_of(entry) for entry in entries if entry.pk not in corrected]


class IncidentDetailView(RoomView):
    """The room: state, clocks, roles, timeline, and what to press next. Refreshes itself by htmx."""

    def get(self, request: HttpRequest, reference: str) -> HttpResponse:
        incident = self.incident_or_404(reference)
        context = self._context(incident)
        if getattr(request, "htmx", False) and not getattr(request.htmx, "boosted", False):  # type: ignore[attr-defined]
            return render(request, "incidents/incident_live.html", context)
        return render(request, "incidents/incident_detail.html", context)

    def _context(self, incident: Incident) -> dict[str, Any]:
        now = database_now()
        services = list(incident.services.all())
        may_respond = self.principal.may(Capability.INCIDENT_RESPOND, team_id=incident.team_id)
        alerts = list(incident.alerts.select_related("integration"))
        cause = activity_by_key(source_key=incident.caused_by) if incident.caused_by else None
        activities = activities_between(incident.impact_started_at - CHANGE_WINDOW, now, kinds=CHANGES)
        entries = list(timeline_of(incident=incident))
        corrected = {entry.corrects_id for entry in entries}
        clocks = clocks_of(incident=incident, now=now)
        firing = [alert for alert in alerts if alert.status == AlertStatus.FIRING]
        return {
            "title": f"{incident.reference} {incident.title}",
            "incident": incident,
            "services": services,
            "roles": list(incident.roles.select_related("user")),
            "lines": lines_of(entries)[::-1],
            "alerts": alerts,
            "slos": sorted({slug for alert in alerts if (slug := str(alert.labels.get("slo", "")))}),
            "cause": cause,
            "changes": [] if not services else list(activities.filter(services__in=services).distinct()[:10]),
            "runs": _latest_of_runs(entries),
            "deliveries": list(deliveries_about(about=f"incident:{incident.reference}")),
            "may_see_deliveries": self.principal.may(Capability.DELIVERY_VIEW),
            "clocks": _clocks(incident, now),
            "targets": clocks,
            "paused": next((one for one in incident.pauses.all() if one.ended_at is None), None),
            "spent": spent_by(incident=incident, now=now),
            "tasks": list(incident.tasks.select_related("owner")),
            "updates": list(incident.status_updates.select_related("page")[:10]),
            "similar": similar_incidents(incident=incident, viewer=self.principal),
            "merged": list(incident.merged.all()),
            "review": review_of(incident=incident),
            "may_respond": may_respond,
            "note_form": NoteForm(),
            "commands": HELP.items(),
            "task_form": TaskForm(auto_id="task_%s"),
            "correction_form": CorrectionForm(
                auto_id="correction_%s",
                entries=[one for one in reversed(entries) if one.pk not in corrected][:CORRECTABLE],
            ),
            "status_form": StatusForm(principal=self.principal, initial={"title": incident.title}, auto_id="status_%s"),
            "has_pages": status_pages(viewer=self.principal).exists(),
            "merge_form": MergeForm(auto_id="merge_%s"),
            "split_form": SplitForm(alerts=firing, initial={"severity": incident.severity}, auto_id="split_%s")
            if len(alerts) > 1
            else None,
            "pause_form": PauseForm(reasons=incident.targets.get("pauses", []), auto_id="pause_%s"),
            "awareness_form": AwarenessForm(auto_id="aware_%s"),
            "authority_form": AuthorityForm(auto_id="authority_%s"),
            "resolve_form": ResolveForm(auto_id="resolve_%s"),
            "severity_form": SeverityForm(initial={"severity": incident.severity}, auto_id="severity_%s"),
            "role_form": RoleForm(initial={"role": IncidentRole.COMMANDER.value}, auto_id="role_%s"),
            "may_acknowledge": may_respond and incident.status == IncidentStatus.TRIGGERED,
            "may_mitigate": may_respond and incident.status in {IncidentStatus.TRIGGERED, IncidentStatus.ACKNOWLEDGED},
            "may_resolve": may_respond and incident.is_open,
        }


def _latest_of_runs(entries: Sequence[TimelineEntry]) -> list[TimelineEntry]:
    """Return the last word on each runbook run; what is told of its steps stays in the timeline."""
    told = [e for e in entries if e.kind == TimelineKind.RUNBOOK and e.link and ":step:" not in e.source_key]
    return list({entry.link: entry for entry in told}.values())


def _clocks(incident: Incident, now: datetime) -> list[dict[str, Any]]:
    measures = measures_of(measured(incident))
    running = {
        "time_to_acknowledge": incident.first_notified_at if incident.status == IncidentStatus.TRIGGERED else None,
        "time_to_mitigate": incident.impact_started_at if incident.is_open else None,
        "time_to_resolve": incident.impact_started_at if incident.is_open else None,
    }
    clocks = []
    for name, value in measures.items():
        since = running.get(name)
        live = value is None and since is not None
        clocks.append(
            {
                "label": name.replace("_", " ").capitalize(),
                "value": now - since if live and since is not None else value,
                "hint": _hint(incident, name, value=value, live=live),
            }
        )
    return clocks


def _hint(incident: Incident, name: str, *, value: timedelta | None, live: bool) -> str:
    if live:
        return "running"
    if value is not None:
        return ""
    if incident.first_notified_at is None and name in {"time_to_acknowledge", "time_to_engage"}:
        return "nobody was paged"
    return "not yet" if incident.is_open else "did not happen"


class IncidentOpenView(RoomView):
    """Declare an incident by hand."""

    def get(self, _: HttpRequest) -> HttpResponse:
        return self._page(OpenIncidentForm(principal=self.principal))

    def post(self, request: HttpRequest) -> HttpResponse:
        form = OpenIncidentForm(request.POST, principal=self.principal)
        if not form.is_valid():
            return self._page(form)
        service = form.cleaned_data["service"]
        incident = open_incident(
            principal=self.principal,
            opening=Opening(
                title=form.cleaned_data["title"],
                severity=Severity(form.cleaned_data["severity"]),
                service_ids=(service.pk,) if service else (),
                service_slugs=(service.slug,) if service else (),
                team_id=service.team_id if service else None,
                policy=form.cleaned_data["policy"],
            ),
        )
        return redirect(address_of(incident))

    def _page(self, form: OpenIncidentForm) -> HttpResponse:
        context = {"title": "Open an incident", "form": form, "cancel_url": reverse("incidents:incident_list")}
        return render(self.request, "incidents/incident_open.html", context)


class SignedAcknowledgeView(View):
    """Acknowledge by the link in a page's mail: GET shows what it is about, POST does it. Needs no session.

    The link names one incident and one person, is signed, and is good for a week. Opening it changes nothing, because
    mail scanners open links.
    """

    def get(self, request: HttpRequest, token: str) -> HttpResponse:
        return render(request, "incidents/acknowledge.html", self._context(token))

    def post(self, request: HttpRequest, token: str) -> HttpResponse:
        context = self._context(token)
        if context["incident"] is None:
            return render(request, "incidents/acknowledge.html", context, status=410)
        acknowledge_incident(
            principal=principal_for_user(user=context["person"]), incident=context["incident"], via="link in the mail"
        )
        context = self._context(token)
        return render(request, "incidents/acknowledge.html", {**context, "done": True})

    def _context(self, token: str) -> dict[str, Any]:
        nothing: dict[str, Any] = {"title": "Acknowledge", "incident": None, "person": None}
        try:
            text = TimestampSigner(salt=LINK_SALT).unsign(token, max_age=LINK_LIFE)
        except SignatureExpired:
            return {**nothing, "problem": "This link is older than a week."}
        except BadSignature:
            return {**nothing, "problem": "This link is not one that the site has sent."}
        incident_id, _, user_id = text.partition(":")
        incident = incident_by_reference(reference=f"INC-{incident_id}")
        person = people().filter(pk=int(user_id), is_active=True).first()
        if incident is None or person is None:
            return {**nothing, "problem": "The incident, or your account, is gone."}
        if not principal_for_user(user=person).may(Capability.INCIDENT_RESPOND, team_id=incident.team_id):
            raise PermissionDenied(f"{person} may not respond to incidents any more.")
        return {
            "title": f"Acknowledge {incident.reference}",
            "incident": incident,
            "person": person,
            "tone": tone_of(incident.status).value,
        }
