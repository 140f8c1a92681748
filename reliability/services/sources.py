"""Metric stores as OpenSLO documents: connecting them allows their host in the outbound guard, and is recorded."""

import copy
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationError

from accounts.data import Capability, Principal
from accounts.services import ensure_may
from core.parsing import refuse
from core.proving import dangerous
from ledger.data.slo import DataSourceDeclared
from ledger.services import record
from reliability.data import SourceSettings
from reliability.models import DataSource, Definition
from reliability.services.openslo import ConnectionDetails, DataSourceDocument

MASK = "***"
SECRETS = {"bearerToken": "bearer_token", "password": "password", "clientKey": "client_key"}
SETTINGS = SECRETS | {
    "flavour": "flavour",
    "username": "username",
    "tenant": "tenant",
    "clientCertificate": "client_certificate",
    "caCertificate": "ca_certificate",
    "replicaLabels": "replica_labels",
    "readEverySeconds": "read_every_seconds",
    "queriesPerSecond": "queries_per_second",
    "seriesLimit": "series_limit",
}


@dangerous("change a source with its credentials")
def apply_source(principal: Principal, document: DataSourceDocument, data: Any, warnings: list[str]) -> str:
    """Create or change a source. Whoever may administer the site allows its host in the outbound guard thereby."""
    details, name = document.spec.connectionDetails, document.metadata.name
    may_allow = principal.may(Capability.SITE_ADMIN)
    ensure_may(principal, Capability.SITE_ADMIN if details.allowPrivate else Capability.SLO_EDIT)
    host = _host(details.url, name)
    known = DataSource.objects.filter(slug=name).first()
    url = details.url.rstrip("/")
    # Who may not administer the site changes the title of a source, not what was allowed for its address.
    allowed = may_allow or (known is not None and known.url == url and known.allow_private)
    settings = _settings(details, known, name)
    masked = _masked(data)
    definition = Definition.objects.filter(kind="DataSource", slug=name).first()
    if (
        known is not None
        and definition is not None
        and definition.document == masked
        and known.allow_private == allowed
        and known.settings == settings
    ):
        return "unchanged"
    if not allowed:
        warnings.append(
            f"DataSource {name}: only an administrator or the command line allows a private address; {host} is reached "
            "if it is public."
        )
    DataSource.objects.update_or_create(
        slug=name,
        defaults={
            "name": document.metadata.displayName or name,
            "url": url,
            "allow_private": allowed,
            "stored_settings": settings.as_stored(),
        },
    )
    Definition.objects.update_or_create(kind="DataSource", slug=name, defaults={"document": masked})
    record(
        DataSourceDeclared(source=name, host=host, host_allowed=allowed),
        actor=principal.reference,
        subject=f"datasource:{name}",
    )
    return "created" if known is None else "changed"


@dangerous("forget a source")
def drop_source(principal: Principal, name: str) -> None:
    """Forget a source; one that old versions were counted from stays as their record, and may no longer be reached."""
    ensure_may(principal, Capability.SITE_ADMIN)
    source = DataSource.objects.filter(slug=name).first()
    if source is None:
        return
    record(
        DataSourceDeclared(source=name, host=urlsplit(source.url).hostname or "", host_allowed=False, removed=True),
        actor=principal.reference,
        subject=f"datasource:{name}",
    )
    if source.versions.exists():
        DataSource.objects.filter(pk=source.pk).update(allow_private=False, stored_settings="")
    else:
        source.delete()


def _host(url: str, name: str) -> str:
    parts = urlsplit(url)
    if parts.username or parts.query or not parts.hostname:
        raise refuse(
            f"DataSource {name} spec.connectionDetails.url",
            found=f"{parts.scheme}://{parts.hostname or ''}",
            allowed="an address without user, password and query is allowed",
        )
    return parts.hostname


def _settings(details: ConnectionDetails, known: DataSource | None, name: str) -> SourceSettings:
    """Return how to ask the source; a masked secret stays what it was."""
    values: dict[str, Any] = {}
    for key, field in SETTINGS.items():
        value = getattr(details, key)
        if isinstance(value, SecretStr) and value.get_secret_value() == MASK:
            value = getattr(known.settings, field) if known is not None else None
        if value is not None:
            values[field] = value
    try:
        return SourceSettings(**values)
    except ValidationError as error:
        message = str(error.errors(include_url=False, include_input=False)[0]["msg"])
        raise refuse(
            f"DataSource {name} spec.connectionDetails", found="what does not fit together", allowed=message
        ) from None


def _masked(data: Any) -> Any:
    document = copy.deepcopy(data)
    details = document["spec"]["connectionDetails"]
    for key in SECRETS:
        if details.get(key):
            details[key] = MASK
    return document
