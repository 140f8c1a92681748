"""`/scim/v2/`: the protocol of RFC 7644 over `accounts.services.scim`. Imported with its first request."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from rest_framework.exceptions import AuthenticationFailed

from accounts.authentication import principal_by_bearer
from accounts.data import Capability, Principal
from accounts.domain import scim as words
from accounts.domain.scim import ScimRefusedError
from accounts.models import DirectoryGroup, User
from accounts.scim_queries import GROUPS, USERS, Question, Shape, asked_in_address, asked_in_body, filtered, ordered
from accounts.scim_schemas import RESOURCE_TYPES, SCHEMAS, SERVICE_PROVIDER
from accounts.services import ensure_may
from accounts.services import scim as services
from core.parsing import InputRefusedError, load_json

Answer = Callable[..., HttpResponse]


@dataclass(frozen=True)
class Source:
    """One kind of resource: its rows, how they are asked, and how one is told."""

    rows: QuerySet[Any]
    shape: Shape
    write: Callable[[HttpRequest, Any], dict[str, Any]]


def speaks_scim(view: Answer) -> Answer:
    """Let a view in who may, and answer what it refuses as the protocol says."""

    @wraps(view)
    def answered(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            principal = principal_by_bearer(request)
            ensure_may(principal, Capability.SCIM_PROVISION)
            return view(request, principal, *args, **kwargs)
        except AuthenticationFailed as error:
            refused = _error(ScimRefusedError(str(error.detail), status=401, kind=""))
            refused["WWW-Authenticate"] = 'Bearer realm="assay"'
            return refused
        except ScimRefusedError as error:
            return _error(error)
        except InputRefusedError as error:
            return _error(ScimRefusedError(str(error)[:500], kind="invalidSyntax"))
        except PermissionDenied as error:
            return _error(ScimRefusedError(str(error), status=403, kind=""))

    return answered


@speaks_scim
def service_provider(request: HttpRequest, _: Principal) -> HttpResponse:
    """Say what this server can."""
    return _only_read(request) or _answer({**SERVICE_PROVIDER, "meta": _meta(request, "ServiceProviderConfig", "")})


@speaks_scim
def resource_types(request: HttpRequest, _: Principal, name: str = "") -> HttpResponse:
    """Say which resources there are."""
    return _only_read(request) or _fixed(RESOURCE_TYPES, "name", name)


@speaks_scim
def schemas(request: HttpRequest, _: Principal, name: str = "") -> HttpResponse:
    """Say what resources look like."""
    return _only_read(request) or _fixed(SCHEMAS, "id", name)


@speaks_scim
def not_offered(request: HttpRequest, _: Principal) -> HttpResponse:
    """Refuse what the configuration says is not supported: bulk operations, and a token's owner as `/Me`."""
    raise ScimRefusedError(f"{request.path} is not offered; see ServiceProviderConfig.", status=501, kind="")


@speaks_scim
def unknown(_request: HttpRequest, _: Principal, where: str) -> HttpResponse:
    """Refuse an address that means nothing here, in the protocol's words."""
    raise ScimRefusedError(f"There is nothing at {where[:120]}.", status=404, kind="")


@speaks_scim
def users(request: HttpRequest, principal: Principal) -> HttpResponse:
    """List people, or create one."""
    if request.method == "POST":
        fields = words.person_fields(_body(request))
        user = services.provision_person(principal=principal, fields=fields)
        return _resource(request, _user(request, user), status=201)
    return _only_read(request) or _page(request, asked_in_address(request.GET), _people())


@speaks_scim
def user(request: HttpRequest, principal: Principal, key: str) -> HttpResponse:
    """Show, replace, change or dismiss a person."""
    person = _people().rows.filter(pk=int(key) if key.isdecimal() and len(key) < 19 else 0).first()
    if person is None:
        raise ScimRefusedError(f"There is no user {key[:60]}.", status=404, kind="")
    _ensure_match(request, _user(request, person))
    if request.method == "DELETE":
        services.dismiss_person(principal=principal, user=person)
        return HttpResponse(status=204)
    if request.method in {"PUT", "PATCH"}:
        body = _body(request)
        fields = words.person_fields(body) if request.method == "PUT" else words.patched_fields(_operations(body))
        services.change_person(principal=principal, user=person, fields=fields)
        person = _people().rows.get(pk=person.pk)
    elif refused := _only_read(request):
        return refused
    return _resource(request, _user(request, person))


