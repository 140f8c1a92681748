"""One's own shifts, absences and calendar; what people do on a schedule; the calendar feed itself."""

from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views import View

from core.clock import database_now
from core.parsing import InputRefusedError
from delivery.data import Channel
from incidents.forms import CalendarForm, ContactForm, SpanForm
from incidents.models import Schedule
from incidents.selectors import schedules, shifts_between
from incidents.selectors.oncall import absences_between, rules_of, swap_requests_open
from incidents.services import (
    add_absence,
    cancel_swap,
    end_override,
    feed_for,
    import_absences,
    import_overrides,
    make_feed,
    remove_rule,
    request_swap,
    save_contact_method,
    send_test_page,
    take_swap,
)
from incidents.views.access import RoomView

AHEAD = timedelta(weeks=4)


class MyOnCallView(RoomView):
    """What concerns the reader."""

    def get(self, request: HttpRequest) -> HttpResponse:
        return self._page(request)

    def post(self, request: HttpRequest) -> HttpResponse:
        step = request.POST.get("step", "")
        try:
            if step == "feed":
                return self._page(request, address=make_feed(principal=self.principal, schedule=None))
            if step == "absence":
                self._absence(request)
            elif step == "import":
                self._import(request)
            elif step == "rule":
                self._rule(request)
            elif step == "remove-rule" and request.POST.get("rule", "").isdecimal():
                remove_rule(principal=self.principal, rule_id=int(request.POST["rule"]))
            elif step == "test":
                count = send_test_page(principal=self.principal, mail=getattr(request.user, "email", ""))
                messages.success(request, f"A test page goes out by {count} ways.")
        except InputRefusedError as error:
            messages.error(request, f"Nothing was changed: {error}")
        return redirect("incidents:my_oncall")

    def _absence(self, request: HttpRequest) -> None:
        form = SpanForm(request.POST)
        if not form.is_valid():
            messages.error(request, "Nothing was noted: it needs a start and an end.")
            return
        data = form.cleaned_data
        add_absence(
            principal=self.principal, starts_at=data["starts_at"], ends_at=data["ends_at"], title=data["reason"]
        )

    def _import(self, request: HttpRequest) -> None:
        form = CalendarForm(request.POST, request.FILES)
        if not form.is_valid():
            messages.error(request, "Nothing was read: choose a calendar file.")
            return
        raw = form.cleaned_data["calendar"].read()
        count = import_absences(principal=self.principal, raw=raw, zone=timezone.get_current_timezone_name())
        messages.success(request, f"{count} absences of the coming year were read.")

    def _rule(self, request: HttpRequest) -> None:
        form = ContactForm(request.POST)
        if not form.is_valid():
            messages.error(request, "Nothing was added: a way needs a channel, an address and a delay.")
            return
        data = form.cleaned_data
        save_contact_method(
            principal=self.principal,
            channel=Channel(data["channel"]),
            address=data["address"],
            delay=timedelta(minutes=data["after_minutes"]),
            severities=data["severities"],
        )

    def _page(self, request: HttpRequest, *, address: str = "") -> HttpResponse:
        now = database_now()
        name = request.user.get_username()
        shown = schedules(viewer=self.principal).prefetch_related("versions", "overrides__user")
        found = [
            (one, shift)
            for one in shown
            for shift in shifts_between(schedule=one, start=now, end=now + AHEAD)
            if name in shift.people
        ]
        context: dict[str, Any] = {
            "title": "My on-call",
            "intro": f"Times are in {timezone.get_current_timezone_name()}.",
            "address": address,
            "shifts": [
                {"schedule": one, "shift": shift} for one, shift in sorted(found, key=lambda pair: pair[1].starts_at)
            ],
            "absences": list(absences_between(usernames=[name], start=now, end=now + timedelta(days=365))[:50]),
            "rules": list(rules_of(user_id=self.principal.user_id)),
            "contact_form": ContactForm(),
            "span_form": SpanForm(),
            "calendar_form": CalendarForm(),
        }
        response = render(request, "incidents/my_oncall.html", context)
        if address:
            response["Cache-Control"] = "no-store"
        return response


