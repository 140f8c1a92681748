"""Saving, renaming, sharing and deleting views of lists."""

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import NoReverseMatch, Resolver404, resolve, reverse
from django.views import View

from accounts.services import principal_of
from core.lists import RecordListView
from core.saved_views import ListedView
from portal.models import SavedView
from portal.selectors import saved_views_for, teams_to_share_with
from portal.services import change_view, change_view_query, delete_view, open_list_with, save_view


def list_behind(page: str) -> type[RecordListView] | None:
    """Return the list that a URL name leads to, if views of it can be kept."""
    try:
        view = getattr(resolve(reverse(page)).func, "view_class", None)
    except (NoReverseMatch, Resolver404):
        return None
    return view if isinstance(view, type) and issubclass(view, RecordListView) and view.saves_views else None


class ViewForm(forms.Form):
    """Name and readers of a view."""

    name = forms.CharField(max_length=80)
    team = forms.ChoiceField(required=False, label="Who may open it")

    def __init__(self, *args: Any, teams: list[tuple[int, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        team = self.fields["team"]
        assert isinstance(team, forms.ChoiceField)  # noqa: S101 declared above
        team.choices = [("", "only you"), *((str(pk), f"you and {name}") for pk, name in teams)]

    @property
    def team_id(self) -> int | None:
        """The team that was chosen."""
        chosen = self.cleaned_data["team"]
        return int(chosen) if chosen else None


class SavedViewPage(LoginRequiredMixin, View):
    """What the pages about views share."""

    def form(self, request: HttpRequest, **kwargs: Any) -> ViewForm:
        """Return the form with the reader's teams."""
        teams = teams_to_share_with(viewer=principal_of(request)).values_list("pk", "name")
        return ViewForm(teams=list(teams), **kwargs)

    def visible(self, request: HttpRequest, pk: int) -> SavedView:
        """Return a view that the reader may open."""
        return get_object_or_404(saved_views_for(viewer=principal_of(request)), pk=pk)

    @staticmethod
    def say(request: HttpRequest, error: ValidationError) -> None:
        """Tell why nothing was saved."""
        messages.error(request, f"Not saved. {' '.join(error.messages)}")


class SavedViewListView(SavedViewPage):
    """The reader's views of all lists, and those of their teams."""

    def get(self, request: HttpRequest) -> HttpResponse:
        lines = []
        for view in saved_views_for(viewer=principal_of(request)):
            behind = list_behind(view.page)
            if behind is None:
                continue
            mine = view.owner_id == request.user.pk
            listed = ListedView(view.pk, view.name, view.query, mine=mine)
            form = self.form(request, initial={"name": view.name, "team": str(view.team_id or "")}) if mine else None
            if form is not None:
                form.auto_id = f"view-{view.pk}-%s"
            url = f"{reverse(view.page)}{listed.address}"
            lines.append(
                {
                    "view": view,
                    "key": str(view.pk),
                    "list": behind.title,
                    "url": url,
                    "mine": mine,
                    "form": form,
                    "deletes": f"Delete “{view.name}”?",
                    "loses": f"{view.team} loses it too." if view.team else "Only you have it.",
                }
            )
        return render(request, "portal/saved_views.html", {"title": "Saved views", "lines": lines})


class SavedViewSaveView(SavedViewPage):
    """Keeps what a list shows under a name."""

    def post(self, request: HttpRequest) -> HttpResponse:
        page, query = request.POST.get("page", ""), request.POST.get("query", "")
        if list_behind(page) is None:
            raise Http404
        form = self.form(request, data=request.POST)
        if not form.is_valid():
            messages.error(request, "Not saved. A view needs a name, and a team of your own to be shared with.")
            return redirect(reverse(page))
        try:
            view = save_view(
                principal=principal_of(request),
                page=page,
                name=form.cleaned_data["name"],
                query=query,
                team_id=form.team_id,
                opens_first="opens_first" in request.POST,
            )
        except ValidationError as error:
            self.say(request, error)
            return redirect(reverse(page))
        messages.success(request, f"“{view.name}” is saved.")
        return redirect(f"{reverse(page)}{ListedView(view.pk, view.name, view.query, mine=True).address}")


class SavedViewKeepView(SavedViewPage):
    """Lets a view show what its list shows by now."""

    def post(self, request: HttpRequest, pk: int) -> HttpResponse:
        view = self.visible(request, pk)
        try:
            change_view_query(principal=principal_of(request), view=view, query=request.POST.get("query", ""))
        except ValidationError as error:
            self.say(request, error)
        else:
            messages.success(request, f"“{view.name}” shows this from now on.")
        return redirect(f"{reverse(view.page)}{ListedView(view.pk, view.name, view.query, mine=True).address}")


class SavedViewChangeView(SavedViewPage):
    """Renames and shares a view."""

    def post(self, request: HttpRequest, pk: int) -> HttpResponse:
        view, form = self.visible(request, pk), self.form(request, data=request.POST)
        if form.is_valid():
            try:
                name, team_id = form.cleaned_data["name"], form.team_id
                change_view(principal=principal_of(request), view=view, name=name, team_id=team_id)
            except ValidationError as error:
                self.say(request, error)
        else:
            messages.error(request, "Not saved. A view needs a name, and a team of your own to be shared with.")
        return redirect("portal:saved_view_list")


class SavedViewOpenView(SavedViewPage):
    """Lets the reader's list open with a view, or whole again."""

    def post(self, request: HttpRequest, pk: int) -> HttpResponse:
        view = self.visible(request, pk)
        wanted = view if "first" in request.POST else None
        open_list_with(principal=principal_of(request), page=view.page, view=wanted)
        return redirect("portal:saved_view_list")


class SavedViewDeleteView(SavedViewPage):
    """Deletes a view."""

    def post(self, request: HttpRequest, pk: int) -> HttpResponse:
        view = self.visible(request, pk)
        delete_view(principal=principal_of(request), view=view)
        messages.success(request, f"“{view.name}” is deleted.")
        return redirect("portal:saved_view_list")
