"""The small language of `when` and `choose`: comparisons over inputs and what earlier blocks found.

Evaluated by simpleeval with everything taken away that this language does not need: no calls, no comprehensions, no
format strings, no powers. What remains cannot loop, and an expression is short, so evaluation is bounded.
"""

import ast
from collections.abc import Mapping
from typing import Any

from simpleeval import InvalidExpression, SimpleEval  # type: ignore[import-untyped]

MAX_LENGTH = 300
MAX_NODES = 60
MAX_TEXT = 10_000
_ALLOWED = (
    ast.Expression,
    ast.BoolOp,
    ast.And,
    ast.Or,
    ast.UnaryOp,
    ast.Not,
    ast.USub,
    ast.Compare,
    ast.Eq,
    ast.NotEq,
    ast.Lt,
    ast.LtE,
    ast.Gt,
    ast.GtE,
    ast.In,
    ast.NotIn,
    ast.BinOp,
    ast.Add,
    ast.Sub,
    ast.Div,
    ast.Name,
    ast.Load,
    ast.Attribute,
    ast.Subscript,
    ast.Constant,
)
NAMES = frozenset({"inputs", "steps", "item", "true", "false"})
FIELDS = frozenset({"value", "state", "answer"})


class ExpressionError(ValueError):
    """An expression is not of this language, or has no answer here; the message says why."""


def parse_expression(text: str) -> ast.Expression:
    """Parse an expression. Raises ExpressionError naming what is not allowed."""
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"{len(text)} characters; at most {MAX_LENGTH} are allowed")
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ExpressionError("not an expression, as inputs.level > 3 or steps['lag'].state == 'failed'") from None
    nodes = list(ast.walk(tree))
    if len(nodes) > MAX_NODES:
        raise ExpressionError(f"too long: {len(nodes)} parts; at most {MAX_NODES} are allowed")
    for node in nodes:
        if not isinstance(node, _ALLOWED):
            raise ExpressionError(f"{type(node).__name__} is not part of this language")
        if isinstance(node, ast.Name) and node.id not in NAMES:
            raise ExpressionError(f"the name {node.id}; inputs, steps and item are known")
        if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
            raise ExpressionError(f"the name {node.attr}")
        if isinstance(node, ast.Constant) and not isinstance(node.value, str | int | float | bool):
            raise ExpressionError(f"the value {node.value!r}")
    return tree


def names_used(text: str) -> tuple[set[str], set[str]]:
    """Return the inputs and the block ids that an expression reads. Raises ExpressionError."""
    inputs: set[str] = set()
    steps: set[str] = set()
    for node in ast.walk(parse_expression(text)):
        if not isinstance(node, ast.Attribute | ast.Subscript) or not isinstance(node.value, ast.Name):
            continue
        if isinstance(node, ast.Attribute):
            name = node.attr
        elif isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
            name = node.slice.value
        else:
            raise ExpressionError("a name in brackets is written as text, as steps['lag']")
        (inputs if node.value.id == "inputs" else steps).add(name)
    return inputs, steps


def is_constant(text: str) -> bool | None:
    """Return the answer of an expression that reads nothing, or None when it depends on the run."""
    tree = parse_expression(text)
    if any(isinstance(node, ast.Name) and node.id not in {"true", "false"} for node in ast.walk(tree)):
        return None
    return bool(evaluate(text, inputs={}, steps={}))


def evaluate(text: str, *, inputs: Mapping[str, Any], steps: Mapping[str, Mapping[str, Any]], item: Any = None) -> Any:
    """Evaluate an expression. Raises ExpressionError; nothing it reads can be called or changed."""
    tree = parse_expression(text)
    names = {"inputs": dict(inputs), "steps": {key: dict(one) for key, one in steps.items()}, "item": item}
    evaluator = SimpleEval(names={**names, "true": True, "false": False}, functions={})
    for kind in list(evaluator.nodes):
        if not issubclass(kind, _ALLOWED) and kind is not ast.Expr:
            del evaluator.nodes[kind]
    try:
        answer = evaluator.eval(text.strip(), previously_parsed=tree.body)
    except (
        InvalidExpression,
        TypeError,
        KeyError,
        ValueError,
        ZeroDivisionError,
        AttributeError,
        RecursionError,
    ) as error:
        raise ExpressionError(f"{text}: {error}") from None
    if isinstance(answer, str) and len(answer) > MAX_TEXT:
        raise ExpressionError(f"{text}: the answer is too long")
    return answer
