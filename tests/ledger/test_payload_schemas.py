"""Every kind of evidence has a schema, and no schema can say what an entry cannot hold."""

from typing import Any, ClassVar, get_args

import pytest
from pydantic import BaseModel

from ledger.data import EVIDENCE_NAMES, EvidenceType, LedgerPayload, payload_schema, payload_schemas
from ledger.data.access import AuditedAction

SCHEMAS = sorted(payload_schemas().items())


def test_all_fifteen_kinds_of_evidence_have_a_schema_and_a_name() -> None:
    assert len(EvidenceType) == 15
    assert {schema.evidence_type for _, schema in SCHEMAS} >= set(EvidenceType)
    assert set(EVIDENCE_NAMES) == set(EvidenceType)


@pytest.mark.parametrize(
    "entry_type",
    ["control.declared", "control.retired", "oncall.schedule_declared", "slo.declared", "population.snapshot"],
)
def test_what_should_exist_has_a_schema(entry_type: str) -> None:
    assert payload_schema(entry_type, 1) is not None


def test_a_second_schema_of_one_type_and_version_is_refused() -> None:
    with pytest.raises(TypeError, match=r"audit\.action version 1 already"):

        class Another(LedgerPayload):
            entry_type: ClassVar[str] = "audit.action"


def test_a_schema_of_a_newer_site_is_not_known() -> None:
    assert payload_schema("audit.action", 99) is None
    assert payload_schema("audit.action", 1) is AuditedAction


def kinds(annotation: Any) -> set[Any]:
    inner = get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {kind for field in annotation.model_fields.values() for kind in kinds(field.annotation)}
    return {kind for one in inner for kind in kinds(one)} if inner else {annotation}


@pytest.mark.parametrize(
    "schema", [schema for _, schema in SCHEMAS], ids=[f"{name}-{version}" for (name, version), _ in SCHEMAS]
)
def test_no_field_can_hold_a_float_or_anything(schema: type[LedgerPayload]) -> None:
    assert not kinds(schema) & {float, Any, object, bytes}
    assert schema.__doc__
    assert schema.model_config.get("frozen")
    assert schema.model_config.get("extra") == "forbid"
