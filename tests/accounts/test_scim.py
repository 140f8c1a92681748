"""SCIM 2.0 with the requests that Okta and Entra ID send; every answer is read back with the standard's own models."""

from typing import Any

import orjson
import pytest
from allauth.mfa.models import Authenticator
from django.test import Client
from scim2_models import (
    Context,
    Error,
    Group,
    ListResponse,
    ResourceType,
    Schema,
    ServiceProviderConfig,
)
from scim2_models import (
    User as ScimUser,
)

from accounts.data import Capability, ProviderKind, Role, system_principal
from accounts.models import ApiToken, DirectoryGroup, RoleGrant, Team, User
from accounts.services import (
    create_api_token,
    create_team,
    create_user,
    grant_role,
    save_provider,
    set_break_glass,
)
from core.events import Event
from ledger.selectors import entries

pytestmark = [pytest.mark.django_db, pytest.mark.database]
SITE = system_principal("test")
PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


@pytest.fixture(autouse=True)
def _directory() -> None:
    ada = create_user(principal=SITE, username="ada", password=None)
    grant_role(principal=SITE, user=ada, role=Role.ADMIN)
    create_team(principal=SITE, slug="inference", name="Inference")
    save_provider(
        principal=SITE,
        slug="okta",
        name="Okta",
        kind=ProviderKind.SCIM,
        configuration={},
        mappings=[("SRE", "responder", "inference"), ("Admins", "admin", "")],
    )


@pytest.fixture
def secret() -> str:
    return create_api_token(
        principal=SITE, owner=User.objects.get(username="ada"), name="okta", scopes=[Capability.SCIM_PROVISION]
    )[1]


def call(secret: str, method: str, path: str, body: Any = None, **headers: str) -> Any:
    given = {"Authorization": f"Bearer {secret}"} if secret else {}
    data = orjson.dumps(body) if body is not None else b""
    return Client().generic(
        method, f"/scim/v2/{path}", data, content_type="application/scim+json", headers={**given, **headers}
    )


def okta_user(username: str = "nora", **more: Any) -> dict[str, Any]:
    return {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": username,
        "name": {"givenName": "Nora", "familyName": "Noon"},
        "emails": [{"primary": True, "value": f"{username}@example.org", "type": "work"}],
        "displayName": "Nora Noon",
        "locale": "en-US",
        "externalId": f"00u-{username}",
        "groups": [],
        "password": "1mz050nq",
        "active": True,
        **more,
    }


def created(secret: str, name: str = "nora", **more: Any) -> str:
    answer = call(secret, "POST", "Users", okta_user(name, **more))
    assert answer.status_code == 201, answer.content
    told: Any = ScimUser.model_validate(answer.json(), scim_ctx=Context.RESOURCE_CREATION_RESPONSE)
    assert told.user_name == name
    return str(answer.json()["id"])


def grants(name: str) -> set[tuple[str, str]]:
    rows = RoleGrant.objects.filter(user__username=name).select_related("team")
    return {(one.role, one.team.slug if one.team else "") for one in rows}


def test_okta_looks_for_a_person_creates_them_and_finds_them(secret: str) -> None:
    looked = call(secret, "GET", 'Users?filter=userName eq "nora"&startIndex=1&count=100').json()
    assert looked["totalResults"] == 0
    key = created(secret)
    found = call(secret, "GET", 'Users?filter=userName eq "Nora" and active eq true').json()
    assert [one["id"] for one in found["Resources"]] == [key]
    assert call(secret, "GET", 'Users?filter=externalId eq "00u-nora"').json()["totalResults"] == 1
    ListResponse[ScimUser[Any]].model_validate(found, scim_ctx=Context.SEARCH_RESPONSE)
    nora = User.objects.get(username="nora")
    assert (nora.get_full_name(), nora.email, nora.has_usable_password()) == ("Nora Noon", "nora@example.org", False)
    again = call(secret, "POST", "Users", okta_user())
    assert again.status_code == 409
    assert Error.model_validate(again.json()).scim_type == "uniqueness"


