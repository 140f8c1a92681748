"""What comes back from chat and phone: buttons and the command of Slack, texts and keys of a Twilio-compatible API."""

import logging
import re
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

import orjson
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from accounts.data import Principal
from accounts.selectors import people, principal_for_user
from core.clock import database_now
from core.parsing import InputRefusedError
from delivery.data import Channel
from delivery.selectors import connector_by_slug
from delivery.services import connector_signing, twilio_signature_fits
from incidents.data import IncidentStatus, Severity
from incidents.models import ContactMethod, Incident
from incidents.selectors import incident_by_reference, incidents_visible, on_call_now
from incidents.services import Opening, acknowledge_incident, open_incident, person_of_link, resolve_incident

logger = logging.getLogger(__name__)

HELP = "Use: list, open TITLE, ack INC-3, resolve INC-3 [REASON], oncall [SCHEDULE]."
LARGEST = 64 * 1024
PHONE = re.compile(r"^\+?[0-9]{3,20}$")


@method_decorator(csrf_exempt, name="dispatch")
class SlackView(View):
    """`/slack/action` for buttons and `/slack/command` for `/incident`; both signed by Slack, else 401."""

    http_method_names = ["post"]

    def post(self, request: HttpRequest, what: str) -> HttpResponse:
        body = request.read(LARGEST)
        connector = connector_signing(
            timestamp=request.headers.get("X-Slack-Request-Timestamp", ""),
            body=body,
            signature=request.headers.get("X-Slack-Signature", ""),
            now=database_now().timestamp(),
        )
        if connector is None:
            return JsonResponse({"detail": "unknown sender"}, status=401)
        form = {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}
        try:
            text = self._act(form, connector.slug) if what == "action" else self._command(form, connector.slug)
        except (InputRefusedError, PermissionDenied) as error:
            text = str(error)
        return JsonResponse({"response_type": "ephemeral", "replace_original": False, "text": text})

    def _act(self, form: dict[str, str], connector: str) -> str:
        try:
            payload: Any = orjson.loads(form.get("payload", ""))
            action = payload["actions"][0]
            user = str(payload["user"]["id"])
        except (orjson.JSONDecodeError, KeyError, IndexError, TypeError):
            return "This is no action of Assay."
        named = person_of_link(str(action.get("value", ""))) if action.get("action_id") == "acknowledge" else None
        if named is None:
            return "There is nothing to acknowledge behind this button."
        incident, _ = named
        who = _person_at(Channel.SLACK, f"{connector}/{user}")
        if who is None:
            return _unknown_person(connector, user)
        return _acknowledged(who, incident, "Slack")

    def _command(self, form: dict[str, str], connector: str) -> str:
        user = form.get("user_id", "")
        who = _person_at(Channel.SLACK, f"{connector}/{user}")
        if who is None:
            return _unknown_person(connector, user)
        verb, _, rest = form.get("text", "").strip().partition(" ")
        match verb:
            case "list":
                rows = incidents_visible(viewer=who).exclude(status=IncidentStatus.RESOLVED)[:20]
                return (
                    "\n".join(f"{one.reference} {one.severity.upper()} {one.status}: {one.title}" for one in rows)
                    or "No incident is open."
                )
            case "open" if rest:
                opened = open_incident(principal=who, opening=Opening(title=rest, severity=Severity.SEV3))
                return f"{opened.reference} is open: {settings.SITE_URL.rstrip('/')}/incidents/{opened.reference}/"
            case "ack" | "resolve" if rest:
                return self._settle(who, verb, rest)
            case "oncall":
                found = on_call_now(schedule_slug=rest.strip())
                return "\n".join(f"{one.schedule}: {one.name} ({one.why})" for one in found) or "Nobody is on call."
        return HELP

    @staticmethod
    def _settle(who: Principal, verb: str, rest: str) -> str:
        reference, _, reason = rest.strip().partition(" ")
        incident = incident_by_reference(reference=reference, viewer=who)
        if incident is None:
            return f"There is no incident {reference}, or not for you."
        if verb == "ack":
            return _acknowledged(who, incident, "Slack")
        resolve_incident(principal=who, incident=incident, reason=reason)
        return f"{incident.reference} is resolved."


