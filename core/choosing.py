"""Fields that choose a record: from a list, or, of very many, by typing its key.

A page with thousands of options takes long to write and to scroll; nobody finds a service in it that they cannot name.
"""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.forms.renderers import BaseRenderer
from django.forms.utils import flatatt
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

MOST_OFFERED = 200
KEPT = ("required", "label", "initial")


class LongSelect(forms.Select):
    """A list of hundreds of plain choices, written as Django writes it but without a template for each of them."""

    def render(
        self, name: str, value: Any, attrs: dict[str, Any] | None = None, renderer: BaseRenderer | None = None
    ) -> SafeString:
        """Return the element with its options."""
        del renderer
        chosen = {str(one) for one in self.format_value(value)}
        options = format_html_join(
            "\n",
            '<option value="{}"{}>{}</option>',
            ((key, flatatt({"selected": str(key) in chosen}), label) for key, label in self.choices),
        )
        given = self.build_attrs(self.attrs, {"name": name, **(attrs or {})})
        return format_html("<select{}>\n{}\n</select>", flatatt(given), options)


class TypedKeyField(forms.CharField):
    """One key, or with `several` any number of them between spaces or commas; each must be that of a record."""

    def __init__(self, *, found: QuerySet[Any], key: str, noun: str, several: bool, **kwargs: Any) -> None:
        super().__init__(max_length=2000 if several else 200, **kwargs)
        self._found, self._key, self._noun, self._several = found, key, noun, several

    def prepare_value(self, value: Any) -> Any:
        """Write several keys as they are typed."""
        return " ".join(value) if isinstance(value, list | tuple) else value

    def clean(self, value: Any) -> Any:
        """Return the key, or the list of keys. Raises ValidationError for one that no record has."""
        text = super().clean(value)
        keys = text.replace(",", " ").split()
        if len(keys) > 1 and not self._several:
            raise ValidationError(f"One {self._noun} is allowed here.")
        known = set(self._found.filter(**{f"{self._key}__in": keys}).values_list(self._key, flat=True))
        if missing := [one for one in keys if one not in known]:
            raise ValidationError(f"There is no {self._noun} {', '.join(missing)}, or not for you.")
        return keys if self._several else text


def offer(form: forms.Form, name: str, found: QuerySet[Any], *, noun: str, key: str = "slug") -> None:
    """Let a choice field of a form, single or multiple, offer these records by their keys; of very many, typed.

    What it offers for nothing chosen stays.
    """
    field: Any = form.fields[name]
    if not is_too_many(found):
        nothing = [(value, label) for value, label in field.choices if value == ""]
        field.choices = [*nothing, *found.values_list(key, "name")]
        return
    several = isinstance(field, forms.MultipleChoiceField)
    form.fields[name] = TypedKeyField(
        found=found,
        key=key,
        noun=noun,
        several=several,
        help_text=f"{field.help_text} {_typed(noun, several=several)}".strip(),
        **{one: getattr(field, one) for one in KEPT},
    )


def offer_records(form: forms.Form, name: str, found: QuerySet[Any], *, noun: str, key: str = "slug") -> None:
    """Let a field that gives a record offer these; of very many, their key is typed."""
    field: Any = form.fields[name]
    field.queryset = found
    if is_too_many(found):
        field.to_field_name = key
        field.widget = forms.TextInput()
        field.help_text = f"{field.help_text} {_typed(noun, several=False)}".strip()


def offered(found: QuerySet[Any]) -> QuerySet[Any] | None:
    """Return these records for a list to choose from; None where there are too many."""
    return None if is_too_many(found) else found


def is_too_many(found: QuerySet[Any]) -> bool:
    """Say whether these are more than a list offers."""
    return found.order_by()[: MOST_OFFERED + 1].count() > MOST_OFFERED


def _typed(noun: str, *, several: bool) -> str:
    return f"There are very many: type the slugs of any {noun}s." if several else f"Type the slug of the {noun}."
