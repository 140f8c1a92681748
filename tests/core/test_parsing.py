import pytest
from pydantic import BaseModel, ConfigDict

from core.parsing import InputRefusedError, load_json, load_yaml_documents, parse_document


class Objective(BaseModel):
    model_config = ConfigDict(extra="forbid")
    target: float


class Document(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    objectives: list[Objective]


def refused(text: str) -> str:
    with pytest.raises(InputRefusedError) as caught:
        read(text)
    return str(caught.value)


def read(text: str) -> Document:
    ((data, lines),) = load_yaml_documents(text, source="slo.yaml")
    return parse_document(Document, data, source="slo.yaml", lines=lines)


def test_a_wrong_value_is_named_by_file_line_and_path() -> None:
    message = refused("name: a\nobjectives:\n  - target: 0.9\n  - target: often\n")
    assert message.startswith("slo.yaml:4 objectives[1].target: found often;")


def test_an_unknown_key_is_named() -> None:
    assert "slo.yaml:2 tragets: found" in refused("name: a\ntragets: 1\nobjectives: []\n")


def test_a_missing_key_points_at_its_parent() -> None:
    message = refused("name: a\nobjectives:\n  - {}\n")
    assert "slo.yaml:3 objectives[0].target" in message
    assert "this key is required" in message


def test_every_problem_is_told_at_once() -> None:
    assert len(refused("objectives:\n  - target: x\n").splitlines()) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &x 1\nb: *x\n", "alias"),
        ("a: 1\na: 2\n", "key 'a'"),
        ("a: !!python/object/apply:os.system [id]\n", "tag"),
        ("a: [1,\n", "slo.yaml:2:1"),
        ("[" * 60 + "]" * 60, "too deep"),
        ("a: \x00", "slo.yaml"),
        ("? [1]\n: 2\n", "key"),
    ],
)
def test_dangerous_or_broken_yaml_is_refused(text: str, said: str) -> None:
    assert said in refused(text)


def test_a_date_stays_text_and_identifiers_stay_text() -> None:
    ((data, _),) = load_yaml_documents("day: 2027-02-01\nref: A.5.30\n", source="x")
    assert data == {"day": "2027-02-01", "ref": "A.5.30"}


def test_only_true_and_false_are_booleans() -> None:
    ((data, _),) = load_yaml_documents("answers: [yes, no]\non: off\nready: true\nlate: False\n", source="x")
    assert data == {"answers": ["yes", "no"], "on": "off", "ready": True, "late": False}


def test_json_errors_name_line_and_column() -> None:
    with pytest.raises(InputRefusedError, match="body:2:"):
        load_json(b'{"a": 1,\n oops}', source="body")
    with pytest.raises(InputRefusedError, match="at most 10 bytes"):
        load_json(b"[1,2,3,4,5,6,7]", source="body", max_bytes=10)
