"""SCIM queries and the bodies that Entra ID and Okta document: every operator, brackets, order, selected values."""

import json
from typing import Any
from urllib.parse import quote

import pytest
from django.test import Client

from accounts.data import Capability, Role, system_principal
from accounts.domain.scim import ScimRefusedError, patched_fields, patched_group
from accounts.domain.scim_filters import FilterRefusedError, matches, parse_filter
from accounts.models import DirectoryGroup, User
from accounts.services import create_api_token, create_user, grant_role

SITE = system_principal("test")
DATABASE = pytest.mark.django_db
USER = "urn:ietf:params:scim:schemas:core:2.0:User"


@pytest.fixture
def token() -> str:
    ada = create_user(principal=SITE, username="ada", password=None)
    grant_role(principal=SITE, user=ada, role=Role.ADMIN)
    return create_api_token(principal=SITE, owner=ada, name="directory", scopes=[Capability.SCIM_PROVISION])[1]


def call(token: str, method: str, path: str, body: Any = None) -> Any:
    sent: dict[str, Any] = (
        {"data": json.dumps(body), "content_type": "application/scim+json"} if body is not None else {}
    )
    return Client().generic(method, f"/scim/v2/{path}", headers={"Authorization": f"Bearer {token}"}, **sent)


@pytest.fixture
def people(token: str) -> dict[str, str]:
    """Nora and Otto as a directory tells of them, Nora with a mail address, in a group, Otto closed."""
    keys = {}
    for name, more in (
        ("Nora", {"emails": [{"value": "nora@example.org", "type": "work"}], "externalId": "x-1"}),
        ("Otto", {"active": False}),
    ):
        body = {"userName": name.lower(), "name": {"givenName": name, "familyName": "Noon"}, **more}
        keys[name] = call(token, "POST", "Users", body).json()["id"]
    group = {"displayName": "SRE", "members": [{"value": keys["Nora"]}], "externalId": "g-1"}
    keys["SRE"] = call(token, "POST", "Groups", group).json()["id"]
    call(token, "POST", "Groups", {"displayName": "Empty"})
    return keys


@DATABASE
@pytest.mark.database
def test_every_operator_finds_whom_it_means(token: str, people: dict[str, str]) -> None:
    nora, otto, sre = people["Nora"], people["Otto"], people["SRE"]
    expected = {
        'userName co "OR"': "nora",
        'userName sw "no"': "nora",
        'userName ew "TO"': "otto",
        'userName ne "nora"': "ada otto",
        'userName gt "ada"': "nora otto",
        'userName le "ada"': "ada",
        "externalId pr": "nora",
        "not (externalId pr)": "ada otto",
        "emails pr": "nora",
        'emails co "@example.org"': "nora",
        'emails[type eq "work" and value sw "nora@"]': "nora",
        'emails[type eq "home"]': "",
        'emails[type eq "work"].value eq "NORA@example.org"': "nora",
        "active eq false": "otto",
        "active ne false": "ada nora",
        'userName eq "nora" or active eq false and name.familyName eq "Noon"': "nora otto",
        '(userName eq "nora" or active eq false) and name.givenName sw "O"': "otto",
        'not (userName eq "nora") and not (userName eq "otto")': "ada",
        'displayName eq "nora noon"': "nora",
        f'id eq "{nora}"': "nora",
        f'groups eq "{sre}"': "nora",
        'groups[display sw "S"]': "nora",
        f'{USER}:userName eq "otto"': "otto",
        'meta.created gt "2020-01-01T00:00:00Z" and meta.resourceType eq "User"': "ada nora otto",
        'meta.created lt "2020-01-01T00:00:00Z"': "",
        f'schemas eq "{USER}" and userName ne "ada"': "nora otto",
        f'id ne "{otto}" and userName pr': "ada nora",
    }
    for asked, wanted in expected.items():
        answer = call(token, "GET", f"Users?sortBy=userName&filter={quote(asked)}")
        assert answer.status_code == 200, (asked, answer.content)
        found = " ".join(one["userName"] for one in answer.json()["Resources"])
        assert (found, answer.json()["totalResults"]) == (wanted, len(wanted.split())), asked
    for asked, wanted in {
        f'members[value eq "{nora}"]': "SRE",
        f'members.value eq "{nora}"': "SRE",
        f'members eq "{nora}" and displayName co "r"': "SRE",
        'members[display co "noon" and type eq "User"]': "SRE",
        f'members[value eq "{otto}"]': "",
        "not (members pr)": "Empty",
        'externalId eq "G-1"': "",
        'displayName sw "e" or externalId eq "g-1"': "Empty SRE",
    }.items():
        rows = call(token, "GET", f"Groups?sortBy=displayName&filter={quote(asked)}").json()["Resources"]
        assert " ".join(one["displayName"] for one in rows) == wanted, asked


