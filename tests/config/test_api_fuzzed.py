"""The API is called with what its description allows and with what it does not: no failure, no answer outside of it."""

import os
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from accounts.data import Capability, Role, system_principal
from accounts.selectors import team_by_slug
from accounts.services import create_api_token, create_user, grant_role
from config.wsgi import application
from core.limiting import RateLimit
from tests.browser.organization import build

pytestmark = pytest.mark.django_db
SITE = system_principal("test")
MANY = int(os.environ.get("FUZZ_EXAMPLES", "25"))  # of each operation and role in the long run


@pytest.fixture(autouse=True)
def _asked_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.throttling.REQUESTS", RateLimit(0))


@pytest.fixture(scope="module")
def organization(undone_after_module: None) -> None:
    build()


def token_of(role: Role, *, team: str = "") -> str:
    user = create_user(principal=SITE, username=f"fuzzer-{role.value}", password=None)
    grant_role(principal=SITE, user=user, role=role, team=team_by_slug(slug=team) if team else None)
    _, secret = create_api_token(
        principal=SITE, owner=user, name="fuzzer", scopes=list(Capability), life=timedelta(days=1)
    )
    return secret


@pytest.mark.usefixtures("organization")
@pytest.mark.parametrize(
    ("role", "team", "examples"),
    [
        (Role.ADMIN, "", 3),
        (Role.RESPONDER, "data", 2),
        *(pytest.param(role, "", MANY, marks=pytest.mark.soak) for role in Role),
        *(pytest.param(role, "data", MANY, marks=pytest.mark.soak) for role in Role if role is not Role.ADMIN),
    ],
)
def test_no_call_fails_or_is_answered_otherwise_than_described(role: Role, team: str, examples: int) -> None:
    # Every process of a parallel run reads this file; only one should load so much.
    import schemathesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

    checks = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
    headers = {"Authorization": f"Bearer {token_of(role, team=team)}"}
    schema = schemathesis.openapi.from_wsgi("/api/v1/schema/?format=json", application, headers=headers)
    wrong: dict[str, str] = {}
    for found in schema.get_all_operations():
        operation = found.ok()  # type: ignore[union-attr]

        @given(case=operation.as_strategy())
        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize="FUZZ_EXAMPLES" not in os.environ,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def calls(case: Any) -> None:
            answer = case.call(headers=headers)
            case.validate_response(answer, checks=checks, headers=headers)

        try:
            calls()
        except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 every operation is tried, then all are told
            wrong[operation.label] = str(error)[:1500]
    assert not wrong, "\n\n".join(f"{label}: {text}" for label, text in wrong.items())
