"""Parse documents at the door: bounded, typed, refused whole with a message that says what to change."""

import re
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson
import yaml
from pydantic import BaseModel, ValidationError

MAX_BYTES = 1_000_000
MAX_NODES = 50_000
MAX_DEPTH = 40


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where (`slo.yaml:12 spec.objectives[0].target`), what was found, what is allowed."""

    where: str
    found: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.where}: found {self.found}; {self.allowed}"


class InputRefusedError(ValueError):
    """A document was refused and nothing of it was applied."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


def refuse(where: str, *, found: object, allowed: str) -> InputRefusedError:
    """Return the error for a single problem."""
    return InputRefusedError([Problem(where=where, found=_shorten(found), allowed=allowed)])


Model = TypeVar("Model", bound=BaseModel)


def parse_document(
    model: type[Model],
    data: object,
    *,
    source: str,
    lines: "LineIndex | None" = None,
    prefix: tuple[str | int, ...] = (),
) -> Model:
    """Validate `data` against a pydantic model; raises InputRefusedError naming source, line, path, found, allowed."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        problems = []
        for detail in error.errors(include_url=False):
            path = (*prefix, *detail["loc"])
            line = lines.line_of(path) if lines is not None else None
            where = f"{source}{f':{line}' if line else ''} {_path_text(path)}".rstrip()
            problems.append(Problem(where=where, found=_shorten(detail["input"]), allowed=_allowed(detail)))
        raise InputRefusedError(problems) from None


class LineIndex:
    """Where each path of a YAML document starts."""

    def __init__(self, lines: dict[tuple[str | int, ...], int]) -> None:
        self._lines = lines

    def line_of(self, path: tuple[str | int, ...]) -> int | None:
        """Return the 1-based line of a path, or of its nearest parent that the document has."""
        for end in range(len(path), -1, -1):
            if (line := self._lines.get(path[:end])) is not None:
                return line
        return None


def load_yaml_documents(text: str | bytes, *, source: str) -> list[tuple[Any, LineIndex]]:
    """Parse YAML into plain values, one for each document, with line numbers.

    Only plain tags; no aliases; no duplicate keys; at most MAX_BYTES, MAX_NODES and MAX_DEPTH. Dates stay strings, and
    so do yes, no, on and off: only true and false are booleans.
    """
    raw = text.encode() if isinstance(text, str) else text
    if len(raw) > MAX_BYTES:
        raise refuse(source, found=f"{len(raw)} bytes", allowed=f"at most {MAX_BYTES} bytes are allowed")
    try:
        _ensure_bounded(raw, source)
        nodes = list(yaml.compose_all(raw, Loader=_PlainLoader))
        return [_construct_document(node, source) for node in nodes]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{source}:{mark.line + 1}:{mark.column + 1}" if mark else source
        raise refuse(
            where, found=error.problem or "text that is not YAML", allowed="well-formed YAML is allowed"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise refuse(source, found=str(error), allowed="well-formed YAML in UTF-8 is allowed") from None


def load_json(raw: bytes, *, source: str, max_bytes: int = MAX_BYTES) -> Any:
    """Parse JSON; raises InputRefusedError with line and column."""
    if len(raw) > max_bytes:
        raise refuse(source, found=f"{len(raw)} bytes", allowed=f"at most {max_bytes} bytes are allowed")
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise refuse(
            f"{source}:{error.lineno}:{error.colno}",
            found=error.msg,
            allowed="well-formed JSON (RFC 8259) is allowed",
        ) from None


_PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "str", "int", "float", "bool", "null"))


# libyaml reads some ten times faster; PyYAML is built without it on a few machines.
_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _PlainLoader(_Loader):  # type: ignore[misc,valid-type]  # chosen when the module is imported
    """Composes plain YAML; dates stay strings, and what a reader takes for a word is one."""


# Booleans as YAML 1.2 has them: `yes`, `no`, `on` and `off` are words, so that `answers: [yes, no]` says what it shows.
_REPLACED_TAGS = frozenset({"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:bool"})
_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _REPLACED_TAGS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_PlainLoader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


def _ensure_bounded(raw: bytes, source: str) -> None:
    """Refuse aliases, the seed of exponential documents, and too much or too deep nesting before anything is built."""
    depth = nodes = 0
    for event in yaml.parse(raw, Loader=_PlainLoader):
        if isinstance(event, yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem="an alias (*name)", problem_mark=event.start_mark)  # type: ignore[arg-type]
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        nodes += isinstance(event, yaml.NodeEvent)
        if depth > MAX_DEPTH or nodes > MAX_NODES:
            raise _too_large(source, event.start_mark.line + 1 if event.start_mark else 0)


def _too_large(source: str, line: int) -> InputRefusedError:
    return refuse(
        f"{source}:{line}",
        found="a document that is too deep or too large",
        allowed=f"depth {MAX_DEPTH} and {MAX_NODES} values are allowed",
    )


def _construct_document(node: yaml.Node, source: str) -> tuple[Any, LineIndex]:
    lines: dict[tuple[str | int, ...], int] = {}
    constructor = yaml.constructor.SafeConstructor()

    def build(current: yaml.Node, path: tuple[str | int, ...]) -> Any:
        lines[path] = current.start_mark.line + 1
        if len(path) > MAX_DEPTH or len(lines) > MAX_NODES:
            raise _too_large(source, current.start_mark.line + 1)
        if current.tag not in _PLAIN_TAGS:
            raise refuse(
                f"{source}:{current.start_mark.line + 1}",
                found=f"the tag {current.tag}",
                allowed="plain values are allowed",
            )
        if isinstance(current, yaml.MappingNode):
            mapping: dict[Any, Any] = {}
            for key_node, value_node in current.value:
                key: Any = constructor.construct_object(key_node, deep=True)
                if not isinstance(key, str | int | bool | None) or key is None or key in mapping or key == "<<":
                    raise refuse(
                        f"{source}:{key_node.start_mark.line + 1} {_path_text(path)}".rstrip(),
                        found=f"the key {key!r}",
                        allowed="each key may stand once, as plain text",
                    )
                mapping[key] = build(value_node, (*path, key))
                lines[(*path, key)] = key_node.start_mark.line + 1
            return mapping
        if isinstance(current, yaml.SequenceNode):
            return [build(child, (*path, position)) for position, child in enumerate(current.value)]
        return constructor.construct_object(current, deep=True)

    return build(node, ()), LineIndex(lines)


def _path_text(path: tuple[str | int, ...]) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else part)
    return text


def _shorten(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 120 else f"{text[:117]}…"


def _allowed(detail: Any) -> str:
    if detail["type"] == "extra_forbidden":
        return "this key is not known here; remove it or correct its spelling"
    if detail["type"] == "missing":
        return "this key is required"
    message: str = detail["msg"]
    return message[:1].lower() + message[1:]
