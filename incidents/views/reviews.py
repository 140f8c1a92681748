"""The review of an incident: the draft beside its timeline, follow-ups, approval by another person."""

from datetime import timedelta

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from accounts.data import Capability
from core.parsing import InputRefusedError
from incidents.forms import FollowUpForm, ReviewForm
from incidents.models import Incident, Review
from incidents.selectors import follow_ups_of, review_of, timeline_of
from incidents.services import add_follow_up, approve_review, edit_review
from incidents.services.reviews import SECTIONS
from incidents.views.access import RoomView
from incidents.views.incidents import line_of


class ReviewView(RoomView):
    """Read, edit, add follow-ups, approve."""

    def get(self, _: HttpRequest, reference: str) -> HttpResponse:
        incident, review = self._load(reference)
        return self._page(incident, review, ReviewForm(initial={name: getattr(review, name) for name in SECTIONS}))

    def post(self, request: HttpRequest, reference: str, step: str = "edit") -> HttpResponse:
        incident, review = self._load(reference)
        try:
            if step == "approve":
                approve_review(principal=self.principal, review=review)
            elif step == "follow-up":
                self._follow_up(review)
            else:
                form = ReviewForm(request.POST)
                if not form.is_valid():
                    return self._page(incident, review, form)
                edit_review(principal=self.principal, review=review, **form.cleaned_data)
        except InputRefusedError as error:
            messages.error(request, f"Nothing was changed: {error}")
        return redirect("incidents:review", incident.reference)

    def _follow_up(self, review: Review) -> None:
        form = FollowUpForm(self.request.POST)
        if not form.is_valid():
            messages.error(self.request, "Nothing was added: a follow-up needs a title.")
            return
        owner = form.cleaned_data["owner"]
        add_follow_up(
            principal=self.principal,
            review=review,
            title=form.cleaned_data["title"],
            owner=owner.get_username() if owner else "",
            due_in=timedelta(days=int(form.cleaned_data["due_in_days"])),
        )

    def _load(self, reference: str) -> tuple[Incident, Review]:
        incident = self.incident_or_404(reference)
        review = review_of(incident=incident)
        if review is None:
            raise Http404(f"{reference} is not resolved yet; its review is drafted then.")
        return incident, review

    def _page(self, incident: Incident, review: Review, form: ReviewForm) -> HttpResponse:
        may_respond = self.principal.may(Capability.INCIDENT_RESPOND, team_id=incident.team_id)
        is_draft = review.state == Review.State.DRAFT
        context = {
            "title": f"Review of {incident.reference}",
            "incident": incident,
            "review": review,
            "form": form,
            "follow_up_form": FollowUpForm(),
            "follow_ups": follow_ups_of(incident=incident),
            "lines": [line_of(entry) for entry in timeline_of(incident=incident)],
            "measures": [
                (name.replace("_", " ").capitalize(), timedelta(seconds=value))
                for name, value in review.drafted.get("measures", {}).items()
            ],
            "participants": review.drafted.get("participants", []),
            "may_edit": may_respond and is_draft,
            "may_approve": is_draft
            and review.edited_by is not None
            and review.edited_by_id != self.principal.user_id
            and self.principal.may(Capability.APPROVE, team_id=incident.team_id),
            "is_draft": is_draft,
        }
        return render(self.request, "incidents/review.html", context)
