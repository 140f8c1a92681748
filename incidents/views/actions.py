"""What can be done in an incident's room, each as one POST."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.forms import Form
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from core.parsing import InputRefusedError, refuse
from incidents.data import IncidentRole, PublicState, Severity
from incidents.forms import (
    AuthorityForm,
    AwarenessForm,
    CorrectionForm,
    MergeForm,
    NoteForm,
    PauseForm,
    ResolveForm,
    RoleForm,
    SeverityForm,
    SplitForm,
    StatusForm,
    TaskForm,
)
from incidents.models import Incident, IncidentTask
from incidents.selectors import incident_by_reference, timeline_of
from incidents.services import (
    acknowledge_incident,
    add_task,
    assign_role,
    change_severity,
    correct_entry,
    merge_incident,
    mitigate_incident,
    note_authority_notified,
    note_awareness,
    pause_clocks,
    publish_status,
    resolve_incident,
    resume_clocks,
    settle_task,
    split_incident,
    take_words,
)
from incidents.views.access import RoomView


class IncidentActionView(RoomView):
    """POST one step. What is wrong with it is said on the room's page; nothing is lost there."""

    http_method_names = ["post"]

    def post(self, request: HttpRequest, reference: str, step: str) -> HttpResponse:
        incident = self.incident_or_404(reference)
        steps: dict[str, Callable[[Incident], Incident | None]] = {
            "acknowledge": lambda i: acknowledge_incident(principal=self.principal, incident=i),
            "mitigate": lambda i: mitigate_incident(principal=self.principal, incident=i),
            "resolve": self._resolve,
            "note": self._note,
            "correct": self._correct,
            "severity": self._severity,
            "role": self._role,
            "task": self._task,
            "settle-task": self._settle_task,
            "merge": self._merge,
            "split": self._split,
            "pause": self._pause,
            "resume": self._resume,
            "aware": self._aware,
            "authority": self._authority,
            "status": self._status,
        }
        if step not in steps:
            raise Http404(f"{step} is not a step")
        try:
            found = steps[step](incident)
        except InputRefusedError as error:
            messages.error(request, f"Nothing was changed: {error}")
            found = None
        return redirect(reverse("incidents:incident_detail", args=[(found or incident).reference]))

    def _resolve(self, incident: Incident) -> None:
        data = _cleaned(ResolveForm(self.request.POST))
        resolve_incident(principal=self.principal, incident=incident, reason=data["reason"])

    def _note(self, incident: Incident) -> None:
        data = _cleaned(NoteForm(self.request.POST))
        said = take_words(principal=self.principal, incident=incident, text=data["text"], link=data["link"])
        messages.success(self.request, said)

    def _correct(self, incident: Incident) -> None:
        entries = timeline_of(incident=incident)
        data = _cleaned(CorrectionForm(self.request.POST, entries=list(entries)))
        entry = entries.get(pk=data["entry"])
        correct_entry(principal=self.principal, entry=entry, text=data["text"], at=data["at"])

    def _severity(self, incident: Incident) -> None:
        data = _cleaned(SeverityForm(self.request.POST))
        change_severity(
            principal=self.principal, incident=incident, severity=Severity(data["severity"]), reason=data["reason"]
        )

    def _role(self, incident: Incident) -> None:
        data = _cleaned(RoleForm(self.request.POST))
        person = data["person"]
        assign_role(
            principal=self.principal,
            incident=incident,
            role=IncidentRole(data["role"]),
            user_id=person.pk,
            user_label=str(person),
        )

    def _task(self, incident: Incident) -> None:
        data = _cleaned(TaskForm(self.request.POST))
        owner = data["owner"]
        add_task(
            principal=self.principal,
            incident=incident,
            title=data["title"],
            owner_id=owner.pk if owner else None,
        )

    def _settle_task(self, incident: Incident) -> None:
        number = self.request.POST.get("task", "")
        task = IncidentTask.objects.filter(incident=incident, pk=int(number) if number.isdecimal() else 0).first()
        if task is None:
            raise Http404("There is no such task here.")
        settle_task(principal=self.principal, task=task, dropped="drop" in self.request.POST)

    def _merge(self, incident: Incident) -> Incident:
        data = _cleaned(MergeForm(self.request.POST))
        into = incident_by_reference(reference=data["into"].strip(), viewer=self.principal)
        if into is None:
            raise refuse("merge", found=data["into"], allowed="an incident that you may see")
        return merge_incident(principal=self.principal, incident=incident, into=into)

    def _split(self, incident: Incident) -> Incident:
        data = _cleaned(SplitForm(self.request.POST, alerts=list(incident.alerts.all())))
        return split_incident(
            principal=self.principal,
            incident=incident,
            alert_ids=data["alerts"],
            title=data["title"],
            severity=Severity(data["severity"]),
        )

    def _pause(self, incident: Incident) -> None:
        data = _cleaned(PauseForm(self.request.POST, reasons=incident.targets.get("pauses", [])))
        pause_clocks(principal=self.principal, incident=incident, reason=data["reason"], note=data["note"])

    def _resume(self, incident: Incident) -> None:
        resume_clocks(principal=self.principal, incident=incident)

    def _aware(self, incident: Incident) -> None:
        data = _cleaned(AwarenessForm(self.request.POST))
        note_awareness(principal=self.principal, incident=incident, at=data["at"], what=data["what"])

    def _authority(self, incident: Incident) -> None:
        data = _cleaned(AuthorityForm(self.request.POST))
        note_authority_notified(principal=self.principal, incident=incident, reference=data["reference"])

    def _status(self, incident: Incident) -> None:
        data = _cleaned(StatusForm(self.request.POST, principal=self.principal))
        publish_status(
            principal=self.principal,
            incident=incident,
            page=data["page"],
            state=PublicState(data["state"]),
            title=data["title"],
            text=data["text"],
        )


def _cleaned(form: Form) -> dict[str, Any]:
    """Return what a form holds; raises InputRefusedError with what is wrong in it."""
    if form.is_valid():
        return dict(form.cleaned_data)
    name, problems = next(iter(form.errors.items()))
    field = form.fields.get(name)
    label = (field.label if field is not None else "") or name
    raise refuse(str(label), found=form.data.get(name, "")[:80] or "nothing", allowed=str(problems[0]))
