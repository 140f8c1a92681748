"""Who acts, as every app sees it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from accounts.domain.permissions import Capability, Role, roles_allow
from accounts.domain.providers import ProviderKind


class PrincipalKind(StrEnum):
    """What a principal is."""

    USER = "user"
    TOKEN = "token"  # noqa: S105 a kind, not a secret
    SYSTEM = "system"


@dataclass(frozen=True)
class Principal:
    """Somebody or something that acts: a person, an API token on a person's behalf, or the site itself.

    `site_roles` hold everywhere; `team_roles` hold for a team (by primary key) and its services. A token's `scopes`
    narrow what its owner may do; None means not narrowed. `authenticated_at` is when a person in a browser last showed
    who they are; None for everybody else.
    """

    kind: PrincipalKind
    label: str
    user_id: int | None = None
    token_id: int | None = None
    site_roles: frozenset[Role] = frozenset()
    team_roles: Mapping[int, frozenset[Role]] = field(default_factory=dict)
    scopes: frozenset[Capability] | None = None
    authenticated_at: datetime | None = None

    def may(self, capability: Capability, *, team_id: int | None = None) -> bool:
        """Say whether the principal may; with `team_id`, for that team's things, else for the site's."""
        if self.scopes is not None and capability not in self.scopes:
            return False
        if self.kind is PrincipalKind.SYSTEM or roles_allow(self.site_roles, capability):
            return True
        return team_id is not None and roles_allow(self.team_roles.get(team_id, frozenset()), capability)

    def may_somewhere(self, capability: Capability) -> bool:
        """Say whether the principal may for the site or for at least one team (for menus and list pages)."""
        return self.may(capability) or any(self.may(capability, team_id=team) for team in self.team_roles)

    def teams_where(self, capability: Capability) -> frozenset[int] | None:
        """Return the teams for whose things the principal may; None means all (use it to filter a list)."""
        if self.may(capability):
            return None
        return frozenset(team for team in self.team_roles if self.may(capability, team_id=team))

    @property
    def reference(self) -> str:
        """A stable name for the ledger: `user:12`, `token:3`, `system:scheduler`."""
        if self.kind is PrincipalKind.SYSTEM:
            return f"system:{self.label}"
        return f"token:{self.token_id}" if self.kind is PrincipalKind.TOKEN else f"user:{self.user_id}"


def system_principal(label: str) -> Principal:
    """Return the principal for work that the site does by itself; `label` names the part (`escalation`)."""
    return Principal(kind=PrincipalKind.SYSTEM, label=label)


__all__ = ["Capability", "Principal", "PrincipalKind", "ProviderKind", "Role", "system_principal"]
