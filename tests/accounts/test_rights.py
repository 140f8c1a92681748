from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied

from accounts.data import Capability, Role, system_principal
from accounts.models import ApiToken, RoleGrant, Team, User
from accounts.selectors import live_token, principal_for_token, principal_for_user, users_with
from accounts.services import (
    LastAdminError,
    create_api_token,
    create_team,
    create_user,
    deactivate_user,
    ensure_may,
    ensure_other_person,
    grant_role,
    revoke_api_token,
    revoke_role,
    set_team_members,
    sign_in_failed,
    sign_in_is_locked,
)
from core.clock import database_now
from core.parsing import InputRefusedError
from ledger.selectors import entries

pytestmark = [pytest.mark.django_db, pytest.mark.database]

SITE = system_principal("test")


def person(username: str, *roles: Role, team: Team | None = None) -> User:
    user = create_user(principal=SITE, username=username, password=None)
    for role in roles:
        grant_role(principal=SITE, user=user, role=role, team=team)
    return user


def test_nobody_may_anything_until_a_role_says_so() -> None:
    nobody = principal_for_user(user=person("charlie"))
    assert [capability for capability in Capability if nobody.may_somewhere(capability)] == []


def test_a_role_for_a_team_opens_that_team_s_things_only() -> None:
    inference = create_team(principal=SITE, slug="inference", name="Inference")
    data = create_team(principal=SITE, slug="data", name="Data")
    alice = principal_for_user(user=person("alice", Role.RESPONDER, team=inference))
    assert alice.may(Capability.INCIDENT_RESPOND, team_id=inference.pk)
    assert not alice.may(Capability.INCIDENT_RESPOND, team_id=data.pk)
    assert not alice.may(Capability.INCIDENT_RESPOND)
    assert alice.teams_where(Capability.OPERATIONS_VIEW) == frozenset({inference.pk})


def test_the_refusal_names_the_roles_that_may() -> None:
    viewer = principal_for_user(user=person("victor", Role.VIEWER))
    with pytest.raises(PermissionDenied, match="chaos-operator"):
        ensure_may(viewer, Capability.CHAOS_RUN)


def test_an_administrator_cannot_approve() -> None:
    admin = principal_for_user(user=person("admin", Role.ADMIN))
    assert not admin.may(Capability.APPROVE)


def test_the_role_auditor_alone_opens_nothing() -> None:
    auditor = principal_for_user(user=person("ada", Role.AUDITOR))
    assert not any(auditor.may_somewhere(capability) for capability in Capability)


def test_every_change_of_rights_is_in_the_ledger() -> None:
    user = person("alice", Role.VIEWER)
    revoke_role(principal=SITE, user=user, role=Role.VIEWER)
    said = [(entry.payload or {}).get("action") for entry in entries(types=["audit.action"], subjects=["user:alice"])]
    assert said == ["role.revoked", "role.granted", "account.created"]


def test_the_last_administrator_stays() -> None:
    admin = person("admin", Role.ADMIN)
    with pytest.raises(LastAdminError):
        revoke_role(principal=SITE, user=admin, role=Role.ADMIN)
    with pytest.raises(LastAdminError):
        deactivate_user(principal=SITE, user=admin)
    person("second", Role.ADMIN)
    assert revoke_role(principal=SITE, user=admin, role=Role.ADMIN)


def test_a_stranger_cannot_grant_roles() -> None:
    stranger = person("charlie")
    with pytest.raises(PermissionDenied):
        grant_role(principal=principal_for_user(user=stranger), user=stranger, role=Role.ADMIN)
    assert not RoleGrant.objects.exists()


def test_a_token_acts_for_its_owner_within_its_scopes() -> None:
    olga = person("olga", Role.CHAOS_OPERATOR)
    token, secret = create_api_token(
        principal=principal_for_user(user=olga), owner=olga, name="ci", scopes=[Capability.OPERATIONS_VIEW]
    )
    assert secret not in str(ApiToken.objects.values())
    found = live_token(secret=secret, now=database_now())
    assert found == token
    principal = principal_for_token(token=token)
    assert principal.may(Capability.OPERATIONS_VIEW)
    assert not principal.may(Capability.CHAOS_RUN)