def test_okta_deactivates_and_the_leaver_loses_everything_at_once(secret: str) -> None:
    key = created(secret)
    nora = User.objects.get(username="nora")
    grant_role(principal=SITE, user=nora, role=Role.RESPONDER)
    client = Client()
    client.force_login(nora)
    assert client.get("/settings/account/").status_code == 200
    _, token = create_api_token(principal=SITE, owner=nora, name="x", scopes=[Capability.OPERATIONS_VIEW])
    body = {"schemas": [PATCH_OP], "Operations": [{"op": "replace", "value": {"active": False}}]}
    answer = call(secret, "PATCH", f"Users/{key}", body)
    assert answer.json()["active"] is False
    assert client.get("/settings/account/").status_code == 302
    assert call(token, "GET", "Users").status_code == 401
    assert ApiToken.objects.get(owner=nora).revoked_at is not None
    assert grants("nora") == set()
    assert Event.objects.get(kind="account.person_left").payload["username"] == "nora"
    changes = [one.payload["change"] for one in entries(types=["access.provisioned"]).order_by("pk") if one.payload]
    assert changes == ["created", "closed"]


def test_entra_speaks_with_capitals_paths_and_words_for_booleans(secret: str) -> None:
    key = created(secret)
    body = {
        "schemas": [PATCH_OP],
        "Operations": [
            {"op": "Replace", "path": "name.familyName", "value": "Night"},
            {"op": "Add", "path": 'emails[type eq "work"].value', "value": "night@example.org"},
            {"op": "Replace", "value": {"name.givenName": "Norah", "displayName": "Norah Night"}},
            {
                "op": "Add",
                "path": "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department",
                "value": "SRE",
            },
            {"op": "Replace", "path": "active", "value": "False"},
        ],
    }
    told = call(secret, "PATCH", f"Users/{key}", body).json()
    nora = User.objects.get(username="nora")
    assert (nora.first_name, nora.last_name, nora.email) == ("Norah", "Night", "night@example.org")
    assert told["active"] is False
    back = {"schemas": [PATCH_OP], "Operations": [{"op": "Replace", "path": "active", "value": "True"}]}
    assert call(secret, "PATCH", f"Users/{key}", back).json()["active"] is True


def test_who_is_deleted_is_closed_and_unknown_to_the_directory(secret: str) -> None:
    key = created(secret)
    nora = User.objects.get(username="nora")
    nora.set_password("a long pass phrase of then")
    nora.save()
    factor = Authenticator.objects.create(user=nora, type=Authenticator.Type.TOTP, data={"secret": "x"})
    grant_role(principal=SITE, user=nora, role=Role.ADMIN)
    assert call(secret, "DELETE", f"Users/{key}").status_code == 204
    nora.refresh_from_db()
    assert not nora.is_active
    for method in ("GET", "PATCH", "DELETE"):
        assert call(secret, method, f"Users/{key}", {"Operations": []}).status_code == 404
    assert call(secret, "GET", 'Users?filter=userName eq "nora"').json()["totalResults"] == 0
    # Who comes back is the same person for the record, and gets in with nothing of then.
    assert created(secret, externalId="00u-again") == key
    nora.refresh_from_db()
    assert (nora.is_active, nora.has_usable_password(), grants("nora")) == (True, False, set())
    assert not Authenticator.objects.filter(pk=factor.pk).exists()
    assert call(secret, "POST", "Users", okta_user(externalId="00u-third")).status_code == 409


def test_what_is_removed_is_gone_and_what_cannot_be_is_refused(secret: str) -> None:
    key = created(secret)

    def remove(path: str) -> Any:
        return call(secret, "PATCH", f"Users/{key}", {"Operations": [{"op": "remove", "path": path}]})

    assert "externalId" not in remove("externalId").json()
    assert "name" not in remove("name").json()
    assert remove("emails").json()["emails"] == []
    assert [remove(path).json()["scimType"] for path in ("active", "userName")] == ["mutability"] * 2
    assert Error.model_validate(call(secret, "GET", "Nothing/there").json()).status == 404


