"""The OpenAPI schema describes the whole API without a guess."""

from typing import Any

import pytest
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema


@pytest.fixture(scope="module")
def schema() -> Any:
    GENERATOR_STATS.reset()
    return SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]


def test_nothing_in_it_had_to_be_guessed(schema: Any) -> None:
    assert schema["paths"]
    assert not GENERATOR_STATS._error_cache
    assert not GENERATOR_STATS._warn_cache, "\n".join(GENERATOR_STATS._warn_cache)


def test_it_is_valid_openapi(schema: Any) -> None:
    validate_schema(schema)  # type: ignore[no-untyped-call]


def test_every_operation_says_how_callers_show_who_they_are(schema: Any) -> None:
    assert set(schema["components"]["securitySchemes"]) == {"session", "token"}
    open_to_all = [
        f"{method.upper()} {path}"
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
        if not operation.get("security") or {} in operation["security"]
    ]
    assert not open_to_all
