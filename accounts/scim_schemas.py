"""What the SCIM server says about itself: RFC 7643, sections 5 to 7."""

from typing import Any

from accounts.domain.scim import GROUP, USER

_SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:"


def _attribute(name: str, kind: str = "string", **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "type": kind,
        "multiValued": False,
        "description": more.pop("says", name),
        "required": False,
        "mutability": "readWrite",
        "returned": "default",
        **({"caseExact": False, "uniqueness": "none"} if kind == "string" else {}),
        **more,
    }


def _reference(kind: str, **more: Any) -> dict[str, Any]:
    return _attribute("$ref", "reference", referenceTypes=[kind], caseExact=True, uniqueness="none", **more)


MADE_OF_NAMES = "Made of the given and the family name, and taken for them where those are not told."

SERVICE_PROVIDER: dict[str, Any] = {
    "schemas": [f"{_SCHEMA}ServiceProviderConfig"],
    "patch": {"supported": True},
    "bulk": {"supported": False, "maxOperations": 0, "maxPayloadSize": 0},
    "filter": {"supported": True, "maxResults": 200},
    "changePassword": {"supported": False},
    "sort": {"supported": True},
    "etag": {"supported": True},
    "authenticationSchemes": [
        {
            "type": "oauthbearertoken",
            "name": "API token",
            "description": "An API token of this site with the scope scim.provision.",
            "primary": True,
        }
    ],
}

RESOURCE_TYPES: list[dict[str, Any]] = [
    {"schemas": [f"{_SCHEMA}ResourceType"], "id": name, "name": name, "endpoint": f"/{name}s", "schema": schema}
    for name, schema in (("User", USER), ("Group", GROUP))
]

SCHEMAS: list[dict[str, Any]] = [
    {
        "schemas": [f"{_SCHEMA}Schema"],
        "id": USER,
        "name": "User",
        "description": "A person who signs in.",
        "attributes": [
            _attribute("userName", required=True, uniqueness="server", says="The name they sign in with."),
            _attribute(
                "name",
                "complex",
                subAttributes=[
                    _attribute("givenName"),
                    _attribute("familyName"),
                    _attribute("formatted", mutability="readOnly", says=MADE_OF_NAMES),
                ],
            ),
            _attribute("displayName", mutability="readOnly", says=MADE_OF_NAMES),
            _attribute("active", "boolean", says="Whether the account is open."),
            _attribute(
                "emails",
                "complex",
                multiValued=True,
                subAttributes=[
                    _attribute("value"),
                    _attribute("type", mutability="readOnly", canonicalValues=["work"], says="One address is kept."),
                    _attribute("primary", "boolean", mutability="readOnly"),
                ],
            ),
            _attribute(
                "groups",
                "complex",
                multiValued=True,
                mutability="readOnly",
                subAttributes=[
                    _attribute("value", mutability="readOnly"),
                    _reference("Group", mutability="readOnly"),
                    _attribute("display", mutability="readOnly"),
                ],
            ),
        ],
    },
    {
        "schemas": [f"{_SCHEMA}Schema"],
        "id": GROUP,
        "name": "Group",
        "description": "A group of the directory; mappings say what it means here.",
        "attributes": [
            _attribute("displayName", required=True, uniqueness="server"),
            _attribute(
                "members",
                "complex",
                multiValued=True,
                subAttributes=[
                    _attribute("value", mutability="immutable"),
                    _reference("User", mutability="immutable"),
                    _attribute("display", mutability="readOnly"),
                    _attribute("type", mutability="readOnly", canonicalValues=["User"]),
                ],
            ),
        ],
    },
]
