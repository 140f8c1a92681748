"""The review of an incident: draft, timeline, what it still needs, follow-ups, approval by another person."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from accounts.data import Capability
from catalog.data import ActionItemState
from core.clock import database_now
from core.parsing import InputRefusedError, refuse
from incidents.domain.review_templates import SECTIONS, TEMPLATES
from incidents.forms import AcceptRiskForm, FollowUpForm, ReviewForm, ReviewOwnerForm
from incidents.models import FollowUp, Incident, Review, ReviewTask
from incidents.selectors import follow_ups_of, review_of, timeline_of
from incidents.selectors.oncall import names_of
from incidents.services import (
    accept_risk,
    add_follow_up,
    approve_review,
    edit_review,
    finish_follow_up,
    name_review_owner,
    settle_review_task,
)
from incidents.views.access import RoomView
from incidents.views.incidents import lines_of


class ReviewView(RoomView):
    """Read, edit, settle tasks, look after follow-ups, approve."""

    def get(self, _: HttpRequest, reference: str) -> HttpResponse:
        incident, review = self._load(reference)
        return self._page(incident, review, _form(incident, review, every="all" in self.request.GET))

    def post(self, request: HttpRequest, reference: str, step: str = "edit") -> HttpResponse:
        incident, review = self._load(reference)
        steps: dict[str, Callable[[], object]] = {
            "approve": lambda: approve_review(principal=self.principal, review=review),
            "follow-up": lambda: self._follow_up(review),
            "finish": lambda: finish_follow_up(principal=self.principal, follow_up=self._named(review)),
            "accept": lambda: self._accept(review),
            "task": lambda: settle_review_task(
                principal=self.principal,
                review=review,
                key=request.POST.get("key", ""),
                skip_because=request.POST.get("because", "").strip(),
            ),
            "owner": lambda: self._owner(review),
        }
        try:
            if step in steps:
                steps[step]()
            else:
                form = ReviewForm(request.POST, sections=TEMPLATES[incident.severity].sections)
                if not form.is_valid():
                    return self._page(incident, review, form)
                # A section that was not on the page keeps its words.
                written = {name: text for name, text in form.cleaned_data.items() if name in request.POST}
                edit_review(principal=self.principal, review=review, **written)
        except InputRefusedError as error:
            messages.error(request, f"Nothing was changed: {error}")
        return redirect("incidents:review", incident.reference)

    def _follow_up(self, review: Review) -> None:
        form = FollowUpForm(self.request.POST)
        if not form.is_valid():
            raise refuse("follow-up", found="a form with mistakes", allowed="a title and a sound address are needed")
        data = form.cleaned_data
        add_follow_up(
            principal=self.principal,
            review=review,
            title=data["title"],
            owner=data["owner"].get_username() if data["owner"] else "",
            due_in=timedelta(days=int(data["due_in_days"])),
            kind=data["kind"],
            external_url=data["external_url"],
        )

    def _accept(self, review: Review) -> None:
        form = AcceptRiskForm(self.request.POST)
        if not form.is_valid():
            raise refuse("accept", found="a form with mistakes", allowed="a reason and a day are needed")
        data = form.cleaned_data
        accept_risk(principal=self.principal, follow_up=self._named(review), reason=data["reason"], until=data["until"])

    def _owner(self, review: Review) -> None:
        form = ReviewOwnerForm(self.request.POST)
        if not form.is_valid():
            raise refuse("owner", found="nobody", allowed="choose a person")
        data = form.cleaned_data
        name_review_owner(principal=self.principal, review=review, user_id=data["owner"].pk, due_on=data["due_on"])

    def _named(self, review: Review) -> FollowUp:
        found = review.follow_ups.filter(source_key=self.request.POST.get("key", "")).first()
        if found is None:
            raise Http404("There is no such follow-up here.")
        return found

    def _load(self, reference: str) -> tuple[Incident, Review]:
        incident = self.incident_or_404(reference)
        review = review_of(incident=incident)
        if review is None:
            raise Http404(f"{reference} is not resolved yet; its review is drafted then.")
        return incident, review

    def _page(self, incident: Incident, review: Review, form: ReviewForm) -> HttpResponse:
        may_respond = self.principal.may(Capability.INCIDENT_RESPOND, team_id=incident.team_id)
        may_approve = self.principal.may(Capability.APPROVE, team_id=incident.team_id)
        is_open = review.state != Review.State.APPROVED
        tasks = list(review.tasks.all())
        context = {
            "title": f"Review of {incident.reference}",
            "incident": incident,
            "review": review,
            "form": form,
            "written": [(label, text) for name, label in SECTIONS.items() if (text := getattr(review, name).strip())],
            "tasks": tasks,
            "settled": sum(task.state != ReviewTask.State.OPEN for task in tasks),
            "follow_up_form": FollowUpForm(auto_id="follow_up_%s"),
            "owner_form": ReviewOwnerForm(
                initial={"owner": review.owner_id, "due_on": review.due_on}, auto_id="owner_%s"
            ),
            "follow_ups": _follow_ups(incident, review),
            "lines": lines_of(list(timeline_of(incident=incident))),
            "measures": [
                (name.replace("_", " ").capitalize(), timedelta(seconds=value))
                for name, value in review.drafted.get("measures", {}).items()
            ],
            "participants": review.drafted.get("participants", []),
            "hidden": len(SECTIONS) - len(form.fields),
            "may_respond": may_respond,
            "may_edit": may_respond and is_open,
            "may_accept": may_approve,
            "may_approve": may_approve
            and review.state == Review.State.IN_REVIEW
            and review.edited_by is not None
            and review.edited_by_id != self.principal.user_id,
        }
        return render(self.request, "incidents/review.html", context)


def _form(incident: Incident, review: Review, *, every: bool) -> ReviewForm:
    """Return the form with the sections that are asked for or written already, or with all."""
    initial = {name: getattr(review, name) for name in SECTIONS}
    form = ReviewForm(initial=initial, sections=TEMPLATES[incident.severity].sections)
    for name in SECTIONS:
        if not every and name not in TEMPLATES[incident.severity].sections and not initial[name].strip():
            del form.fields[name]
    return form


def _follow_ups(incident: Incident, review: Review) -> list[dict[str, Any]]:
    known = {one.source_key: one for one in review.follow_ups.all()}
    today = database_now().date()
    items = follow_ups_of(incident=incident)
    names = names_of(usernames={item.owner for item in items if item.owner})
    return [
        {
            "item": item,
            "owner": names.get(item.owner, ""),
            "about": known.get(item.source_key),
            "late": item.state == ActionItemState.OPEN and item.due_on is not None and item.due_on < today,
            "form": AcceptRiskForm(initial={"key": item.source_key}, auto_id=f"id_{item.pk}_%s"),
        }
        for item in items
    ]
