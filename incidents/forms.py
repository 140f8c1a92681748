"""Forms of the room's pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.utils import timezone

from accounts.data import Principal
from accounts.selectors import people, teams
from catalog.selectors import services_visible
from core.choosing import offer, offer_records
from delivery.data import Channel
from incidents.data import IncidentRole, IntegrationKind, PublicState, Severity
from incidents.domain.review_templates import FACTOR_KINDS, SECTIONS
from incidents.models import Alert, EscalationPolicy, FollowUp, Silence, StatusPage, TimelineEntry
from incidents.selectors import status_pages
from incidents.selectors.analytics import Cut

SEVERITIES = [(one.value, one.value.upper()) for one in Severity]
ROLES = [(one.value, one.value) for one in IncidentRole]
DUE_IN_DAYS = [("7", "in a week"), ("14", "in two weeks"), ("30", "in a month")]


def _moment() -> forms.DateTimeInput:
    return forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M")


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
        offer_records(self, "service", services_visible(viewer=principal), noun="service")
        self.fields["policy"].queryset = EscalationPolicy.objects.all()  # type: ignore[attr-defined]


class NoteForm(forms.Form):
    """Write to the timeline, or give a command."""

    text = forms.CharField(
        max_length=10_000,
        widget=forms.Textarea(
            attrs={"rows": 3, "placeholder": "What you see, what you do; or /ack, /sev1 why, /task …"}
        ),
        label="A note, or a command",
    )
    link = forms.CharField(
        max_length=500, required=False, label="Evidence", help_text="A link to what shows it: a graph, a log, a run."
    )


class CorrectionForm(forms.Form):
    """Put an entry of the timeline right."""

    entry = forms.TypedChoiceField(coerce=int)
    text = forms.CharField(max_length=10_000, widget=forms.Textarea(attrs={"rows": 2}), label="What is right")
    at = forms.DateTimeField(widget=_moment(), required=False, label="When it was", help_text="Empty: as it was said.")

    def __init__(self, *args: object, entries: Sequence[TimelineEntry], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        field = self.fields["entry"]
        field.choices = [  # type: ignore[attr-defined]
            (one.pk, f"{timezone.localtime(one.at):%H:%M} {one.text[:80]}") for one in entries
        ]


class TaskForm(forms.Form):
    """Something to do."""

    title = forms.CharField(max_length=300)
    owner: forms.ModelChoiceField[Any] = forms.ModelChoiceField(queryset=None, required=False)

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["owner"].queryset = people().filter(is_active=True)  # type: ignore[attr-defined]


class StatusForm(forms.Form):
    """Tell those outside."""

    page = forms.ModelChoiceField(queryset=StatusPage.objects.none())
    state = forms.ChoiceField(choices=[(one.value, one.value) for one in PublicState])
    title = forms.CharField(max_length=200, help_text="As it is called outside.")
    text = forms.CharField(max_length=5000, widget=forms.Textarea(attrs={"rows": 3}))

    def __init__(self, *args: object, principal: Principal, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["page"].queryset = status_pages(viewer=principal)  # type: ignore[attr-defined]


class MergeForm(forms.Form):
    """It is another one."""

    into = forms.CharField(max_length=30, label="It is", help_text="The reference of the other one, as INC-3.")


class SplitForm(forms.Form):
    """Some of its alerts are about something else."""

    alerts = forms.TypedMultipleChoiceField(coerce=int, widget=forms.CheckboxSelectMultiple)
    title = forms.CharField(max_length=200)
    severity = forms.ChoiceField(choices=SEVERITIES)

    def __init__(self, *args: object, alerts: Sequence[Alert], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["alerts"].choices = [(one.pk, one.title) for one in alerts]  # type: ignore[attr-defined]


class PauseForm(forms.Form):
    """Let the clocks stand still."""

    reason = forms.ChoiceField(label="Waiting for")
    note = forms.CharField(max_length=200, required=False)

    def __init__(self, *args: object, reasons: Sequence[str], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["reason"].choices = [(one, one) for one in reasons]  # type: ignore[attr-defined]


class AwarenessForm(forms.Form):
    """Since when it is known that an authority must be told."""

    at = forms.DateTimeField(widget=_moment(), required=False, label="Known since", help_text="Empty: now.")
    what = forms.CharField(max_length=200, required=False, label="What is concerned")


class AuthorityForm(forms.Form):
    """The authority was told."""

    reference = forms.CharField(max_length=120, required=False, label="Its reference number")


class AnalyticsForm(forms.Form):
    """Which period, and by what it is counted apart."""

    days = forms.TypedChoiceField(
        coerce=int,
        choices=[(7, "7 days"), (30, "30 days"), (90, "90 days"), (365, "a year")],
        label="The last",
        required=False,
    )
    by = forms.ChoiceField(choices=[(one.value, one.value) for one in Cut], required=False)
    severity = forms.ChoiceField(choices=[("", "every"), *SEVERITIES], required=False)
    service = forms.ChoiceField(choices=[("", "every")], required=False, label="Only this service")

    def __init__(self, *args: object, viewer: Principal, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        offer(self, "service", services_visible(viewer=viewer), noun="service")


class SubscribeForm(forms.Form):
    """An address that wants a page's updates."""

    address = forms.EmailField(max_length=320, label="Mail address")


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