def test_a_revoked_an_expired_and_an_unknown_token_open_nothing() -> None:
    olga = person("olga")
    own = principal_for_user(user=olga)
    token, secret = create_api_token(principal=own, owner=olga, name="ci", scopes=[Capability.OPERATIONS_VIEW])
    assert live_token(secret=secret, now=token.expires_at + timedelta(seconds=1)) is None
    revoke_api_token(principal=own, token=token)
    assert live_token(secret=secret, now=database_now()) is None
    assert live_token(secret="assay_unknown", now=database_now()) is None


def test_a_token_without_scope_or_for_ever_is_refused() -> None:
    olga = person("olga")
    own = principal_for_user(user=olga)
    with pytest.raises(InputRefusedError, match="at least one capability"):
        create_api_token(principal=own, owner=olga, name="ci", scopes=[])
    with pytest.raises(InputRefusedError, match="366 days"):
        create_api_token(
            principal=own, owner=olga, name="ci", scopes=[Capability.OPERATIONS_VIEW], life=timedelta(days=4000)
        )


def test_four_eyes_are_two_people_even_with_a_token() -> None:
    bob = person("bob", Role.APPROVER)
    token, _ = create_api_token(
        principal=principal_for_user(user=bob), owner=bob, name="own", scopes=[Capability.APPROVE]
    )
    with pytest.raises(PermissionDenied):
        ensure_other_person(principal_for_token(token=token), requester=f"user:{bob.pk}")
    with pytest.raises(PermissionDenied):
        ensure_other_person(SITE, requester="user:999")
    ensure_other_person(principal_for_user(user=bob), requester="user:999")


def test_who_asked_by_a_token_does_not_approve_in_the_browser_nor_by_another_token() -> None:
    bob, carol = person("bob", Role.APPROVER), person("carol", Role.APPROVER)
    mine = principal_for_user(user=bob)
    asking, other = (
        principal_for_token(
            token=create_api_token(principal=mine, owner=bob, name=name, scopes=[Capability.APPROVE])[0]
        )
        for name in ("asks", "other")
    )
    for approver in (mine, asking, other):
        with pytest.raises(PermissionDenied):
            ensure_other_person(approver, requester=asking.reference)
    ensure_other_person(principal_for_user(user=carol), requester=asking.reference)
    with pytest.raises(PermissionDenied):
        ensure_other_person(principal_for_user(user=carol), requester="token:999999")


def test_an_unknown_member_changes_nothing() -> None:
    team = create_team(principal=SITE, slug="inference", name="Inference")
    person("alice")
    with pytest.raises(InputRefusedError, match="found nobody"):
        set_team_members(principal=SITE, team=team, usernames=["alice", "nobody"])
    assert not team.members.exists()


def test_people_who_may_are_found_for_the_site_and_for_a_team() -> None:
    team = create_team(principal=SITE, slug="inference", name="Inference")
    person("bob", Role.APPROVER)
    person("alice", Role.APPROVER, team=team)
    assert {user.username for user in users_with(Capability.APPROVE)} == {"bob"}
    assert {user.username for user in users_with(Capability.APPROVE, team_id=team.pk)} == {"alice", "bob"}


def test_a_name_is_locked_after_eight_failures_and_it_is_recorded() -> None:
    for _ in range(7):
        sign_in_failed(username="alice", address="192.0.2.1")
    assert not sign_in_is_locked(username="alice", address="192.0.2.1")
    sign_in_failed(username="alice", address="192.0.2.1")
    assert sign_in_is_locked(username="alice", address="203.0.113.9")
    assert not sign_in_is_locked(username="bob", address="203.0.113.9")
    assert entries(types=["access.locked_out"], subjects=["username:alice"]).count() == 1
