"""Reads about people and their rights."""

from collections import defaultdict

from accounts.data import Principal, PrincipalKind
from accounts.domain.permissions import Role
from accounts.models import RoleGrant, User


def principal_for_user(*, user: User) -> Principal:
    """Return what a signed-in person may do, read in one query."""
    site: set[Role] = set()
    teams: dict[int, set[Role]] = defaultdict(set)
    for grant in RoleGrant.objects.filter(user=user).only("role", "team_id"):
        if grant.team_id is None:
            site.add(Role(grant.role))
        else:
            teams[grant.team_id].add(Role(grant.role))
    return Principal(
        kind=PrincipalKind.USER,
        label=str(user),
        user_id=user.pk,
        site_roles=frozenset(site),
        team_roles={team: frozenset(roles) for team, roles in teams.items()},
    )
