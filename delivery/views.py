"""The delivery log, webhook endpoints, and a person's notifications."""

from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.contrib.auth import get_user_model
from django.contrib.auth.mixins import LoginRequiredMixin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views import View

from core.lists import Action, Column, Empty, Filter, RecordListView
from core.parsing import InputRefusedError
from delivery.data import (
    CHANNELS_OF,
    UNKNOWN_OUTCOME_RULES,
    UNKNOWN_OUTCOME_WORDS,
    Actor,
    Channel,
    ConnectorKind,
    DeliveryState,
)
from delivery.forms import EndpointForm
from delivery.models import Connector, Delivery, Endpoint, Notification, OutsideWatch
from delivery.navigation import may_view
from delivery.selectors import (
    attempts_of,
    connectors,
    deliveries,
    delivery_by_reference,
    endpoint_by_slug,
    endpoints,
    notifications_for,
    outside_watches,
)
from delivery.services import (
    create_endpoint,
    disable_endpoint,
    enable_endpoint,
    mark_all_read,
    mark_read,
    redeliver,
    rotate_endpoint_secret,
)


def actor_of(request: HttpRequest) -> Actor:
    """Return who makes the request."""
    actor: Actor = request.principal  # type: ignore[attr-defined]
    return actor


def _watch_state(watch: OutsideWatch) -> str:
    if watch.last_error:
        return "failing" if not watch.last_error.startswith("withheld") else "withheld"
    return "ok" if watch.last_word_at else "waiting"


def _about_address(delivery: Delivery) -> str:
    kind, _, reference = delivery.about.partition(":")
    return f"/incidents/{reference}/" if kind == "incident" else ""


class DeliveryListView(RecordListView):
    """What left the site, and what did not."""

    title = "Deliveries"
    intro = "Everything that leaves the site: each message once, with every try."
    noun = "deliveries"
    columns = (
        Column(
            "subject",
            "Subject",
            lambda d: d.subject,
            kind="strong",
            href=lambda d: reverse("delivery:delivery_detail", args=[d.reference]),
        ),
        Column("state", "State", lambda d: d.state, kind="state", order_by=("state",)),
        Column("channel", "Channel", lambda d: d.channel, order_by=("channel",)),
        Column("address", "To", lambda d: getattr(d, "receiver", d.address), order_by=("address",)),
        Column("about", "About", lambda d: d.about.removeprefix("incident:"), href=_about_address, wide_only=True),
        Column("tries", "Tries", lambda d: d.tries, kind="number", order_by=("tries",)),
        Column("created", "Created", lambda d: d.created_at, kind="time", order_by=("pk",)),
        Column("error", "Last error", lambda d: d.last_error, wide_only=True),
        Column(
            "reference",
            "Reference",
            lambda d: d.reference,
            kind="code",
            href=lambda d: reverse("delivery:delivery_detail", args=[d.reference]),
            wide_only=True,
        ),
    )
    filters = (
        Filter("state", "State", [(one.value, one.value) for one in DeliveryState]),
        Filter("channel", "Channel", [(one.value, one.value) for one in Channel]),
    )
    search_fields = ("subject", "address", "about", "idempotency_key")
    default_sort = "-created"
    counted_up_to = 10_000
    refresh_seconds = 10
    empty = Empty("Nothing has left the site yet.")

    def may_view(self, principal: Any) -> bool:
        return may_view(principal)

    def get_records(self) -> QuerySet[Delivery]:
        return deliveries(viewer=actor_of(self.request))

    def prepare(self, records: Sequence[Any]) -> None:
        """Name people who are told in the site, in one question for the page."""
        numbers = {row: int(key) for row in records if (key := row.address.removeprefix("user:")).isdecimal()}
        people = get_user_model().objects.in_bulk(set(numbers.values())) if numbers else {}
        for row, number in numbers.items():
            if row.channel == Channel.IN_APP and number in people:
                row.receiver = str(people[number])