@speaks_scim
def search(request: HttpRequest, _: Principal, kind: str = "") -> HttpResponse:
    """Answer a query that is posted, as addresses stand in logs: over people, groups, or both."""
    if request.method != "POST":
        refused = _error(ScimRefusedError(f"{request.method} is not known at this address.", status=405, kind=""))
        refused["Allow"] = "POST"
        return refused
    sources = {"Users": (_people(),), "Groups": (_groups(),)}.get(kind, (_people(), _groups()))
    return _page(request, asked_in_body(_body(request)), *sources)


@speaks_scim
def groups(request: HttpRequest, principal: Principal) -> HttpResponse:
    """List groups, or create one."""
    if request.method == "POST":
        group = services.save_directory_group(principal=principal, change=words.group_change(_body(request)))
        return _resource(request, _group(request, group), status=201)
    return _only_read(request) or _page(request, asked_in_address(request.GET), _groups())


@speaks_scim
def group(request: HttpRequest, principal: Principal, key: UUID) -> HttpResponse:
    """Show, replace, change or remove a group."""
    found = DirectoryGroup.objects.filter(key=key).first()
    if found is None:
        raise ScimRefusedError(f"There is no group {key}.", status=404, kind="")
    _ensure_match(request, _group(request, found))
    if request.method == "DELETE":
        services.remove_directory_group(principal=principal, group=found)
        return HttpResponse(status=204)
    if request.method in {"PUT", "PATCH"}:
        body = _body(request)
        change = words.group_change(body) if request.method == "PUT" else words.patched_group(_operations(body))
        found = services.save_directory_group(principal=principal, change=change, group=found)
        if request.method == "PATCH" and "attributes" not in request.GET:
            return HttpResponse(status=204, headers={"ETag": _tag(_group(request, found))})
    elif refused := _only_read(request):
        return refused
    return _resource(request, _group(request, found))


def _user(request: HttpRequest, person: User) -> dict[str, Any]:
    told = {
        "schemas": [words.USER],
        "id": str(person.pk),
        "userName": person.username,
        "displayName": str(person),
        "active": person.is_active,
        "emails": [{"value": person.email, "type": "work", "primary": True}] if person.email else [],
        "groups": [
            {"value": str(one.key), "$ref": _location(request, "Group", str(one.key)), "display": one.display_name}
            for one in person.directory_groups.all()
        ],
        "meta": {**_meta(request, "User", str(person.pk)), "created": person.date_joined.isoformat()},
    }
    name = {"givenName": person.first_name, "familyName": person.last_name, "formatted": person.get_full_name()}
    if name["formatted"]:
        told["name"] = {part: text for part, text in name.items() if text}
    known = [one for one in person.identities.all() if one.provider.kind == "scim"]
    if known and not known[0].subject.startswith("user:"):
        told["externalId"] = known[0].subject
    return told


def _group(request: HttpRequest, found: DirectoryGroup) -> dict[str, Any]:
    told: dict[str, Any] = {
        "schemas": [words.GROUP],
        "id": str(found.key),
        "displayName": found.display_name,
        "meta": {**_meta(request, "Group", str(found.key)), "created": found.created_at.isoformat()},
    }
    if found.external_id:
        told["externalId"] = found.external_id
    told["members"] = [
        {
            "value": str(person.pk),
            "$ref": _location(request, "User", str(person.pk)),
            "display": str(person),
            "type": "User",
        }
        for person in found.members.all()
    ]
    return told


