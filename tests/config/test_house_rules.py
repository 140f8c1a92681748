"""What no linter can see."""

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
