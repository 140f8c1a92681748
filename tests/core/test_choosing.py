"""A form offers few records as a list; of very many, their key is typed and looked up."""

import pytest
from django import forms
from django.test import SimpleTestCase

from accounts.models import Team
from core import choosing
from core.choosing import LongSelect, TypedKeyField, offer, offer_records

pytestmark = pytest.mark.django_db


class OneForm(forms.Form):
    """Both kinds of field."""

    one = forms.ChoiceField(required=False)
    some = forms.MultipleChoiceField(required=False)
    record: "forms.ModelChoiceField[Team]" = forms.ModelChoiceField(queryset=Team.objects.none(), required=False)

    def __init__(self, data: dict[str, object] | None = None) -> None:
        super().__init__(data)
        offer(self, "one", Team.objects.all(), noun="team")
        offer(self, "some", Team.objects.all(), noun="team")
        offer_records(self, "record", Team.objects.all(), noun="team")


@pytest.fixture(autouse=True)
def _teams() -> None:
    Team.objects.bulk_create([Team(slug=f"team-{n}", name=f"Team {n}") for n in range(3)])


@pytest.fixture
def _many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "MOST_OFFERED", 2)


def test_few_are_a_list() -> None:
    form = OneForm()
    assert "<option" in str(form["one"])
    assert "Team 2" in str(form["record"])


def test_what_stands_for_nothing_chosen_stays_on_the_list() -> None:
    form = forms.Form()
    form.fields["one"] = forms.ChoiceField(choices=[("", "every")], required=False)
    offer(form, "one", Team.objects.all(), noun="team")
    assert [label for _, label in vars(form.fields["one"])["_choices"]][:2] == ["every", "Team 0"]


@pytest.mark.usefixtures("_many")
def test_of_many_the_key_is_typed_and_gives_the_same_value() -> None:
    form = OneForm({"one": "team-1", "some": "team-0, team-2", "record": "team-1"})
    assert isinstance(form.fields["one"], TypedKeyField)
    assert "<option" not in f"{form['one']}{form['some']}{form['record']}"
    assert form.is_valid(), form.errors
    assert form.cleaned_data == {
        "one": "team-1",
        "some": ["team-0", "team-2"],
        "record": Team.objects.get(slug="team-1"),
    }


@pytest.mark.usefixtures("_many")
def test_a_key_that_nobody_has_is_refused_at_its_field() -> None:
    form = OneForm({"one": "team-1 team-2", "some": "team-0 nobody", "record": "nobody"})
    assert not form.is_valid()
    assert form.errors["one"] == ["One team is allowed here."]
    assert form.errors["some"] == ["There is no team nobody, or not for you."]
    assert "record" in form.errors


@pytest.mark.usefixtures("_many")
def test_nothing_may_stay_empty_where_it_is_not_required() -> None:
    form = OneForm({})
    assert form.is_valid(), form.errors
    assert form.cleaned_data == {"one": "", "some": [], "record": None}


def test_a_long_list_reads_as_django_writes_it() -> None:
    choices = [("", "none"), ("a&b", "A <b>"), ("Europe/Berlin", "Berlin"), (3, "Three")]
    for value in ("Europe/Berlin", 3, "3", "", None, "a&b", "unknown"):
        plain, long = forms.Select(choices=choices), LongSelect(choices=choices)
        attrs = {"id": "x", "class": "form-select", "required": True, "hidden": False, "aria-describedby": "y"}
        SimpleTestCase().assertHTMLEqual(long.render("n", value, attrs), plain.render("n", value, attrs))