def test_groups_give_and_take_rights_and_memberships(secret: str) -> None:
    nora, otto = created(secret), created(secret, "otto")
    body = {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
        "displayName": "SRE",
        "members": [{"value": nora, "display": "nora@example.org"}],
    }
    made = call(secret, "POST", "Groups", body)
    assert made.status_code == 201
    Group.model_validate(made.json(), scim_ctx=Context.RESOURCE_CREATION_RESPONSE)
    key = made.json()["id"]
    assert grants("nora") == {("responder", "inference")}
    assert User.objects.get(username="nora").teams.get().slug == "inference"
    add = {"Operations": [{"op": "add", "path": "members", "value": [{"value": otto}]}]}
    assert call(secret, "PATCH", f"Groups/{key}", add).status_code == 204
    take = {"Operations": [{"op": "remove", "path": f'members[value eq "{nora}"]'}]}
    assert call(secret, "PATCH", f"Groups/{key}", take).status_code == 204
    assert (grants("nora"), grants("otto")) == (set(), {("responder", "inference")})
    entra = {"Operations": [{"op": "Remove", "path": "members", "value": [{"value": otto}]}]}
    call(secret, "PATCH", f"Groups/{key}", entra)
    assert grants("otto") == set()
    call(secret, "PATCH", f"Groups/{key}", add)
    rename = {"Operations": [{"op": "replace", "value": {"id": key, "displayName": "Former SRE"}}]}
    call(secret, "PATCH", f"Groups/{key}", rename)
    assert grants("otto") == set()
    assert call(secret, "GET", 'Groups?filter=displayName eq "Former SRE"').json()["totalResults"] == 1
    assert call(secret, "DELETE", f"Groups/{key}").status_code == 204
    assert not DirectoryGroup.objects.exists()


def test_a_directory_never_removes_the_last_administrator(secret: str) -> None:
    key = created(secret)
    group = call(secret, "POST", "Groups", {"displayName": "Admins", "members": [{"value": key}]}).json()["id"]
    RoleGrant.objects.filter(user__username="ada").delete()
    team = Team.objects.get(slug="inference")
    RoleGrant.objects.create(user=User.objects.get(username="ada"), role="admin", team=team, granted_by="test")
    empty = {"Operations": [{"op": "replace", "path": "members", "value": []}]}
    token = create_api_token(
        principal=SITE, owner=User.objects.get(username="nora"), name="own", scopes=[Capability.SCIM_PROVISION]
    )[1]
    refused = call(token, "PATCH", f"Groups/{group}", empty)
    assert refused.status_code == 403
    assert "only administrator" in refused.json()["detail"]
    closing = {"Operations": [{"op": "replace", "path": "active", "value": False}]}
    assert call(token, "PATCH", f"Users/{key}", closing).status_code == 403
    assert grants("nora") == {("admin", "")}


def test_break_glass_is_out_of_reach(secret: str) -> None:
    glass = create_user(principal=SITE, username="glass", password=None)
    set_break_glass(principal=SITE, user=glass, is_break_glass=True)
    assert call(secret, "DELETE", f"Users/{glass.pk}").status_code == 404
    assert call(secret, "GET", 'Users?filter=userName eq "glass"').json()["totalResults"] == 0
    body = {"displayName": "Admins", "members": [{"value": str(glass.pk)}]}
    assert call(secret, "POST", "Groups", body).status_code == 403


