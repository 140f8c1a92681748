"""What a SCIM client says, in the few words that matter here. RFC 7643 (schema) and RFC 7644 (protocol)."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from accounts.domain.scim_filters import Comparison, FilterRefusedError, Node, Within, matches, parse_filter

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
LIST = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
MOST_OPERATIONS = 1000

# Attributes as clients write them (names have no case), and the field of a person that they are.
USER_PATHS = {
    "username": "username",
    "externalid": "external_id",
    "name.givenname": "first_name",
    "name.familyname": "last_name",
    "name.formatted": "full_name",
    "displayname": "display_name",
    "emails": "email",
    "emails.value": "email",
    "active": "active",
}
_SELECTED = re.compile(r"\[[^\]]*\]")


class ScimRefusedError(Exception):
    """A request is refused; `status` and `kind` (scimType) are what the protocol says about it."""

    def __init__(self, detail: str, *, status: int = 400, kind: str = "invalidValue") -> None:
        self.detail, self.status, self.kind = detail, status, kind
        super().__init__(detail)


@dataclass
class GroupChange:
    """What a group becomes: None leaves it as it is. The steps change who is in it, one after the other."""

    display_name: str | None = None
    external_id: str | None = None
    steps: list[tuple[str, set[str] | Node]] = field(default_factory=list)

    def members_after(self, before: set[str]) -> set[str]:
        """Return who is in the group afterwards."""
        members = set(before)
        for name, whom in self.steps:
            chosen = whom if isinstance(whom, set) else {one for one in members if _chosen(whom, one)}
            if name == "add":
                members |= chosen
            elif name == "remove":
                members -= chosen
            else:
                members = set(chosen)
        return members


def _chosen(node: Node, member: str) -> bool:
    try:
        return matches(node, {"value": member, "type": "User"})
    except FilterRefusedError as error:
        raise ScimRefusedError(f"members: {error}", kind="invalidFilter") from None


def person_fields(resource: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a person that a resource carries; what this site does not keep is passed over."""
    found: dict[str, Any] = {}
    for key, value in resource.items():
        if key.lower() == "name" and isinstance(value, Mapping):
            for part, text in value.items():
                _take(found, f"name.{part}", text)
        else:
            _take(found, key, value)
    return found


def patched_fields(operations: Any) -> dict[str, Any]:
    """Return the fields that the operations of a PATCH set; a removed one is set to nothing."""
    found: dict[str, Any] = {}
    for name, path, value in _operations(operations):
        if name == "remove":
            _take_away(found, path)
        elif path:
            if path.lower() == "name" and isinstance(value, Mapping):
                found.update(person_fields({"name": value}))
            else:
                _take(found, path, value)
        elif isinstance(value, Mapping):
            found.update(person_fields(value))
        else:
            raise ScimRefusedError("An operation without a path needs an object.", kind="invalidSyntax")
    return found


def group_change(resource: Mapping[str, Any]) -> GroupChange:
    """Return what a whole group resource says."""
    lowered = {str(key).lower(): value for key, value in resource.items()}
    change = GroupChange(steps=[("replace", _member_keys(lowered.get("members", [])))])
    change.display_name = _text(lowered.get("displayname"), "displayName")
    change.external_id = _text(lowered.get("externalid", ""), "externalId")
    return change


def patched_group(operations: Any) -> GroupChange:
    """Return what the operations of a PATCH make of a group."""
    change = GroupChange()
    for name, path, value in _operations(operations):
        if path:
            _patch_group(change, name, path, value)
        elif isinstance(value, Mapping):
            for key, one in value.items():
                _patch_group(change, name, str(key), one)
        else:
            raise ScimRefusedError("An operation without a path needs an object.", kind="invalidSyntax")
    return change


def _patch_group(change: GroupChange, name: str, path: str, value: Any) -> None:
    lowered = path.removeprefix(f"{GROUP}:").lower()
    if lowered.startswith("members["):
        change.steps.append(_selected_members(name, path.removeprefix(f"{GROUP}:"), value))
    elif lowered == "members":
        keys = _member_keys(value or [])
        if name == "remove" and not keys:
            change.steps.append(("replace", set()))
        else:
            change.steps.append((name, keys))
    elif lowered == "displayname":
        change.display_name = _text(value, "displayName")
    elif lowered == "externalid":
        change.external_id = _text(value, "externalId")


