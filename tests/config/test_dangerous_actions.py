"""Whatever changes rights or secrets asks again who one is: found by reading the services, not by a list in a test."""

import ast
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from importlib import import_module
from inspect import signature
from pathlib import Path

import pytest
from django.apps import apps

from accounts.data import Capability, Principal, PrincipalKind, Role
from config.settings import BASE_DIR
from core.fields import EncryptedTextField
from core.proving import DangerousAction, SignInAgainError, dangerous_actions

# Rows that say who may do what, or what is kept how long; secrets are found by the kind of their field.
RIGHTS = frozenset(
    {"RoleGrant", "ApiToken", "AuditorGrant", "CollectorKey", "SignInPolicy", "IdentityProvider", "RetentionRule"}
)
WRITES = frozenset({"create", "update", "update_or_create", "get_or_create", "delete"})
# Changes that ask nobody again, each with its reason.
EXEMPT = {
    "accounts.services.federation": "what a provider says at a sign-in; the person has just shown who they are",
    "accounts.services.scim": "a directory acts by a token, which proves itself with each call",
    "accounts.services.rights.revoke_api_token": "ends access and gives none: never in the way of an emergency",
    "accounts.services.rights.close_account": "called by the services for administrators and directories, which ask",
    "accounts.services.provider_keys.ensure_key": "makes the first key, which nothing relied on before",
    "compliance.services.audits.revoke_auditor": "ends access and gives none",
    "compliance.services.audits.revoke_all_of": "ends access of somebody who left",
    "custody.services.erasing": "carried out by a worker after the request, which asks",
    "incidents.services.integrations.store_internal": "the site's own door, which no address leads to",
    "reliability.services.documents": "applies sources by apply_source, which asks",
    "core": "no people there",
}


def modules(app: str) -> list[Path]:
    """Return the files with a room's services."""
    return sorted(BASE_DIR.glob(f"{app}/services*.py")) + sorted((BASE_DIR / app / "services").rglob("*.py"))


def loaded() -> list[DangerousAction]:
    for app in secrets_by_app():
        for path in modules(app):
            import_module(".".join(path.relative_to(BASE_DIR).with_suffix("").parts).removesuffix(".__init__"))
    return dangerous_actions()


def stale() -> Principal:
    return Principal(
        kind=PrincipalKind.USER,
        label="ada",
        user_id=1,
        site_roles=frozenset({Role.ADMIN}),
        authenticated_at=datetime(2000, 1, 1, tzinfo=UTC),
    )


@pytest.mark.django_db
def test_every_dangerous_action_asks_again_before_it_does_anything() -> None:
    actions = loaded()
    assert len(actions) > 40
    for action in actions:
        assert action.what, action.name
        arguments = {
            name: None
            for name, one in signature(action.run).parameters.items()
            if name != "principal" and one.default is one.empty
        }
        with pytest.raises(SignInAgainError):
            action.run(principal=stale(), **arguments)


@pytest.mark.django_db
def test_tokens_and_who_has_just_signed_in_are_not_asked() -> None:
    action = next(one for one in loaded() if one.name.endswith("services.rights.create_user"))
    for principal in (replace(stale(), authenticated_at=None), replace(stale(), authenticated_at=datetime.now(tz=UTC))):
        person = action.run(principal=principal, username=f"n{principal.authenticated_at is None}", password=None)
        assert person.pk
    assert principal.may(Capability.SITE_ADMIN)


def test_nothing_that_changes_rights_or_secrets_is_missing_from_the_list() -> None:
    marked = {one.name for one in loaded()}
    found = dict(changes())
    assert len(found) > 20
    missing = {
        name: why
        for name, why in found.items()
        if name not in marked and not any(name == part or name.startswith(f"{part}.") for part in EXEMPT)
    }
    assert missing == {}


def test_no_page_and_no_api_changes_them_past_the_services() -> None:
    for app, names in secrets_by_app().items():
        room = BASE_DIR / app
        doors = [room / "views.py", room / "api.py", *(room / "views").rglob("*.py"), *(room / "api").rglob("*.py")]
        for path in (one for one in doors if one.exists()):
            assert list(reasons(ast.parse(path.read_text()), names)) == [], path


def secrets_by_app() -> dict[str, set[str]]:
    """Return the names of encrypted fields by room."""
    found: dict[str, set[str]] = {}
    for config in apps.get_app_configs():
        if Path(config.path).parent == BASE_DIR:
            found[config.label] = {
                field.name
                for model in config.get_models()
                for field in model._meta.get_fields()
                if isinstance(field, EncryptedTextField)
            }
    return found


def changes() -> Iterator[tuple[str, str]]:
    """Yield the public services with a principal that write a secret or a right, themselves or by a helper beside."""
    for app, names in secrets_by_app().items():
        for path in modules(app):
            module = ".".join(path.relative_to(BASE_DIR).with_suffix("").parts)
            functions = {
                node.name: node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)
            }
            for name, node in functions.items():
                takes = {one.arg for one in [*node.args.args, *node.args.kwonlyargs]}
                if name.startswith("_") or "principal" not in takes:
                    continue
                for why in reasons_within(name, functions, names, set()):
                    yield f"{module}.{name}", why


def reasons_within(name: str, functions: dict[str, ast.FunctionDef], secret: set[str], seen: set[str]) -> Iterator[str]:
    if name in seen:
        return
    seen.add(name)
    yield from reasons(functions[name], secret)
    for node in ast.walk(functions[name]):
        if isinstance(node, ast.Name) and node.id in functions and node.id.startswith("_"):
            yield from reasons_within(node.id, functions, secret, seen)


def reasons(tree: ast.AST, secret: set[str]) -> Iterator[str]:
    """Yield why a piece of code changes a right or a secret."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Attribute) and target.attr in secret:
                    yield f"sets .{target.attr}"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in WRITES:
            model, manager, _ = ast.unparse(node.func).partition(".objects")
            if not manager:
                continue
            if model in RIGHTS:
                yield f"{node.func.attr}s {model}"
            keys = [key for one in ast.walk(node) if isinstance(one, ast.Dict) for key in one.keys]
            written = {str(key.value) for key in keys if isinstance(key, ast.Constant)}
            written |= {one.arg for one in node.keywords if one.arg}
            if hit := sorted(written & secret):
                yield f"writes {hit[0]} of {model}"