def test_pages_versions_and_conditions(secret: str) -> None:
    keys = [created(secret, f"p{number}") for number in range(5)]
    page = call(secret, "GET", "Users?startIndex=3&count=2").json()
    assert (page["totalResults"], page["itemsPerPage"], page["startIndex"]) == (6, 2, 3)
    assert call(secret, "GET", "Users?count=0").json()["Resources"] == []
    shown = call(secret, "GET", f"Users/{keys[0]}")
    tag = shown["ETag"]
    assert shown.json()["meta"]["version"] == tag
    assert call(secret, "GET", f"Users/{keys[0]}", **{"If-None-Match": tag}).status_code == 304
    body = okta_user("p0", displayName="Other Name", name={"givenName": "Other", "familyName": "Name"})
    assert call(secret, "PUT", f"Users/{keys[0]}", body, **{"If-Match": tag}).status_code == 200
    assert call(secret, "PUT", f"Users/{keys[0]}", body, **{"If-Match": tag}).status_code == 412


def test_the_server_describes_itself(secret: str) -> None:
    told = call(secret, "GET", "ServiceProviderConfig").json()
    config = ServiceProviderConfig.model_validate(told, scim_ctx=Context.RESOURCE_QUERY_RESPONSE)
    assert config.patch is not None
    assert config.patch.supported
    assert config.bulk is not None
    assert not config.bulk.supported
    types = call(secret, "GET", "ResourceTypes").json()
    assert [ResourceType.model_validate(one).name for one in types["Resources"]] == ["User", "Group"]
    schemas = call(secret, "GET", "Schemas").json()
    assert [Schema.model_validate(one).name for one in schemas["Resources"]] == ["User", "Group"]
    assert call(secret, "GET", "Schemas/urn:ietf:params:scim:schemas:core:2.0:User").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "Users?filter=userName", None, 400),
        ("GET", 'Users?filter=password eq "x"', None, 400),
        ("GET", 'Users?filter=userName is "x"', None, 400),
        ("GET", "Users?startIndex=x", None, 400),
        ("GET", "Users/999999999999999999999999", None, 404),
        ("GET", "Groups/00000000-0000-0000-0000-000000000000", None, 404),
        ("POST", "Users", {"userName": ""}, 400),
        ("POST", "Users", {"userName": "x" * 400}, 400),
        ("POST", "Users", {"userName": "a b"}, 400),
        ("POST", "Users", {"userName": ["x"]}, 400),
        ("POST", "Users", {"userName": "z", "active": "perhaps"}, 400),
        ("POST", "Users", [1], 400),
        ("POST", "Groups", {"displayName": "X", "members": [{"value": "9999"}]}, 400),
        ("PUT", "Users", {"userName": "x"}, 405),
        ("DELETE", "Schemas", None, 405),
    ],
)
def test_what_does_not_fit_is_refused_in_the_protocols_words(
    secret: str, method: str, path: str, body: Any, status: int
) -> None:
    answer = call(secret, method, path, body)
    assert answer.status_code == status, answer.content
    if status != 405:
        assert Error.model_validate(answer.json()).status == status


@pytest.mark.parametrize(
    "operations", [None, [], "x", [1], [{"op": "move"}], [{"op": "remove"}], [{"op": "add", "value": 3}]]
)
def test_operations_that_make_no_sense_change_nothing(secret: str, operations: Any) -> None:
    key = created(secret)
    assert call(secret, "PATCH", f"Users/{key}", {"Operations": operations}).status_code == 400
    assert User.objects.get(username="nora").is_active


def test_only_a_token_of_this_scope_opens_it(secret: str) -> None:
    assert call("", "GET", "Users").status_code == 401
    assert call("assay_wrong", "GET", "Users")["WWW-Authenticate"].startswith("Bearer")
    ada = User.objects.get(username="ada")
    other = create_api_token(principal=SITE, owner=ada, name="x", scopes=[Capability.SITE_ADMIN])[1]
    assert call(other, "GET", "Users").status_code == 403
    alice = create_user(principal=SITE, username="alice", password=None)
    grant_role(principal=SITE, user=alice, role=Role.RESPONDER)
    hers = create_api_token(principal=SITE, owner=alice, name="x", scopes=[Capability.SCIM_PROVISION])[1]
    assert call(hers, "GET", "Users").status_code == 403
    client = Client()
    client.force_login(ada)
    assert client.get("/scim/v2/Users").status_code == 401
