"""Remote hosts and the commands that runbooks may run on them."""

import re

from django.db import transaction
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from accounts.data import Capability, Principal
from accounts.services import ensure_may
from core.parsing import load_yaml_documents, parse_document, refuse
from core.proving import dangerous
from ledger.data.access import AuditedAction
from ledger.services import record
from runbooks.models import RemoteHost


class AllowedCommand(BaseModel):
    """A command as words; `{name}` in a word is filled by an argument that matches its pattern."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    argv: list[str] = Field(min_length=1, max_length=40)
    arguments: dict[str, str] = {}
    reads: bool = False

    @field_validator("arguments")
    @classmethod
    def _compile(cls, value: dict[str, str]) -> dict[str, str]:
        for pattern in value.values():
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern}: {error}") from None
        return value

    @model_validator(mode="after")
    def _declared(self) -> "AllowedCommand":
        used = {name for word in self.argv for name in re.findall(r"\{([a-z_]+)\}", word)}
        if used != set(self.arguments):
            raise ValueError("each {name} in argv needs a pattern under arguments, and the other way round")
        return self


class HostDocument(BaseModel):
    """A remote host as code. Its private key is given beside the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    host: str = Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
    address: str = Field(pattern=r"^[A-Za-z0-9.:-]{1,253}$")
    port: int = Field(default=22, ge=1, le=65535)
    username: str = Field(pattern=r"^[a-z_][a-z0-9_.-]{0,62}$")
    host_key: str = Field(pattern=r"^(ssh-|ecdsa-)[A-Za-z0-9@.-]+ [A-Za-z0-9+/=]+( .*)?$", max_length=2000)
    commands: dict[str, AllowedCommand] = Field(min_length=1, max_length=100)


@dangerous("set remote hosts with their key")
@transaction.atomic
def apply_hosts(*, principal: Principal, text: str, source: str, private_key: str) -> list[str]:
    """Create or replace remote hosts from YAML documents, all or nothing; returns their names."""
    ensure_may(principal, Capability.SITE_ADMIN)
    if "PRIVATE KEY" not in private_key:
        raise refuse("private key", found="no key", allowed="a private key in OpenSSH or PEM form is allowed")
    names = []
    for data, lines in load_yaml_documents(text, source=source):
        found = parse_document(HostDocument, data, source=source, lines=lines)
        values = found.model_dump(exclude={"host"})
        RemoteHost.objects.update_or_create(name=found.host, defaults={**values, "private_key": private_key})
        record(
            AuditedAction(
                action="runbook.remote_host_set",
                target=found.host,
                after={"address": found.address, "commands": ", ".join(sorted(found.commands))},
            ),
            actor=principal.reference,
            subject=f"remote-host:{found.host}",
        )
        names.append(found.host)
    return names
