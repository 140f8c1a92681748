"""Hand one message to the outside and say what became of it. No database here."""

import smtplib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import orjson
import requests
from django.conf import settings
from django.core.mail import EmailMessage, get_connection

from core.http import guarded_session
from delivery.domain.standard_webhooks import signature_header

WEBHOOK_TIMEOUT_SECONDS = 15.0
SMTP_TIMEOUT_SECONDS = 15.0
EXCERPT = 500


@dataclass(frozen=True)
class Outcome:
    """What became of one try. `permanent` says that trying again cannot help; `gone` that the receiver said 410."""

    accepted: bool
    error: str = ""
    http_status: int | None = None
    response_excerpt: str = ""
    retry_after: timedelta | None = None
    permanent: bool = False
    gone: bool = False


@dataclass(frozen=True)
class Webhook:
    """A signed request, ready to go."""

    url: str
    message_id: str
    body: bytes
    live_secrets: tuple[str, ...]
    allow: tuple[str, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)


def webhook_body(payload: dict[str, Any]) -> bytes:
    """Return the bytes that are sent and signed; the same payload gives the same bytes at every try."""
    return orjson.dumps(payload, option=orjson.OPT_SORT_KEYS)


def send_webhook(webhook: Webhook, *, now: datetime) -> Outcome:
    """Post once. 2xx is accepted; redirects are not followed; 410 means gone; everything else may be tried again."""
    timestamp = int(now.timestamp())
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Assay-Webhook/1",
        "webhook-id": webhook.message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature_header(
            webhook.live_secrets, message_id=webhook.message_id, timestamp=timestamp, body=webhook.body
        ),
    }
    try:
        with guarded_session(
            allow=webhook.allow, timeout_seconds=WEBHOOK_TIMEOUT_SECONDS, max_bytes=64 * 1024
        ) as session:
            response = session.post(webhook.url, data=webhook.body, headers=headers)
    except requests.RequestException as error:
        return Outcome(accepted=False, error=f"{type(error).__name__}: {error}")
    status = response.status_code
    excerpt = response.text[:EXCERPT]
    if 200 <= status < 300:
        return Outcome(accepted=True, http_status=status, response_excerpt=excerpt)
    return Outcome(
        accepted=False,
        error=f"the receiver answered {status}",
        http_status=status,
        response_excerpt=excerpt,
        retry_after=retry_after_of(response.headers.get("Retry-After", ""), now=now),
        permanent=status == 410,
        gone=status == 410,
    )


def message_id_for(idempotency_key: str) -> str:
    """Return a Message-ID that is the same for every copy of one delivery."""
    host = urlsplit(settings.SITE_URL).hostname or "localhost"
    return f"<{sha256(idempotency_key.encode()).hexdigest()[:40]}@{host}>"


def send_mail(*, to: str, subject: str, text: str, message_id: str) -> Outcome:
    """Hand one mail to the mail server, or to a file where no server is set."""
    message = EmailMessage(
        subject=" ".join(subject.split()),
        body=text,
        from_email=settings.DEFAULT_FROM_EMAIL,
        to=[to],
        headers={"Message-ID": message_id, "Auto-Submitted": "auto-generated"},
        connection=_mail_connection(settings.EMAIL_URL),
    )
    try:
        message.send()
    except smtplib.SMTPRecipientsRefused as error:
        codes = [code for code, _ in error.recipients.values()]
        return Outcome(
            accepted=False,
            error=f"the recipient was refused: {error.recipients}",
            permanent=all(c >= 500 for c in codes),
        )
    except smtplib.SMTPResponseException as error:
        text_of = error.smtp_error.decode(errors="replace") if isinstance(error.smtp_error, bytes) else error.smtp_error
        permanent = error.smtp_code >= 500 and not isinstance(error, smtplib.SMTPAuthenticationError)
        return Outcome(accepted=False, error=f"{error.smtp_code} {text_of}", permanent=permanent)
    except (OSError, smtplib.SMTPException) as error:
        return Outcome(accepted=False, error=f"{type(error).__name__}: {error}")
    return Outcome(accepted=True)


def _mail_connection(url: str) -> Any:
    if not url:
        return get_connection()
    parts = urlsplit(url)
    implicit_tls = parts.scheme == "smtps"
    port = parts.port or (465 if implicit_tls else 25)
    starttls = not implicit_tls and (port == 587 or parse_qs(parts.query).get("starttls") == ["1"])
    return get_connection(
        "django.core.mail.backends.smtp.EmailBackend",
        host=parts.hostname or "localhost",
        port=port,
        username=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        use_ssl=implicit_tls,
        use_tls=starttls,
        timeout=SMTP_TIMEOUT_SECONDS,
    )


def retry_after_of(value: str, *, now: datetime) -> timedelta | None:
    """Return the wait that a Retry-After header asks for; None when it asks for none."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return timedelta(seconds=min(int(value), 10**6))
    try:
        at = parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return None
    wait = (at if at.tzinfo else at.replace(tzinfo=UTC)) - now
    return max(wait, timedelta(0))
