"""What the groups that a provider tells of mean here."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from accounts.domain.permissions import Role


@dataclass(frozen=True)
class Mapping:
    """Who is in `group` is a member of the team, holds the role for it, or without a team for the whole site."""

    group: str
    role: Role | None = None
    team_id: int | None = None


@dataclass(frozen=True)
class Standing:
    """What somebody has from a provider: roles (with a team, or None for the site) and memberships of teams."""

    roles: frozenset[tuple[Role, int | None]] = frozenset()
    teams: frozenset[int] = frozenset()


def standing_from(groups: Collection[str], mappings: Iterable[Mapping]) -> Standing:
    """Return what these groups give; a group is compared without regard to case, as directories do."""
    told = {group.casefold() for group in groups}
    held = [one for one in mappings if one.group.casefold() in told]
    return Standing(
        roles=frozenset((one.role, one.team_id) for one in held if one.role is not None),
        teams=frozenset(one.team_id for one in held if one.team_id is not None),
    )
