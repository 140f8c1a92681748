"""Forms of the room's pages."""

from __future__ import annotations

from typing import Any

from django import forms

from accounts.data import Principal
from accounts.selectors import people, teams
from catalog.selectors import services_visible
from delivery.data import Channel
from incidents.data import IncidentRole, IntegrationKind, Severity
from incidents.models import EscalationPolicy, Silence

SEVERITIES = [(one.value, one.value.upper()) for one in Severity]
ROLES = [(one.value, one.value) for one in IncidentRole]
DUE_IN_DAYS = [("7", "in a week"), ("14", "in two weeks"), ("30", "in a month")]


class OpenIncidentForm(forms.Form):
    """Declare an incident."""

    title = forms.CharField(max_length=200, help_text="What is wrong, as a customer would say it.")
    severity = forms.ChoiceField(choices=SEVERITIES, initial=Severity.SEV3.value)
    service: forms.ModelChoiceField[Any] = forms.ModelChoiceField(
        queryset=None, required=False, help_text="The service that suffers."
    )
    policy = forms.ModelChoiceField(
        queryset=EscalationPolicy.objects.none(),
        required=False,
        label="Escalation policy",
        help_text="Whom to page; nobody is paged without one.",
    )

    def __init__(self, *args: object, principal: Principal, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["service"].queryset = services_visible(viewer=principal)  # type: ignore[attr-defined]
        self.fields["policy"].queryset = EscalationPolicy.objects.all()  # type: ignore[attr-defined]


class NoteForm(forms.Form):
    """Write to the timeline."""

    text = forms.CharField(max_length=10_000, widget=forms.Textarea(attrs={"rows": 3}), label="Add to the timeline")


class ResolveForm(forms.Form):
    """Say what ended it."""

    reason = forms.CharField(max_length=200, required=False, label="What ended it")


class SeverityForm(forms.Form):
    """Decide a severity."""

    severity = forms.ChoiceField(choices=SEVERITIES)
    reason = forms.CharField(max_length=200)


class RoleForm(forms.Form):
    """Give a role to a person."""

    role = forms.ChoiceField(choices=ROLES)
    person: forms.ModelChoiceField[Any] = forms.ModelChoiceField(queryset=None)

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["person"].queryset = people().filter(is_active=True)  # type: ignore[attr-defined]


class OverrideForm(forms.Form):
    """Let somebody stand in."""

    person: forms.ModelChoiceField[Any] = forms.ModelChoiceField(queryset=None)
    starts_at = forms.DateTimeField(
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"), label="From"
    )
    ends_at = forms.DateTimeField(
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"), label="Until"
    )
    reason = forms.CharField(max_length=200, required=False)

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["person"].queryset = people().filter(is_active=True)  # type: ignore[attr-defined]


class ReviewForm(forms.Form):
    """Finish a review."""

    summary = forms.CharField(widget=forms.Textarea(attrs={"rows": 3}), required=False)
    impact = forms.CharField(widget=forms.Textarea(attrs={"rows": 3}), required=False)
    contributing_factors = forms.CharField(
        widget=forms.Textarea(attrs={"rows": 5}),
        required=False,
        help_text="One on each line. Several factors come together; a person is never one.",
    )
    lessons = forms.CharField(
        widget=forms.Textarea(attrs={"rows": 4}),
        required=False,
        help_text="What went well, what went poorly, where luck helped.",
    )


class FollowUpForm(forms.Form):
    """Something left to do."""

    title = forms.CharField(max_length=300)
    owner: forms.ModelChoiceField[Any] = forms.ModelChoiceField(queryset=None, required=False)
    due_in_days = forms.ChoiceField(choices=DUE_IN_DAYS, initial="14", label="Due")

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["owner"].queryset = people().filter(is_active=True)  # type: ignore[attr-defined]


class IntegrationForm(forms.Form):
    """A sender of alerts, beats or deployments."""

    slug = forms.SlugField(max_length=63, label="Name", help_text="Lower-case letters, digits and hyphens.")
    kind = forms.ChoiceField(
        choices=[(one.value, one.value) for one in IntegrationKind if one is not IntegrationKind.INTERNAL]
    )
    signed = forms.BooleanField(required=False, label="Ask for a signature (Grafana)")
    every_minutes = forms.IntegerField(
        required=False, min_value=1, max_value=525_600, label="Beat every (minutes)", help_text="For heartbeats only."
    )


class MappingForm(forms.Form):
    """Where a body keeps what matters."""

    mapping = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 10, "spellcheck": "false"}),
        help_text="YAML: title, status, firing_values, resolved_values, labels, fixed_labels, fingerprint, starts_at.",
    )


class ReplayForm(forms.Form):
    """How far back to process stored events again."""

    hours = forms.IntegerField(min_value=1, max_value=8760, initial=24, label="Of the last hours")


class SilenceForm(forms.Form):
    """Which alerts page nobody, from when until when, and why."""

    matchers = forms.CharField(
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false"}),
        label="Alerts that fit",
        help_text='One matcher on each line; all must fit: service="gateway", severity=~"page|critical".',
    )
    kind = forms.ChoiceField(choices=Silence.Kind.choices)
    starts_at = forms.DateTimeField(
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"), label="From"
    )
    ends_at = forms.DateTimeField(
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"), label="Until"
    )
    recurrence = forms.CharField(
        required=False, max_length=200, help_text="Empty: once. As FREQ=WEEKLY;BYDAY=SU (RFC 5545), in your zone."
    )
    reason = forms.CharField(max_length=200, label="Why")
    team: forms.ModelChoiceField[Any] = forms.ModelChoiceField(queryset=None, required=False)

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["team"].queryset = teams()  # type: ignore[attr-defined]


class SpanForm(forms.Form):
    """From when until when, and why."""

    starts_at = forms.DateTimeField(
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"), label="From"
    )
    ends_at = forms.DateTimeField(
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"), label="Until"
    )
    reason = forms.CharField(max_length=200, required=False)


class CalendarForm(forms.Form):
    """A calendar file."""

    calendar = forms.FileField(label="Calendar (.ics)")


class DocumentsForm(forms.Form):
    """Routes, policies and schedules as YAML."""

    documents = forms.CharField(
        widget=forms.Textarea(attrs={"rows": 24, "spellcheck": "false"}), label="Documents", max_length=200_000
    )
    days = forms.IntegerField(min_value=1, max_value=90, initial=7, label="Try it on the alerts of the last days")


class ContactForm(forms.Form):
    """A way by which one's own pages go out."""

    channel = forms.ChoiceField(
        choices=[(one.value, one.value) for one in Channel if one not in {Channel.IN_APP, Channel.WEBHOOK}]
    )
    address = forms.CharField(
        max_length=320, help_text="A mail address, or CONNECTOR/TARGET as ops/U0123 or phone/+4930123456."
    )
    after_minutes = forms.IntegerField(min_value=0, max_value=1440, initial=0, label="After minutes")
    severities = forms.MultipleChoiceField(
        choices=SEVERITIES, required=False, widget=forms.CheckboxSelectMultiple, label="Only for (none: every)"
    )
