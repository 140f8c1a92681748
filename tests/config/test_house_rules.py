"""What no linter can see."""

import re
from pathlib import Path

import pytest
from django.apps import apps
from django.db import models

# From the ground up; a room may refer to its own floor's models only if they are its own.
FLOORS = [
    {"core"},
    {"delivery"},
    {"ledger"},
    {"accounts"},
    {"catalog", "drivers"},
    {"runbooks", "reliability"},
    {"incidents"},
    {"compliance", "chaos"},
    {"custody"},
    {"portal"},
    {"demo"},
]
FLOOR_OF = {app: floor for floor, names in enumerate(FLOORS) for app in names}
OURS = [model for model in apps.get_models(include_auto_created=True) if model._meta.app_label in FLOOR_OF]
WRITTEN = [model for model in OURS if not model._meta.auto_created]


def name(model: type[models.Model]) -> str:
    return model._meta.label


@pytest.mark.parametrize("model", OURS, ids=name)
def test_foreign_keys_point_down(model: type[models.Model]) -> None:
    app = model._meta.app_label
    for field in model._meta.get_fields():
        target = field.related_model
        if field.auto_created or target is None or isinstance(target, str):
            continue
        other = target._meta.app_label
        assert other == app or FLOOR_OF.get(other, -1) < FLOOR_OF[app], f"{field} points up or sideways to {other}"


@pytest.mark.parametrize("model", WRITTEN, ids=name)
def test_a_model_says_what_it_is_and_has_a_fixed_ordering(model: type[models.Model]) -> None:
    assert not (model.__doc__ or f"{model.__name__}(").startswith(f"{model.__name__}("), "write a docstring"
    assert model.__str__ is not models.Model.__str__, "write __str__"
    assert model._meta.ordering, "set Meta.ordering"


def test_every_app_of_ours_is_on_a_floor() -> None:
    from django.conf import settings

    ours = {app for app in settings.INSTALLED_APPS if "." not in app and (settings.BASE_DIR / app).is_dir()}
    assert ours == set(FLOOR_OF)


def test_four_eyes_are_compared_in_one_place_alone() -> None:
    """A comparison of references takes a person and their API token for two people; `is_same_person` does not."""
    who = r"(self\.)?(principal|viewer)\.reference"
    compared = re.compile(rf"[!=]= {who}|{who} [!=]=|in \{{[^}}]*\b{who}")
    root = Path(__file__).parents[2]
    found = [
        f"{path.relative_to(root)}: {line.strip()}"
        for app in FLOOR_OF
        for path in (root / app).rglob("*.py")
        for line in path.read_text().splitlines()
        if compared.search(line)
    ]
    # Who runs it, whom it is told, and which journal it stands in: nobody approves anything there.
    allowed = {
        "accounts/selectors.py: if reference == principal.reference:",
        'runbooks/views/runs.py: "is_operator": run.operator == principal.reference,',
        "chaos/services/running.py: and last.requested_by == principal.reference",
        'chaos/services/approvals.py: if f"user:{user.pk}" in {principal.reference, plan.revision.author}:',
    }
    assert set(found) == allowed
