"""What the description of the API says about answers that every operation may give."""

from typing import Any

REFUSAL = {
    "type": "object",
    "description": "Why the request was refused, and what to change.",
    "properties": {
        "detail": {"type": "string"},
        "problems": {
            "type": "array",
            "description": "What is wrong in a document: where, what was found, what is allowed.",
            "items": {
                "type": "object",
                "properties": {
                    "where": {"type": "string"},
                    "found": {"type": "string"},
                    "allowed": {"type": "string"},
                },
                "required": ["where", "found", "allowed"],
            },
        },
    },
}
OBJECTS = {"type": "array", "items": {"type": "object", "additionalProperties": {}}}
METHODS = frozenset({"get", "post", "put", "patch", "delete"})


def describe_refusals(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:  # noqa: ARG001 the hook's signature
    """Add the refusals (4XX) to every operation: a body that names what is wrong."""
    result["components"].setdefault("schemas", {})["Refusal"] = REFUSAL
    body = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}}}
    for operations in result["paths"].values():
        for method, operation in operations.items():
            if method in METHODS:
                operation["responses"].setdefault("4XX", {"description": "Refused", **body})
    _allow_null(result["components"])
    return result


def _allow_null(schema: Any) -> None:
    """Say `anyOf` for what may be null: a value of any kind is null too, and `oneOf` would refuse it then."""
    if isinstance(schema, dict):
        if {"type": "null"} in schema.get("oneOf", ()):
            schema["anyOf"] = schema.pop("oneOf")
        schema = list(schema.values())
    if isinstance(schema, list):
        for part in schema:
            _allow_null(part)
