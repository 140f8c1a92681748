"""Status pages: for the whole world or for those who sign in; subscriptions confirmed and ended by a secret link."""

from typing import Any

from django.contrib import messages
from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views import View

from accounts.services import principal_of
from core.clock import database_now
from core.lists import Column, Empty, RecordListView
from core.parsing import InputRefusedError
from incidents.forms import SubscribeForm
from incidents.models import StatusPage, StatusSubscription
from incidents.navigation import may_view
from incidents.selectors import Board, board_of, status_page, status_pages
from incidents.services import confirm_subscription, end_subscription, subscribe

EMPTY = """apiVersion: assay/v1
kind: StatusPage
metadata: {name: public, title: Our services}
spec: {visibility: public, services: [gateway]}"""


class StatusPageListView(RecordListView):
    """Where others are told how services are."""

    title = "Status pages"
    intro = "What others are told. Nothing appears there by itself: a person says it from an incident's room."
    noun = "status pages"
    columns = (
        Column(
            "name",
            "Name",
            lambda p: p.name,
            kind="strong",
            order_by=("slug",),
            href=lambda p: reverse("incidents:status_page", args=[p.slug]),
        ),
        Column("visibility", "For", lambda p: "everybody" if p.visibility == "public" else "those who sign in"),
        Column("services", "Services", lambda p: p.service_count, kind="number"),
        Column("subscribers", "Subscribers", lambda p: p.subscriber_count, kind="number"),
    )
    search_fields = ("slug", "name")
    default_sort = "name"
    empty = Empty("No status page exists. Describe one in YAML and apply it.", command=EMPTY)

    def may_view(self, principal: Any) -> bool:
        return may_view(principal)

    def get_records(self) -> QuerySet[StatusPage]:
        confirmed = Count("subscriptions", distinct=True, filter=Q(subscriptions__confirmed_at__isnull=False))
        return status_pages(viewer=principal_of(self.request)).annotate(
            service_count=Count("services", distinct=True), subscriber_count=confirmed
        )


class StatusPageView(View):
    """One page; GET shows it (as JSON with `?format=json`), POST subscribes an address."""

    def get(self, request: HttpRequest, slug: str) -> HttpResponse:
        page = self._load(slug)
        board = board_of(page=page, now=database_now())
        if request.GET.get("format") == "json":
            return JsonResponse(_as_json(page, board))
        return self._page(page, board, SubscribeForm())

    def post(self, request: HttpRequest, slug: str) -> HttpResponse:
        page = self._load(slug)
        form = SubscribeForm(request.POST)
        if form.is_valid():
            try:
                subscribe(page=page, address=form.cleaned_data["address"])
            except InputRefusedError as error:
                form.add_error("address", str(error))
            else:
                # The same words for every address, so that the page tells nobody who has subscribed.
                messages.success(request, "If the address is not subscribed yet, a mail asks it to confirm.")
                return redirect("incidents:status_page", slug)
        return self._page(page, board_of(page=page, now=database_now()), form)

    def _load(self, slug: str) -> StatusPage:
        viewer = principal_of(self.request) if self.request.user.is_authenticated else None
        page = status_page(slug=slug, viewer=viewer)
        if page is None:
            raise Http404(f"There is no status page {slug}, or not for you.")
        return page

    def _page(self, page: StatusPage, board: Board, form: SubscribeForm) -> HttpResponse:
        context = {"title": page.name, "intro": page.intro, "page": page, "board": board, "form": form}
        return render(self.request, "incidents/status_page.html", context)


class SubscriptionView(View):
    """The secret link of a subscription: GET shows it, POST confirms it or ends it. Opening it changes nothing."""

    def get(self, request: HttpRequest, token: str) -> HttpResponse:
        found = StatusSubscription.objects.select_related("page").filter(token=token).first()
        if found is None:
            raise Http404("This link is not known; perhaps the subscription has ended.")
        return render(request, "incidents/status_subscription.html", {"title": found.page.name, "found": found})

    def post(self, request: HttpRequest, token: str) -> HttpResponse:
        if "end" in request.POST:
            end_subscription(token=token)
            return render(request, "incidents/status_subscription.html", {"title": "No more mail", "found": None})
        if confirm_subscription(token=token) is None:
            raise Http404("This link is not known.")
        return self.get(request, token)


def _as_json(page: StatusPage, board: Board) -> dict[str, Any]:
    return {
        "page": page.slug,
        "name": page.name,
        "services": [{"name": name, "state": state} for name, state in board.services],
        "incidents": [
            {
                "title": one.title,
                "state": one.state.value,
                "services": list(one.services),
                "began_at": one.began_at.isoformat(),
                "updates": [
                    {"at": update.at.isoformat(), "state": update.state, "text": update.text} for update in one.updates
                ],
            }
            for one in [*board.current, *board.past]
        ],
    }