def _selected_members(name: str, path: str, value: Any) -> tuple[str, set[str] | Node]:
    node = _read(path)
    if not isinstance(node, Within):
        raise ScimRefusedError(f"{path[:60]}: a filter of members is needed.", kind="invalidPath")
    if name == "remove":
        return "remove", node.part
    named = node.part.value if isinstance(node.part, Comparison) and node.part.operator == "eq" else ""
    keys = _member_keys(value or []) or {named} - {""}
    if not keys:
        raise ScimRefusedError(f"{path[:60]}: nobody is named.", kind="noTarget")
    return "add", keys


def _read(path: str) -> Node:
    """Return the filter of a path like `members[value eq "3"]`, with or without an attribute after the bracket."""
    try:
        return parse_filter(path[: path.rindex("]") + 1])
    except (FilterRefusedError, ValueError) as error:
        raise ScimRefusedError(f"path: {error}", kind="invalidPath") from None


def _operations(operations: Any) -> Iterable[tuple[str, str, Any]]:
    if not isinstance(operations, list) or not operations or len(operations) > MOST_OPERATIONS:
        raise ScimRefusedError(f"Operations: a list of 1 to {MOST_OPERATIONS} is needed.", kind="invalidSyntax")
    for one in operations:
        if not isinstance(one, Mapping):
            raise ScimRefusedError("An operation is an object.", kind="invalidSyntax")
        name, path = str(one.get("op", "")).lower(), one.get("path", "") or ""
        if name not in {"add", "replace", "remove"}:
            raise ScimRefusedError("op: add, replace or remove is needed.", kind="invalidSyntax")
        if not isinstance(path, str) or (name == "remove" and not path):
            raise ScimRefusedError("A path is needed.", kind="noTarget")
        yield name, path, one.get("value")


def _take(found: dict[str, Any], path: str, value: Any) -> None:
    """Note a value under the field that its path means; paths that mean nothing here are passed over."""
    own = path.removeprefix(f"{USER}:")
    selects = "[" in own and own.partition("[")[0].lower() in USER_PATHS
    if selects and not _is_kept_value(own):
        return
    name = USER_PATHS.get(_SELECTED.sub("", own).lower())
    if name is None:
        return
    if name == "active":
        found[name] = _truth(value)
    elif name == "email" and not isinstance(value, str):
        found[name] = _first_mail(value)
    else:
        found[name] = _text(value, path)


def _take_away(found: dict[str, Any], path: str) -> None:
    own = path.removeprefix(f"{USER}:").lower()
    if own == "active":
        raise ScimRefusedError("active: an account is open or closed; say which.", kind="mutability")
    if own == "username":
        raise ScimRefusedError("userName: it is needed.", kind="mutability")
    for one in ("name.givenName", "name.familyName") if own == "name" else (path,):
        _take(found, one, "")


def _is_kept_value(path: str) -> bool:
    """Say whether a path selects the one value that is kept here: the mail address of work, which is the primary."""
    node = _read(path)
    try:
        return isinstance(node, Within) and matches(node.part, {"type": "work", "primary": "true"})
    except FilterRefusedError:
        # Which address it is now is not known here: a selection by it means the one that is kept.
        return True


def _truth(value: Any) -> bool:
    """Return a boolean, also of the text that some clients send for it."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in {"true", "false"}:
        return value.lower() == "true"
    raise ScimRefusedError("active: true or false is needed.")


def _first_mail(value: Any) -> str:
    rows = [row for row in value if isinstance(row, Mapping)] if isinstance(value, list) else []
    chosen = next((row for row in rows if row.get("primary") is True), rows[0] if rows else {})
    return _text(chosen.get("value", ""), "emails")


def _member_keys(value: Any) -> set[str]:
    rows = value if isinstance(value, list) else [value]
    keys = {str(row.get("value", "")) if isinstance(row, Mapping) else str(row) for row in rows}
    return keys - {""}


def _text(value: Any, where: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > 254 or "\x00" in value:
        raise ScimRefusedError(f"{where}: a text of at most 254 signs is needed.")
    return value.strip()
