"""Providers and the rules of signing in as YAML: applied together or not at all."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from django.db import transaction
from pydantic import BaseModel, ConfigDict, Field

from accounts.data import Principal, ProviderKind, Role
from accounts.services.provider_metadata import configuration_with_metadata
from accounts.services.providers import save_provider
from accounts.services.signing_in import save_sign_in_policy
from core.parsing import LineIndex, parse_document, refuse


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class _Metadata(_Strict):
    name: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=63)]
    title: Annotated[str, Field(max_length=120)] = ""


class _Mapping(_Strict):
    group: Annotated[str, Field(min_length=1, max_length=255)]
    role: Role | Literal[""] = ""
    team: Annotated[str, Field(max_length=63)] = ""


class _ProviderSpec(_Strict):
    protocol: ProviderKind
    configuration: dict[str, Any] = {}
    secret_file: Annotated[str, Field(alias="secretFile")] = ""
    secret_variable: Annotated[str, Field(alias="secretVariable")] = ""
    metadata_file: Annotated[str, Field(alias="metadataFile")] = ""
    mappings: list[_Mapping] = []
    paused: bool = False


class ProviderDocument(_Strict):
    """`kind: IdentityProvider`."""

    api_version: Annotated[Literal["assay/v1"], Field(alias="apiVersion")]
    kind: Literal["IdentityProvider"]
    metadata: _Metadata
    spec: _ProviderSpec


class _PolicySpec(_Strict):
    second_factor_roles: Annotated[list[Role], Field(alias="secondFactorRoles")] = []
    local_sign_in: Annotated[Literal["everybody", "break-glass"], Field(alias="localSignIn")] = "everybody"
    idle_minutes: Annotated[int, Field(alias="idleMinutes")] = 240
    life_hours: Annotated[int, Field(alias="lifeHours")] = 12
    fresh_minutes: Annotated[int, Field(alias="freshMinutes")] = 15


class PolicyDocument(_Strict):
    """`kind: SignInPolicy`; there is one for the site."""

    api_version: Annotated[Literal["assay/v1"], Field(alias="apiVersion")]
    kind: Literal["SignInPolicy"]
    metadata: _Metadata
    spec: _PolicySpec


KINDS: dict[str, type[ProviderDocument] | type[PolicyDocument]] = {
    "IdentityProvider": ProviderDocument,
    "SignInPolicy": PolicyDocument,
}


def apply_documents(
    *, principal: Principal, documents: Sequence[tuple[Any, LineIndex]], source: str = "documents"
) -> list[str]:
    """Apply documents of the kinds above; returns what they are about. Raises InputRefusedError; then nothing holds."""
    parsed = []
    for raw, lines in documents:
        kind = raw.get("kind") if isinstance(raw, dict) else None
        if kind not in KINDS:
            raise refuse(f"{source} kind", found=kind, allowed=f"{', '.join(KINDS)} are allowed")
        document = parse_document(KINDS[kind], raw, source=source, lines=lines)
        if isinstance(document, ProviderDocument):
            # Providers are asked before the transaction begins: it holds up others.
            document.spec.configuration = configuration_with_metadata(
                kind=document.spec.protocol, configuration=document.spec.configuration, metadata=_metadata(document)
            )
        parsed.append(document)
    return _apply(principal, parsed)


@transaction.atomic
def _apply(principal: Principal, documents: Sequence[ProviderDocument | PolicyDocument]) -> list[str]:
    applied = []
    for document in documents:
        if isinstance(document, ProviderDocument):
            spec = document.spec
            save_provider(
                principal=principal,
                slug=document.metadata.name,
                name=document.metadata.title or document.metadata.name,
                kind=spec.protocol,
                configuration=spec.configuration,
                secret=_secret(spec),
                mappings=[(one.group, str(one.role), one.team) for one in spec.mappings],
                paused=spec.paused,
            )
        elif isinstance(document, PolicyDocument):
            save_sign_in_policy(principal=principal, **document.spec.model_dump())
        applied.append(f"{document.kind} {document.metadata.name}")
    return applied


def _metadata(document: ProviderDocument) -> bytes:
    path = document.spec.metadata_file
    if not path:
        return b""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise refuse("metadataFile", found=path, allowed=f"a file to read ({error.strerror})") from None


def _secret(spec: _ProviderSpec) -> str | None:
    """Return the secret from where it lies; a document never holds it."""
    if spec.secret_file:
        try:
            return Path(spec.secret_file).read_text("utf-8").strip()
        except OSError as error:
            raise refuse("secretFile", found=spec.secret_file, allowed=f"a file to read ({error.strerror})") from None
    if spec.secret_variable:
        if spec.secret_variable not in os.environ:
            raise refuse("secretVariable", found=spec.secret_variable, allowed="a variable that is set")
        return os.environ[spec.secret_variable]
    return None