class DeliveryDetailView(LoginRequiredMixin, View):
    """One delivery with its attempts; POST delivers it again."""

    def get(self, request: HttpRequest, reference: str) -> HttpResponse:
        delivery = self._load(reference)
        rule = UNKNOWN_OUTCOME_RULES[Channel(delivery.channel)]
        context = {
            "title": delivery.subject,
            "delivery": delivery,
            "attempts": list(attempts_of(delivery=delivery)),
            "rule": UNKNOWN_OUTCOME_WORDS[rule],
            # The text of a page holds a link by which its receiver acknowledges, so only the receiver sees it.
            "text": "" if delivery.channel == Channel.EMAIL else delivery.text,
            "may_edit": actor_of(request).may("delivery.edit") and delivery.channel != Channel.IN_APP,
        }
        return render(request, "delivery/delivery_detail.html", context)

    def post(self, request: HttpRequest, reference: str) -> HttpResponse:
        redeliver(principal=actor_of(request), delivery=self._load(reference))
        messages.success(request, "It goes out again, with the same identity.")
        return redirect("delivery:delivery_detail", reference)

    def _load(self, reference: str) -> Delivery:
        delivery = delivery_by_reference(viewer=actor_of(self.request), reference=reference)
        if delivery is None:
            raise Http404(f"There is no delivery {reference}.")
        return delivery


class EndpointListView(RecordListView):
    """Receivers of signed webhooks."""

    title = "Webhooks"
    intro = "Receivers of signed webhooks (Standard Webhooks). A receiver that fails is waited for, not forgotten."
    noun = "webhook endpoints"
    columns = (
        Column(
            "name",
            "Name",
            lambda e: e.name,
            kind="strong",
            order_by=("slug",),
            href=lambda e: reverse("delivery:endpoint_detail", args=[e.slug]),
        ),
        Column("state", "State", lambda e: e.state, kind="state", order_by=("state",)),
        Column("circuit", "Circuit", lambda e: e.circuit),
        Column("url", "Address", lambda e: e.url),
        Column("kinds", "Events", lambda e: " ".join(e.event_kinds)),
    )
    search_fields = ("slug", "name", "url")
    default_sort = "name"
    empty = Empty("No endpoint exists. Add one to send events to other systems.")

    def may_view(self, principal: Any) -> bool:
        return may_view(principal)

    def get_records(self) -> QuerySet[Endpoint]:
        return endpoints(viewer=actor_of(self.request))

    def get_actions(self) -> Sequence[Action]:
        if actor_of(self.request).may("delivery.edit"):
            return (Action("Add a webhook", reverse("delivery:endpoint_create"), icon="plus"),)
        return ()


class ConnectorListView(RecordListView):
    """The services that carry messages."""

    title = "Connectors"
    intro = "Slack, Teams, SMS and voice, and what Apprise reaches. Their settings are encrypted and shown nowhere."
    noun = "connectors"
    columns = (
        Column("name", "Name", lambda c: c.slug, kind="strong", order_by=("slug",)),
        Column("kind", "Kind", lambda c: c.kind, order_by=("kind",)),
        Column("channels", "Carries", lambda c: ", ".join(CHANNELS_OF[ConnectorKind(c.kind)])),
        Column("allow", "Allowed private hosts", lambda c: " ".join(c.allow), wide_only=True),
        Column("created", "Set up", lambda c: c.created_at, kind="time", order_by=("created_at",)),
    )
    search_fields = ("slug",)
    default_sort = "name"
    empty = Empty(
        "No connector exists. Pages go out in the site and by mail until one does.",
        command=".venv/bin/python manage.py delivery connect ops --kind slack "
        "--setting bot_token=- --setting signing_secret=-",
    )

    def may_view(self, principal: Any) -> bool:
        return may_view(principal)

    def get_records(self) -> QuerySet[Connector]:
        return connectors(viewer=actor_of(self.request))


class OutsideWatchListView(RecordListView):
    """Who outside is told that this site lives."""

    title = "Outside watch"
    intro = "Somebody outside hears from this site regularly, and calls for help when the word stays out."
    noun = "outside watches"
    columns = (
        Column("name", "Name", lambda w: w.slug, kind="strong", order_by=("slug",)),
        Column("state", "State", _watch_state, kind="state"),
        Column("every", "Every", lambda w: w.every, kind="duration", order_by=("every",)),
        Column("word", "Last word", lambda w: w.last_word_at, kind="time", order_by=("last_word_at",)),
        Column("error", "Last error", lambda w: w.last_error),
    )
    search_fields = ("slug",)
    default_sort = "name"
    empty = Empty(
        "Nobody outside watches. When this machine stops, nobody is told.",
        command=".venv/bin/python manage.py delivery watch second-site "
        "--url https://other.example.org/inbound/heartbeat/TOKEN --every 60",
    )

    def may_view(self, principal: Any) -> bool:
        return may_view(principal)

    def get_records(self) -> QuerySet[OutsideWatch]:
        return outside_watches(viewer=actor_of(self.request))


