"""Hand a message to Slack, to a Teams workflow, or to a Twilio-compatible API. No database here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import requests

from core.http import guarded_session
from delivery.channels import EXCERPT, Outcome, retry_after_of

TIMEOUT_SECONDS = 10.0
SLACK_API = "https://slack.com/api"
TWILIO_API = "https://api.twilio.com"
LONGEST_SMS = 640
TEAMS_BYTES = 28_000
# Codes of Slack after which another try cannot help.
SLACK_PERMANENT = frozenset(
    {"invalid_auth", "account_inactive", "token_revoked", "not_in_channel", "channel_not_found", "is_archived"}
)


@dataclass(frozen=True)
class Message:
    """What is sent. `acknowledge` is a signed token, `acknowledge_url` the page that takes it."""

    reference: str
    target: str
    subject: str
    text: str
    link: str = ""
    acknowledge: str = ""
    acknowledge_url: str = ""
    voice_url: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    allow: tuple[str, ...] = ()


def send_slack(message: Message, *, now: datetime) -> Outcome:
    """Post to a channel or person by `chat.postMessage`; 200 with `ok: false` is a failure that is told by its code."""
    blocks: list[dict[str, Any]] = [
        {
            "type": "section",
            "text": {"type": "mrkdwn", "text": f"*{_escaped(message.subject)}*\n{_escaped(message.text)}"[:2900]},
        }
    ]
    buttons: list[dict[str, Any]] = []
    if message.acknowledge:
        text = {"type": "plain_text", "text": "Acknowledge"}
        value = message.acknowledge
        buttons.append({"type": "button", "action_id": "acknowledge", "style": "primary", "text": text, "value": value})
    if message.link:
        buttons.append(
            {"type": "button", "action_id": "open", "text": {"type": "plain_text", "text": "Open"}, "url": message.link}
        )
    if buttons:
        blocks.append({"type": "actions", "elements": buttons})
    body = {
        "channel": message.target,
        "text": message.subject[:2900],
        "blocks": blocks,
        "metadata": {"event_type": "assay_delivery", "event_payload": {"reference": message.reference}},
    }
    headers = {"Authorization": f"Bearer {message.settings.get('bot_token', '')}"}
    url = f"{message.settings.get('api_url') or SLACK_API}/chat.postMessage"
    found = _post(message, url, now, json=body, headers=headers)
    if isinstance(found, Outcome):
        return found
    answer = _json_of(found)
    if answer.get("ok") is True:
        return Outcome(accepted=True, http_status=found.status_code, response_excerpt=found.text[:EXCERPT])
    code = str(answer.get("error", "an answer that is not understood"))
    return Outcome(
        accepted=False, error=f"Slack said {code}", http_status=found.status_code, permanent=code in SLACK_PERMANENT
    )


def send_teams(message: Message, *, now: datetime) -> Outcome:
    """Post an adaptive card to a workflow's address."""
    body: list[dict[str, Any]] = [
        {"type": "TextBlock", "text": message.subject, "weight": "bolder", "wrap": True},
        {"type": "TextBlock", "text": message.text[: TEAMS_BYTES // 4], "wrap": True},
    ]
    links = [("Acknowledge", message.acknowledge_url), ("Open", message.link)]
    actions = [{"type": "Action.OpenUrl", "title": title, "url": url} for title, url in links if url]
    content = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
        "actions": actions,
    }
    card = {"contentType": "application/vnd.microsoft.card.adaptive", "content": content}
    found = _post(message, message.settings["url"], now, json={"type": "message", "attachments": [card]})
    if isinstance(found, Outcome):
        return found
    return Outcome(accepted=True, http_status=found.status_code, response_excerpt=found.text[:EXCERPT])


def send_sms(message: Message, *, now: datetime) -> Outcome:
    """Send a text; it ends in the delivery's reference, by which the provider can be asked for it afterwards."""
    tail = f"\nReply 1 to acknowledge. ({message.reference})" if message.acknowledge else f"\n({message.reference})"
    text = f"{message.subject}\n{message.text}"[: LONGEST_SMS - len(tail)] + tail
    return _twilio(message, "Messages", {"Body": text}, now)


def place_call(message: Message, *, now: datetime) -> Outcome:
    """Call; what is said and which key acknowledges is fetched by the provider from this site."""
    return _twilio(message, "Calls", {"Url": message.voice_url, "Method": "POST"}, now)


def was_text_sent(message: Message, *, since: datetime) -> bool | None:
    """Ask the provider whether it has this text; None when it does not answer."""
    settings = message.settings
    url = f"{settings.get('api_url') or TWILIO_API}/2010-04-01/Accounts/{settings['account_sid']}/Messages.json"
    query = {"To": message.target, "DateSent>": f"{since - timedelta(days=1):%Y-%m-%d}", "PageSize": "100"}
    try:
        with guarded_session(allow=message.allow, timeout_seconds=TIMEOUT_SECONDS, max_bytes=2_000_000) as session:
            answer = session.get(url, params=query, auth=(settings["account_sid"], settings["auth_token"]))
    except requests.RequestException:
        return None
    if answer.status_code != 200:
        return None
    return any(f"({message.reference})" in str(one.get("body", "")) for one in _json_of(answer).get("messages", []))


def _twilio(message: Message, what: str, form: dict[str, str], now: datetime) -> Outcome:
    settings = message.settings
    url = f"{settings.get('api_url') or TWILIO_API}/2010-04-01/Accounts/{settings['account_sid']}/{what}.json"
    data = {"To": message.target, "From": settings["from_number"], **form}
    found = _post(message, url, now, data=data, auth=(settings["account_sid"], settings["auth_token"]))
    if isinstance(found, Outcome):
        return found
    sid = str(_json_of(found).get("sid", ""))
    return Outcome(accepted=True, http_status=found.status_code, response_excerpt=f"accepted as {sid}"[:EXCERPT])


def _post(message: Message, url: str, now: datetime, **options: Any) -> requests.Response | Outcome:
    """Post once and return the answer if it is 2xx, else what became of the try."""
    try:
        with guarded_session(allow=message.allow, timeout_seconds=TIMEOUT_SECONDS, max_bytes=256 * 1024) as session:
            response = session.post(url, **options)
    except requests.RequestException as error:
        return Outcome(accepted=False, error=f"{type(error).__name__}: {_without(str(error), message)}")
    status = response.status_code
    if 200 <= status < 300:
        return response
    return Outcome(
        accepted=False,
        error=f"it answered {status}: {_json_of(response).get('message', '')}".rstrip(": "),
        http_status=status,
        response_excerpt=response.text[:EXCERPT],
        retry_after=retry_after_of(response.headers.get("Retry-After", ""), now=now),
        permanent=400 <= status < 500 and status not in {408, 409, 425, 429},
    )


def _json_of(response: requests.Response) -> dict[str, Any]:
    try:
        found = response.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _without(text: str, message: Message) -> str:
    """Return an error without the secrets that an address may hold."""
    for value in message.settings.values():
        if len(value) > 8:
            text = text.replace(value, "…").replace(value.partition("://")[2] or value, "…")
    return text.partition("?")[0][:300]


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