@DATABASE
def test_order_pages_and_chosen_attributes(token: str, people: dict[str, str]) -> None:
    def names(query: str) -> list[str]:
        return [one["userName"] for one in call(token, "GET", f"Users?{query}").json()["Resources"]]

    assert names("sortBy=userName&sortOrder=descending") == ["otto", "nora", "ada"]
    assert names("sortBy=name.givenName&startIndex=2&count=1") == ["nora"]
    assert names("sortBy=meta.created") == ["ada", "nora", "otto"]
    assert call(token, "GET", "Users?startIndex=99&count=5").json()["itemsPerPage"] == 0
    assert call(token, "GET", "Users?sortBy=emails[type]").status_code == 400
    assert call(token, "GET", "Users?sortBy=userName&sortOrder=sideways").status_code == 400
    told = call(token, "GET", f"Users/{people['Nora']}?attributes=userName,name.givenName").json()
    assert set(told) == {"schemas", "id", "userName", "name"}
    assert told["name"] == {"givenName": "Nora"}
    rows = call(token, "GET", "Groups?excludedAttributes=members").json()["Resources"]
    assert all("members" not in one for one in rows)


@DATABASE
@pytest.mark.parametrize(
    "asked",
    [
        'nickName eq "x"',
        'emails[userName eq "x"]',
        'userName[value eq "x"]',
        'id co "1"',
        "active gt true",
        'active eq "perhaps"',
        'meta.created gt "yesterday"',
        'meta.created gt "2020-01-01T00:00:00"',
        'userName regex "x"',
        "(" * 30 + 'userName eq "x"' + ")" * 30,
        'userName eq "x" and',
        'userName eq "' + "x" * 1100 + '"',
    ],
)
def test_a_filter_that_means_nothing_here_is_refused(token: str, asked: str) -> None:
    answer = call(token, "GET", f"Users?filter={quote(asked)}")
    assert answer.status_code == 400, answer.content
    assert answer.json()["scimType"] == "invalidFilter"


@DATABASE
def test_what_is_not_offered_says_so(token: str) -> None:
    assert call(token, "GET", "ServiceProviderConfig").json()["bulk"]["supported"] is False
    bulk = call(token, "POST", "Bulk", {"Operations": []})
    assert (bulk.status_code, bulk.json()["status"]) == (501, "501")
    assert call(token, "GET", "Me").status_code == 501
    refused = call(token, "DELETE", "Users")
    assert (refused.status_code, refused["Content-Type"]) == (405, "application/scim+json")


@DATABASE
def test_groups_change_by_the_bodies_of_entra_and_okta(token: str, people: dict[str, str]) -> None:
    nora, otto = people["Nora"], people["Otto"]
    path = f"Groups/{people['SRE']}"
    steps: list[tuple[list[dict[str, Any]], set[str]]] = [
        # Entra ID, "Update Group [Add Members]" and "[Remove Members]", in the present and the older form.
        ([{"op": "Add", "path": "members", "value": [{"$ref": None, "value": otto}]}], {nora, otto}),
        ([{"op": "Remove", "path": "members", "value": [{"$ref": None, "value": nora}]}], {otto}),
        ([{"op": "Remove", "path": f'members[value eq "{otto}"]'}], set()),
        # Okta, "Update a specific group membership": added, removed by a filter, and all replaced.
        ([{"op": "add", "path": "members", "value": [{"value": nora, "display": "nora@example.org"}]}], {nora}),
        (
            [
                {"op": "remove", "path": f'members[value eq "{nora}" or value eq "{otto}"]'},
                {"op": "add", "path": "members", "value": [{"value": otto, "display": "otto@example.org"}]},
            ],
            {otto},
        ),
        ([{"op": "replace", "path": "members", "value": [{"value": nora}, {"value": otto}]}], {nora, otto}),
        ([{"op": "remove", "path": 'members[type eq "User"]'}], set()),
        ([{"op": "add", "path": f'members[value eq "{nora}"]', "value": None}], {nora}),
        ([{"op": "remove", "path": "members"}], set()),
        ([{"op": "add", "value": {"members": [{"value": nora}]}}], {nora}),
    ]
    for operations, members in steps:
        body = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations}
        answer = call(token, "PATCH", path, body)
        assert answer.status_code == 204, (operations, answer.content)
        found = {one["value"] for one in call(token, "GET", path).json().get("members", [])}
        assert found == members, operations
    entra = {"Operations": [{"op": "Replace", "path": "displayName", "value": "1879db59-3bdf-4490-ad68-ab880a269474"}]}
    assert call(token, "PATCH", path, entra).status_code == 204
    okta = {"Operations": [{"op": "replace", "value": {"id": people["SRE"], "displayName": "Test SCIMv2"}}]}
    assert call(token, "PATCH", path, okta).status_code == 204
    assert DirectoryGroup.objects.filter(display_name="Test SCIMv2").exists()
    for path_given in ("members[display eq", 'members[display eq "x"]', "members[]"):
        bad = {"Operations": [{"op": "remove", "path": path_given}]}
        assert call(token, "PATCH", path, bad).status_code == 400
    assert User.objects.get(pk=nora).directory_groups.count() == 1


