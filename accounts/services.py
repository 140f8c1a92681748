"""Changes to people and rights, and the one permission check."""

from django.core.exceptions import PermissionDenied

from accounts.data import Capability, Principal
from accounts.domain.permissions import ROLE_CAPABILITIES


def ensure_may(principal: Principal, capability: Capability, *, team_id: int | None = None) -> None:
    """Raise PermissionDenied, naming the roles that may, unless the principal may."""
    if not principal.may(capability, team_id=team_id):
        roles = ", ".join(role.value for role, held in ROLE_CAPABILITIES.items() if capability in held)
        raise PermissionDenied(f"{principal.label} may not do this ({capability.value}); allowed for: {roles}.")