def _section(rows: int, help_text: str = "") -> forms.CharField:
    return forms.CharField(widget=forms.Textarea(attrs={"rows": rows}), required=False, help_text=help_text)


class ReviewForm(forms.Form):
    """Finish a review."""

    summary = _section(3)
    impact = _section(3, "How long, whom, how badly; what it cost the error budgets.")
    detection = _section(3, "How was it found, and what sped up or slowed down the answer?")
    contributing_factors = _section(
        5,
        f"One on each line, as “change: the flag went to all at once”. Kinds: {', '.join(FACTOR_KINDS)}. "
        "Several come together; a person is never one.",
    )
    went_well = _section(3)
    went_poorly = _section(3, "Also where luck helped.")
    lessons = _section(3)
    external_message = _section(3, "What customers are told.")

    def __init__(self, *args: object, sections: Sequence[str], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        for name, label in SECTIONS.items():
            self.fields[name].label = label if name in sections else f"{label} (not asked for)"
        self.order_fields([*sections, *(name for name in SECTIONS if name not in sections)])


class ReviewOwnerForm(forms.Form):
    """Who brings a review to its end."""

    owner: forms.ModelChoiceField[Any] = forms.ModelChoiceField(queryset=None)
    due_on = forms.DateField(required=False, widget=forms.DateInput(attrs={"type": "date"}), label="Due")

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["owner"].queryset = people().filter(is_active=True)  # type: ignore[attr-defined]


class AcceptRiskForm(forms.Form):
    """Leave a follow-up undone for a time."""

    key = forms.CharField(max_length=160, widget=forms.HiddenInput)
    reason = forms.CharField(max_length=200)
    until = forms.DateField(widget=forms.DateInput(attrs={"type": "date"}))


class FollowUpForm(forms.Form):
    """Something left to do."""

    title = forms.CharField(max_length=300)
    owner: forms.ModelChoiceField[Any] = forms.ModelChoiceField(queryset=None, required=False)
    due_in_days = forms.ChoiceField(choices=DUE_IN_DAYS, initial="14", label="Due")
    kind = forms.ChoiceField(choices=FollowUp.Kind.choices, help_text="What it does to the next one like this.")
    external_url = forms.URLField(required=False, max_length=300, label="Ticket elsewhere", assume_scheme="https")

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
        widget=forms.Textarea(attrs={"rows": 24, "spellcheck": "false", "class": "font-monospace"}),
        label="Documents",
        max_length=200_000,
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