def test_a_selected_value_changes_only_what_is_kept_here() -> None:
    def fields(path: str) -> dict[str, Any]:
        return patched_fields([{"op": "replace", "path": path, "value": "new@example.org"}])

    assert fields('emails[type eq "work"].value') == {"email": "new@example.org"}
    assert fields("emails[primary eq true].value") == {"email": "new@example.org"}
    assert fields(f'{USER}:emails[type eq "WORK" and primary eq true].value') == {"email": "new@example.org"}
    assert fields('emails[type eq "home"].value') == {}
    assert fields('phoneNumbers[type eq "mobile"].value') == {}
    with pytest.raises(ScimRefusedError):
        fields('emails[type eq "work.value')


def test_filters_are_read_with_and_before_or() -> None:
    held = {"a": "1", "b": "2", "c": "3"}
    assert matches(parse_filter('a eq "1" or b eq "9" and c eq "9"'), held)
    assert not matches(parse_filter('(a eq "1" or b eq "9") and c eq "9"'), held)
    assert matches(parse_filter('a eq "9" and b eq "2" or c eq "3" and not (a eq "2")'), held)
    with pytest.raises(FilterRefusedError):
        matches(parse_filter('d eq "1"'), held)
    change = patched_group(
        [{"op": "remove", "path": 'members[value sw "1"]'}, {"op": "add", "path": "members", "value": "12"}]
    )
    assert change.members_after({"11", "2"}) == {"2", "12"}


@DATABASE
@pytest.mark.database
def test_a_query_can_be_posted_over_one_kind_of_resource_or_all(token: str, people: dict[str, str]) -> None:
    def search(path: str, **asked: Any) -> Any:
        asked["schemas"] = ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"]
        return call(token, "POST", f"{path}.search", asked)

    everything = search("").json()
    assert everything["totalResults"] == 5
    kinds = [one["meta"]["resourceType"] for one in everything["Resources"]]
    assert kinds == ["User", "User", "User", "Group", "Group"]
    middle = search("", startIndex=3, count=2).json()
    assert [one["id"] for one in middle["Resources"]] == [one["id"] for one in everything["Resources"][2:4]]
    assert search("", startIndex=6).json()["Resources"] == []
    assert search("", count=-3).json()["Resources"] == []
    assert search("", count=10_000).json()["itemsPerPage"] == 5
    # A group has no user name: such a query means people.
    assert search("", filter='userName eq "nora"').json()["totalResults"] == 1
    assert search("Groups/", filter='displayName sw "E"', sortBy="displayName").json()["totalResults"] == 1
    only = search("Users/", filter='userName eq "nora"', attributes=["userName", "emails.value"]).json()["Resources"][0]
    assert {key: only[key] for key in only if key != "schemas"} == {
        "id": people["Nora"],
        "userName": "nora",
        "emails": [{"value": "nora@example.org"}],
    }
    for refused in ({"filter": 3}, {"count": "ten"}, {"startIndex": True}, {"attributes": "userName"}):
        assert search("Users/", **refused).status_code == 400, refused
    assert search("", filter='shoeSize eq "43"').json()["scimType"] == "invalidFilter"
    assert call(token, "GET", ".search").status_code == 405
    assert call("assay_none", "POST", ".search", {}).status_code == 401


@DATABASE
def test_attributes_are_left_out_as_asked(token: str, people: dict[str, str]) -> None:
    def told(query: str) -> dict[str, Any]:
        found: dict[str, Any] = call(token, "GET", f"Users/{people['Nora']}?{query}").json()
        return found

    assert set(told(f"attributes={USER}:userName")) == {"schemas", "id", "userName"}
    assert told("attributes=name.givenName,meta.location")["name"] == {"givenName": "Nora"}
    assert "meta" in told("attributes=meta")
    without = told("excludedAttributes=id,schemas,groups,name.familyName,emails.type,meta")
    assert {"schemas", "id"} <= set(without)
    assert not {"groups", "meta"} & set(without)
    assert without["name"] == {"givenName": "Nora", "formatted": "Nora Noon"}
    assert without["emails"] == [{"value": "nora@example.org", "primary": True}]


@pytest.mark.parametrize(
    ("asked", "value"),
    [
        (r'userName eq "a\"b"', 'a"b'),
        (r'userName eq "a\\"', "a\\"),
        (r'userName eq "\u00e9 (x) [y] and"', "é (x) [y] and"),
        ('userName eq "true"', "true"),
        ('userName eq ""', ""),
    ],
)
def test_texts_are_read_as_json_writes_them(asked: str, value: str) -> None:
    assert matches(parse_filter(asked), {"username": value})
    assert not matches(parse_filter(asked), {"username": f"{value}-"})
    assert matches(parse_filter(f'userName eq "z" or ({asked})'), {"username": value})


@pytest.mark.parametrize("asked", [r'userName eq "a\x"', 'userName eq "a', 'userName eq a"', r'userName eq "\"', '"a"'])
def test_texts_that_end_nowhere_are_refused(asked: str) -> None:
    with pytest.raises(FilterRefusedError):
        parse_filter(asked)