@method_decorator(csrf_exempt, name="dispatch")
class TextMessageView(View):
    """A text that somebody sends back: `1` acknowledges what they were paged for last, `1 INC-3` that one."""

    http_method_names = ["post"]

    def post(self, request: HttpRequest, slug: str) -> HttpResponse:
        form = {name: str(value) for name, value in request.POST.items()}
        connector = connector_by_slug(slug=slug)
        url = f"{settings.SITE_URL.rstrip('/')}{request.get_full_path()}"
        signature = request.headers.get("X-Twilio-Signature", "")
        if connector is None or not twilio_signature_fits(connector=connector, url=url, form=form, signature=signature):
            return HttpResponse("unknown sender", status=401)
        return _twiml("Message", self._answer(slug, form.get("From", ""), form.get("Body", "").strip()))

    @staticmethod
    def _answer(slug: str, number: str, text: str) -> str:
        who = _person_at(Channel.SMS, f"{slug}/{number}") if PHONE.match(number) else None
        if who is None:
            return "This number belongs to nobody here."
        first, _, reference = text.partition(" ")
        if first.lower() not in {"1", "ack"}:
            return "Reply 1 to acknowledge."
        waiting = Incident.objects.filter(status=IncidentStatus.TRIGGERED, pages__user_id=who.user_id or 0)
        if reference:
            incident = incident_by_reference(reference=reference.strip(), viewer=who)
        else:
            incident = waiting.order_by("-pages__pk").first()
        if incident is None:
            return "Nothing waits for you."
        try:
            return _acknowledged(who, incident, "SMS")
        except PermissionDenied as error:
            return str(error)


@method_decorator(csrf_exempt, name="dispatch")
class VoiceCallView(View):
    """What a call says, and the key that acknowledges; the signed token in the address names incident and person."""

    http_method_names = ["post"]

    def post(self, request: HttpRequest, token: str) -> HttpResponse:
        if token == "test":  # noqa: S105 the word, not a secret
            return _twiml("Say", "This is a test page from Assay. Nothing is wrong.")
        named = person_of_link(token)
        user = people().filter(pk=named[1], is_active=True).first() if named else None
        if named is None or user is None:
            return _twiml("Say", "This page is no longer valid.")
        incident, _ = named
        if request.POST.get("Digits") == "1":
            return _twiml("Say", _acknowledged(principal_for_user(user=user), incident, "call"))
        words = f"{incident.severity}. {incident.title}. Press 1 to acknowledge."
        again = escape(f"{settings.SITE_URL.rstrip('/')}{request.path}", {'"': "&quot;"})
        inside = f'<Gather numDigits="1" action="{again}" method="POST"><Say>{escape(words)}</Say></Gather>'
        return HttpResponse(f"<Response>{inside}<Say>Nobody pressed a key.</Say></Response>", content_type="text/xml")


def _acknowledged(who: Principal, incident: Incident, via: str) -> str:
    acknowledge_incident(principal=who, incident=incident, via=via)
    if incident.acknowledged_by_id == who.user_id:
        return f"You have acknowledged {incident.reference}: {incident.title}."
    return f"{incident.reference} was taken on already."


def _person_at(channel: Channel, address: str) -> Principal | None:
    found = ContactMethod.objects.select_related("user").filter(channel=channel, address=address, user__is_active=True)
    method = found.first()
    return principal_for_user(user=method.user) if method is not None else None


def _unknown_person(connector: str, user: str) -> str:
    return f"Nobody has said that they are {user} here. Add {connector}/{user} under My on-call, then try again."


def _twiml(verb: str, text: str) -> HttpResponse:
    return HttpResponse(f"<Response><{verb}>{escape(text)}</{verb}></Response>", content_type="text/xml")