class EndpointCreateView(LoginRequiredMixin, View):
    """Add an endpoint; its secret is shown once, on the page that follows."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.user.is_authenticated and not actor_of(request).may("delivery.edit"):
            raise PermissionDenied("Adding a webhook needs the role admin.")
        return super().dispatch(request, *args, **kwargs)

    def get(self, _: HttpRequest) -> HttpResponse:
        return self._page(EndpointForm())

    def post(self, request: HttpRequest) -> HttpResponse:
        form = EndpointForm(request.POST)
        if form.is_valid():
            data = form.cleaned_data
            try:
                endpoint = create_endpoint(
                    principal=actor_of(request),
                    slug=data["slug"],
                    url=data["url"],
                    event_kinds=data["event_kinds"].split(),
                    allow=data["allow"].replace(",", " ").split(),
                )
            except InputRefusedError as error:
                form.add_error(None, str(error))
            else:
                return _with_secret(request, endpoint)
        return self._page(form)

    def _page(self, form: EndpointForm) -> HttpResponse:
        context = {"title": "Add a webhook", "form": form, "cancel_url": reverse("delivery:endpoint_list")}
        return render(self.request, "delivery/endpoint_create.html", context)


class EndpointDetailView(LoginRequiredMixin, View):
    """One endpoint; POST rotates its secret, switches it on or off."""

    def get(self, request: HttpRequest, slug: str) -> HttpResponse:
        return _endpoint_page(request, self._load(slug))

    def post(self, request: HttpRequest, slug: str) -> HttpResponse:
        endpoint = self._load(slug)
        actor = actor_of(request)
        step = request.POST.get("step", "")
        if step == "rotate":
            return _with_secret(request, rotate_endpoint_secret(principal=actor, endpoint=endpoint))
        if step == "disable":
            disable_endpoint(principal=actor, endpoint=endpoint, reason=f"switched off by {actor.label}")
        elif step == "enable":
            enable_endpoint(principal=actor, endpoint=endpoint)
        return redirect("delivery:endpoint_detail", slug)

    def _load(self, slug: str) -> Endpoint:
        endpoint = endpoint_by_slug(viewer=actor_of(self.request), slug=slug)
        if endpoint is None:
            raise Http404(f"There is no webhook endpoint {slug}.")
        return endpoint


def _with_secret(request: HttpRequest, endpoint: Endpoint) -> HttpResponse:
    response = _endpoint_page(request, endpoint, secret=endpoint.secret)
    response["Cache-Control"] = "no-store"
    return response


def _endpoint_page(request: HttpRequest, endpoint: Endpoint, *, secret: str = "") -> HttpResponse:
    recent = deliveries(viewer=actor_of(request), channel=Channel.WEBHOOK).filter(address=endpoint.slug)[:20]
    context = {
        "title": endpoint.name,
        "endpoint": endpoint,
        "secret": secret,
        "recent": list(recent),
        "may_edit": actor_of(request).may("delivery.edit"),
    }
    return render(request, "delivery/endpoint_detail.html", context)


def _opened_by(note: Notification) -> str:
    return reverse("delivery:notification_open", args=[note.pk])


class NotificationListView(RecordListView):
    """What the site has to say to the reader."""

    title = "Notifications"
    intro = "What the site had to tell you."
    noun = "notifications"
    template_name = "delivery/notification_list.html"
    columns = (
        Column("title", "Title", lambda n: n.title, kind="strong", href=_opened_by),
        Column("text", "Text", lambda n: n.text),
        Column("read", "State", lambda n: "read" if n.read_at else "unread", kind="state"),
        Column("created", "When", lambda n: n.created_at, kind="time", order_by=("created_at",)),
    )
    search_fields = ("title", "text")
    default_sort = "-created"
    refresh_seconds = 10
    empty = Empty("Nothing has been said to you yet.")

    def get_records(self) -> QuerySet[Notification]:
        return notifications_for(recipient=actor_of(self.request).reference)

    def row_tone(self, record: Notification) -> str:
        return "" if record.read_at else "active"


class NotificationReadView(LoginRequiredMixin, View):
    """Mark as read. GET opens the thing that a notification is about and marks it on the way; POST marks all."""

    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        recipient = actor_of(request).reference
        note = notifications_for(recipient=recipient).filter(pk=pk).first()
        if note is None:
            raise Http404("This notification is not yours.")
        mark_read(recipient=recipient, notification_id=note.pk)
        if note.link and url_has_allowed_host_and_scheme(note.link, allowed_hosts=None):
            return redirect(note.link)
        return redirect("delivery:notification_list")

    def post(self, request: HttpRequest) -> HttpResponse:
        mark_all_read(recipient=actor_of(request).reference)
        return redirect("delivery:notification_list")
