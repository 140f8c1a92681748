"""Forms of the room's pages."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django import forms
from django.db.models import QuerySet
from django.utils import timezone

from accounts.data import Capability, Principal
from catalog.selectors import services_visible
from core.choosing import is_too_many, offer, offer_records
from reliability.domain.packs import Pack
from reliability.models import Exclusion
from reliability.selectors import GATED_ACTIONS, slos_visible

HOURS = [("1", "1 hour"), ("4", "4 hours"), ("24", "a day"), ("72", "3 days"), ("168", "7 days")]


def _moment(label: str, help_text: str = "") -> forms.DateTimeField:
    return forms.DateTimeField(
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        label=label,
        help_text=help_text,
    )


def _services_where(capability: Capability, principal: Principal) -> QuerySet[Any]:
    """Return the services that somebody sees and may do this for."""
    found, teams = services_visible(viewer=principal), principal.teams_where(capability)
    return found if teams is None else found.filter(team_id__in=teams)


class ExclusionForm(forms.Form):
    """Which time does not count, for what, and why."""

    subject = forms.ChoiceField(label="For", help_text="One SLO, or all SLOs of a service.")
    starts_at = _moment("From", "In your zone; past or future. Whole minutes are excluded.")
    ends_at = _moment("Until")
    recurrence = forms.CharField(
        required=False, max_length=200, help_text="Empty: once. As FREQ=WEEKLY;BYDAY=SU (RFC 5545), in local time."
    )
    zone = forms.CharField(max_length=60, label="Time zone of the recurrence")
    reason = forms.CharField(max_length=500, label="Why", help_text="As an auditor will read it.")
    replaces = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, principal: Principal, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._services = _services_where(Capability.SLO_EXCLUDE, principal)
        slos = slos_visible(viewer=principal).select_related(None).prefetch_related(None)
        teams = principal.teams_where(Capability.SLO_EXCLUDE)
        self._slos = slos if teams is None else slos.filter(service__team_id__in=teams)
        self._is_typed = is_too_many(self._slos) or is_too_many(self._services)
        if self._is_typed:
            help_text = "There are very many: type slo: or service: and the slug, as slo:checkout-availability."
            self.fields["subject"] = forms.CharField(label="For", max_length=200, help_text=help_text)
        else:
            self.fields["subject"].choices = [  # type: ignore[attr-defined]
                ("SLOs", [(f"slo:{slug}", name) for slug, name in self._slos.values_list("slug", "name")]),
                (
                    "All SLOs of a service",
                    [(f"service:{slug}", name) for slug, name in self._services.values_list("slug", "name")],
                ),
            ]
        self.fields["zone"].initial = timezone.get_current_timezone_name()

    def clean_subject(self) -> str:
        """Refuse what was typed and is not among what may be excluded."""
        subject: str = self.cleaned_data["subject"]
        if self._is_typed:
            kind, _, slug = subject.partition(":")
            found = {"slo": self._slos, "service": self._services}.get(kind)
            if found is None or not found.filter(slug=slug).exists():
                raise forms.ValidationError(f"There is no {subject}, or not for you.")
        return subject

    @staticmethod
    def filled_from(exclusion: Exclusion) -> dict[str, Any]:
        """Return what a form that changes an exclusion begins with."""
        subject = f"slo:{exclusion.slo.slug}" if exclusion.slo else ""
        if exclusion.service:
            subject = f"service:{exclusion.service.slug}"
        return {
            "subject": subject,
            "starts_at": timezone.localtime(exclusion.starts_at),
            "ends_at": timezone.localtime(exclusion.ends_at),
            "recurrence": exclusion.recurrence,
            "zone": exclusion.zone,
            "reason": exclusion.reason,
            "replaces": exclusion.reference,
        }


class OverrideForm(forms.Form):
    """Let an action on a service pass for a while, whatever its budgets say."""

    service: forms.ModelChoiceField[Any] = forms.ModelChoiceField(queryset=None, to_field_name="slug")
    action = forms.ChoiceField(choices=[(one, one) for one in GATED_ACTIONS])
    hours = forms.ChoiceField(choices=HOURS, label="For", initial="4")
    reason = forms.CharField(max_length=500, label="Why", help_text="Recorded with your name.")

    def __init__(self, *args: Any, principal: Principal, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        offer_records(self, "service", _services_where(Capability.APPROVE, principal), noun="service")

    @property
    def length(self) -> timedelta:
        """For how long."""
        return timedelta(hours=int(self.cleaned_data["hours"]))


class PackForm(forms.Form):
    """The parameters of an SLO pack; `service` is one of those whose SLOs the reader may edit."""

    def __init__(self, *args: Any, pack: Pack, principal: Principal, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, usual in pack.parameters.items():
            if name == "service":
                self.fields[name] = forms.ChoiceField()
                offer(self, name, _services_where(Capability.SLO_EDIT, principal), noun="service")
            else:
                label = name.replace("_", " ").capitalize()
                self.fields[name] = forms.CharField(max_length=120, initial=usual, label=label)


class WhatIfForm(forms.Form):
    """Another target, window, tiers or latency to judge over the stored history."""

    target = forms.CharField(max_length=20, help_text="As 0.999 or 99.9 %.")
    window = forms.CharField(max_length=10, help_text="A rolling window as 28d.")
    tiers = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
        label="Alert tiers",
        help_text="As `fast critical 1h/5m >14.4 min 10 p 0.01; slow warning 6h/30m share 5%`.",
    )
    since = forms.DateField(
        required=False, widget=forms.DateInput(attrs={"type": "date"}), label="From", help_text="Else all that is kept."
    )

    def __init__(self, *args: Any, edges: Sequence[float] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if edges:
            choices = [("", "as it is"), *((f"{edge:g}", f"{edge:g}") for edge in edges)]
            self.fields["le"] = forms.ChoiceField(
                choices=choices,
                required=False,
                label="Good up to",
                help_text="A bound of the buckets that are kept (30 days).",
            )
            self.order_fields(["target", "le", "window", "tiers", "since"])