class ScheduleActionView(RoomView):
    """POST one step on a schedule: swap, take-swap, end-override, import, feed."""

    http_method_names = ["post"]

    def post(self, request: HttpRequest, slug: str, step: str) -> HttpResponse:
        schedule = schedules(viewer=self.principal).filter(slug=slug).first()
        if schedule is None or step not in {"swap", "take-swap", "end-override", "import", "feed"}:
            raise Http404(f"There is no schedule {slug}, or not for you, or {step} is no step.")
        try:
            if step == "feed":
                messages.success(request, make_feed(principal=self.principal, schedule=schedule))
            elif step == "swap":
                self._swap(request, schedule)
            elif step == "take-swap":
                self._take(request, schedule)
            elif step == "end-override":
                self._end(request, schedule)
            else:
                self._import(request, schedule)
        except InputRefusedError as error:
            messages.error(request, f"Nothing was changed: {error}")
        return redirect("incidents:oncall_detail", slug)

    def _swap(self, request: HttpRequest, schedule: Schedule) -> None:
        form = SpanForm(request.POST)
        if not form.is_valid():
            messages.error(request, "Nothing was asked: it needs a start and an end.")
            return
        data = form.cleaned_data
        request_swap(
            principal=self.principal,
            schedule=schedule,
            starts_at=data["starts_at"],
            ends_at=data["ends_at"],
            reason=data["reason"],
        )
        messages.success(request, "The team has been asked.")

    def _take(self, request: HttpRequest, schedule: Schedule) -> None:
        number = request.POST.get("swap", "")
        swap = swap_requests_open(schedule=schedule).filter(pk=int(number) if number.isdecimal() else 0).first()
        if swap is None:
            messages.error(request, "It has been settled meanwhile.")
        elif swap.requester_id == self.principal.user_id:
            cancel_swap(principal=self.principal, swap=swap)
        else:
            override = take_swap(principal=self.principal, swap=swap)
            messages.success(request, f"You stand in for {swap.requester} ({override.reference}).")

    def _end(self, request: HttpRequest, schedule: Schedule) -> None:
        number = request.POST.get("override", "")
        found = schedule.overrides.filter(pk=int(number) if number.isdecimal() else 0, ends_at__gt=database_now())
        override = found.select_related("schedule", "user").first()
        if override is None:
            messages.error(request, "It is over already.")
            return
        name, reference = str(override.user), override.reference
        end_override(principal=self.principal, override=override)
        messages.success(request, f"{name} stands in no more ({reference}); the layers hold again.")

    def _import(self, request: HttpRequest, schedule: Schedule) -> None:
        form = CalendarForm(request.POST, request.FILES)
        if not form.is_valid():
            messages.error(request, "Nothing was read: choose a calendar file.")
            return
        raw = form.cleaned_data["calendar"].read()
        found = import_overrides(principal=self.principal, schedule=schedule, raw=raw)
        unknown = f" These titles name nobody: {', '.join(found.unknown)}." if found.unknown else ""
        messages.success(request, f"{len(found.overrides)} overrides were set.{unknown}")


class CalendarFeedView(View):
    """The calendar behind a secret address; no session is needed, and an unknown address says nothing."""

    http_method_names = ["get", "head"]

    def get(self, request: HttpRequest, token: str) -> HttpResponse:
        feed = feed_for(token=token)
        if feed is None:
            raise Http404("There is no such calendar.")
        headers = {"ETag": feed.etag, "Cache-Control": "private, max-age=300"}
        if request.headers.get("If-None-Match") == feed.etag:
            return HttpResponse(status=304, headers=headers)
        return HttpResponse(feed.content, content_type="text/calendar; charset=utf-8", headers=headers)