def _projected(question: Question, told: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes that were asked for; who it is always among them."""
    if not question.attributes and not question.excluded:
        return told
    kept: dict[str, Any] = {}
    for key, value in told.items():
        low = key.lower()
        if key in {"schemas", "id"} or low in question.attributes:
            kept[key] = value
        elif question.attributes:
            part = _parts(value, f"{low}.", question.attributes, told=True)
            kept |= {key: part} if part else {}
        elif low not in question.excluded:
            part = _parts(value, f"{low}.", question.excluded, told=False)
            kept[key] = value if part is None else part
    return kept


def _parts(value: Any, prefix: str, named: frozenset[str], *, told: bool) -> Any:
    """Return the parts of an attribute that are named, or those that are not; None when it has no parts."""
    if isinstance(value, list):
        return [part for one in value if (part := _parts(one, prefix, named, told=told))]
    if isinstance(value, dict):
        return {part: text for part, text in value.items() if (f"{prefix}{part.lower()}" in named) is told}
    return None


def _meta(request: HttpRequest, kind: str, key: str) -> dict[str, Any]:
    return {"resourceType": kind, "location": _location(request, kind, key)}


def _location(request: HttpRequest, kind: str, key: str) -> str:
    folder = {"User": "Users/", "Group": "Groups/"}.get(kind, kind)
    return request.build_absolute_uri(f"/scim/v2/{folder}{key}")


def _page(request: HttpRequest, question: Question, *sources: Source) -> HttpResponse:
    """Answer a query: one kind of resource after the other, counted together."""
    found, refused = [], []
    for source in sources:
        try:
            rows = filtered(source.rows, source.shape, question.filter) if question.filter else source.rows
            found.append((source, ordered(rows, source.shape, question.sort_by, question.sort_order)))
        except ScimRefusedError as error:
            # What one kind of resource does not have matches none of it; the others are still asked.
            refused.append(error)
    if not found:
        raise refused[0]
    total, skipped = 0, question.start - 1
    resources: list[dict[str, Any]] = []
    for source, rows in found:
        held = rows.count()
        room = question.count - len(resources)
        shown = rows[max(skipped - total, 0) :][:room] if total + held > skipped and room else ()
        resources += [_versioned(source.write(request, one)) for one in shown]
        total += held
    return _answer(
        {
            "schemas": [words.LIST],
            "totalResults": total,
            "startIndex": question.start,
            "itemsPerPage": len(resources),
            "Resources": [_projected(question, told) for told in resources],
        }
    )


def _versioned(told: dict[str, Any]) -> dict[str, Any]:
    return {**told, "meta": {**told["meta"], "version": _tag(told)}}


def _people() -> Source:
    """Return whom a directory may know of: not who is for emergencies, nor whom it has deleted."""
    rows = USERS.rows().filter(is_break_glass=False).exclude(services.GONE)
    rows = rows.prefetch_related("identities__provider", "directory_groups")
    return Source(rows, USERS, _user)


def _groups() -> Source:
    return Source(GROUPS.rows().prefetch_related("members"), GROUPS, _group)


def _body(request: HttpRequest) -> dict[str, Any]:
    body = load_json(request.body, source="body")
    if not isinstance(body, dict):
        raise ScimRefusedError("The body is an object.", kind="invalidSyntax")
    return body


def _operations(body: dict[str, Any]) -> Any:
    return body.get("Operations", body.get("operations"))


def _tag(told: dict[str, Any]) -> str:
    """Return the version of a resource: a digest of what it says."""
    plain = {key: value for key, value in told.items() if key != "meta"}
    return f'W/"{hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]}"'


def _ensure_match(request: HttpRequest, told: dict[str, Any]) -> None:
    wanted = request.headers.get("If-Match", "")
    if request.method in {"PUT", "PATCH", "DELETE"} and wanted not in {"", "*", _tag(told)}:
        raise ScimRefusedError("It was changed meanwhile; read it again.", status=412, kind="")


def _resource(request: HttpRequest, told: dict[str, Any], *, status: int = 200) -> HttpResponse:
    tag = _tag(told)
    if request.method == "GET" and request.headers.get("If-None-Match", "") == tag:
        return HttpResponse(status=304, headers={"ETag": tag})
    answer = _answer(_projected(asked_in_address(request.GET), _versioned(told)), status=status)
    answer["ETag"] = tag
    answer["Location"] = told["meta"]["location"]
    return answer


def _fixed(rows: list[dict[str, Any]], field: str, name: str) -> HttpResponse:
    if not name:
        return _answer(
            {
                "schemas": [words.LIST],
                "totalResults": len(rows),
                "startIndex": 1,
                "itemsPerPage": len(rows),
                "Resources": rows,
            }
        )
    found = next((row for row in rows if row[field] == name), None)
    if found is None:
        raise ScimRefusedError(f"There is no {name[:80]}.", status=404, kind="")
    return _answer(found)


def _only_read(request: HttpRequest) -> HttpResponse | None:
    if request.method in {"GET", "HEAD"}:
        return None
    refused = _error(ScimRefusedError(f"{request.method} is not known at this address.", status=405, kind=""))
    refused["Allow"] = "GET, HEAD"
    return refused


def _answer(told: dict[str, Any], *, status: int = 200) -> HttpResponse:
    return HttpResponse(json.dumps(told), status=status, content_type="application/scim+json")


def _error(error: ScimRefusedError) -> HttpResponse:
    told = {"schemas": [words.ERROR], "status": str(error.status), "detail": error.detail}
    return _answer({**told, "scimType": error.kind} if error.kind else told, status=error.status)
