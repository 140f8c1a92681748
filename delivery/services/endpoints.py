"""Look after the endpoints of signed webhooks."""

from collections.abc import Sequence
from datetime import timedelta
from urllib.parse import urlsplit

from django.db import transaction

from core.clock import database_now
from core.parsing import refuse
from core.proving import dangerous
from delivery.data import Actor, new_secret
from delivery.domain.breaker import Circuit
from delivery.models import Endpoint
from delivery.services.outbox import ensure_may_edit

OVERLAP = timedelta(hours=24)


@dangerous("add a webhook, whose secret is shown")
def create_endpoint(
    *,
    principal: Actor,
    slug: str,
    url: str,
    name: str = "",
    event_kinds: Sequence[str] = (),
    allow: Sequence[str] = (),
) -> Endpoint:
    """Create an endpoint with a fresh secret (read it from `secret`). Raises InputRefusedError, PermissionDenied."""
    ensure_may_edit(principal)
    if Endpoint.objects.filter(slug=slug).exists():
        raise refuse("slug", found=slug, allowed="a name that no endpoint has yet is allowed")
    return save_endpoint(
        principal=principal, slug=slug, url=url, name=name or slug, event_kinds=event_kinds, allow=allow
    )


@dangerous("change where a webhook goes")
def save_endpoint(
    *, principal: Actor, slug: str, url: str, name: str, event_kinds: Sequence[str], allow: Sequence[str]
) -> Endpoint:
    """Create or change an endpoint; its secret, state and circuit stay."""
    ensure_may_edit(principal)
    if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname:
        raise refuse("url", found=url, allowed="an http or https address is allowed")
    endpoint, _ = Endpoint.objects.update_or_create(
        slug=slug, defaults={"url": url, "name": name, "event_kinds": list(event_kinds), "allow": list(allow)}
    )
    return endpoint


@dangerous("give a webhook a new secret")
def rotate_endpoint_secret(*, principal: Actor, endpoint: Endpoint) -> Endpoint:
    """Give the endpoint a new secret; both sign for a day, so that the receiver can change over in between."""
    ensure_may_edit(principal)
    with transaction.atomic():
        endpoint = Endpoint.objects.select_for_update().get(pk=endpoint.pk)
        endpoint.previous_secret = endpoint.secret
        endpoint.previous_secret_until = database_now() + OVERLAP
        endpoint.secret = new_secret()
        endpoint.save(update_fields=["secret", "previous_secret", "previous_secret_until"])
    return endpoint


def disable_endpoint(*, principal: Actor, endpoint: Endpoint, reason: str) -> None:
    """Switch an endpoint off; what is due for it is given up with this reason and can be redelivered."""
    ensure_may_edit(principal)
    Endpoint.objects.filter(pk=endpoint.pk).update(
        state=Endpoint.State.DISABLED, disabled_at=database_now(), disabled_reason=reason[:200]
    )


def enable_endpoint(*, principal: Actor, endpoint: Endpoint) -> None:
    """Switch an endpoint on again with a closed circuit."""
    ensure_may_edit(principal)
    Endpoint.objects.filter(pk=endpoint.pk).update(
        state=Endpoint.State.ACTIVE,
        disabled_at=None,
        disabled_reason="",
        circuit=Circuit.CLOSED,
        circuit_until=None,
        failures_in_row=0,
    )
