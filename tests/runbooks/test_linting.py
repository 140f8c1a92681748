"""The linter: each rule names the block, what was found and how to mend it."""

import pytest

from core.parsing import InputRefusedError
from runbooks.services import parse_runbook
from tests.runbooks.conftest import Bench, block, check, step

FRONT = "inputs: {name: {default: x}, hosts: {type: list, default: [a]}}\n"
UNDO = block("step id=undo on=rollback", action="do.change", timeout="5s")


def problems(body: str, front: str = FRONT) -> list[str]:
    try:
        parse_runbook(f"---\nrunbook: x\ntitle: x\n{front}---\n{body}", source="x.md")
    except InputRefusedError as error:
        return [str(one) for one in error.problems]
    return []


@pytest.mark.usefixtures("bench")
@pytest.mark.parametrize(
    ("body", "said"),
    [
        (step("a", action="do.nothing-known"), "the action do.nothing-known"),
        (step("a", colour="red"), "colour"),
        (step("a", with_="{nam: x}"), "nam"),
        (step("a", with_="{name: '{{ inputs.nobody }}'}"), "the input nobody"),
        (step("a", with_="{name: '{{ item }}'}"), "it is known in a block with foreach only"),
        (step("a", with_="{name: '{{ steps.b.value }}'}") + step("b"), "only blocks above this one"),
        (step("a", with_="{name: '{{ 7 * 7 }}'}"), "{{ 7 * 7 }}"),
        (step("a", action="do.destroy"), "a destructive step without approval"),
        (step("a") + block("approve id=late", before="[a]"), "put the approval above the step"),
        (block("approve id=g", before="[c]") + check("c"), "an approval guards steps"),
        (block("step id=a", action="do.change"), "timeout"),
        (step("a").replace("timeout: 10s", "timeout: 2h"), "an action has an hour at most"),
        (step("a", when='"false"'), "this block is never reached"),
        (step("a", when='"1 > 2"'), "this block is never reached"),
        (step("a", when='"inputs.nobody > 2"'), "the input nobody"),
        (step("a", when='"open(1)"'), "when"),
        (UNDO + step("a"), "a step that is never reached"),
        (step("a", needs="[undo]", rollback="undo") + UNDO, "that one only undoes"),
        (step("a", needs="[b]") + step("b", needs="[a]"), "break the circle"),
        (step("a", needs="[a]"), "break the circle"),
        (step("a", needs="[nobody]"), "needs: nobody"),
        (step("a", verify="nobody"), "verify: nobody"),
        (step("a", rollback="b") + step("b"), "on=rollback"),
        (step("a", foreach="inputs.name"), "name an input of type list"),
        (step("a", retry="{max: 2, on: [timeout]}", idempotency="none"), "tried again only with idempotency"),
        (step("a", idempotency="key"), "does not know a second try by its key"),
        (step("a", risk="change", action="do.destroy") + "", "only more may be declared"),
        (check("a").replace("see.look", "do.change"), "a check may only look"),
        (step("a", action="see.look"), "make it a check"),
        (block("confirm id=a", ask="Sure?", go_on="[maybe]"), "go_on: maybe"),
        (block("decide id=a", ask="Which?", branches="{x: [nobody], y: [b]}") + step("b"), "branches.x: nobody"),
        (
            block("decide id=a", ask="Which?", branches="{x: [b], y: [c]}") + step("b") + step("c", needs="[b]"),
            "that one is on another way",
        ),
        (block("decide id=a", branches="{x: [b], y: [c]}") + step("b") + step("c"), "either ask"),
        (step("a") + "password: hunter2hunter2hunter2", "looks like a secret"),
        (step("a") + "-----BEGIN RSA PRIVATE KEY-----", "looks like a secret"),
        ("```check a\naction: see.look\n```", "the fence"),
        (step("a") + step("a"), "a second time"),
    ],
)
def test_each_rule_names_what_and_how_to_mend(body: str, said: str) -> None:
    found = problems(body)
    assert any(said in one for one in found), found
    assert all(one.startswith("x.md") for one in found)


def test_lines_are_those_of_the_file(bench: Bench) -> None:
    del bench
    (found,) = problems("Prose.\n\n" + step("a", action="do.nothing-known"), front="")
    assert found.startswith("x.md:7 step a")


def test_what_is_whole_has_no_problem(bench: Bench) -> None:
    del bench
    whole = check("look") + block("approve id=agree", before="[hit]")
    whole += step("hit", "do.destroy", rollback="undo", verify="seen") + check("seen") + UNDO
    assert problems(whole) == []
