"""Forms of the room's pages."""

from datetime import UTC, date, datetime, time
from typing import Any

from django import forms
from django.db.models import QuerySet

from accounts.data import Role
from accounts.selectors import people
from compliance.domain.uploads import ALLOWED
from compliance.models import AuditFinding, Control, Engagement, Evidence, Framework
from compliance.services.evidence import Submission


class DateInput(forms.DateInput):
    """A date, chosen with the browser's own calendar."""

    input_type = "date"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(format="%Y-%m-%d", **kwargs)


def day_field(label: str, *, required: bool = True, help_text: str = "") -> forms.DateField:
    """Return a field for a day."""
    return forms.DateField(label=label, widget=DateInput(), required=required, help_text=help_text)


def start_of(day: date) -> datetime:
    """Return the first instant of a day, UTC."""
    return datetime.combine(day, time.min, UTC)


class EvidenceForm(forms.Form):
    """Evidence for a control: a file, or a statement that one answers for."""

    title = forms.CharField(max_length=160, help_text="What it shows, as `Minutes of the management review`.")
    statement = forms.CharField(
        widget=forms.Textarea(attrs={"rows": 4}),
        required=False,
        help_text="What you attest, in full sentences. Without a file, this is the evidence.",
    )
    file = forms.FileField(required=False, help_text=f"At most 25 MB; {ALLOWED}.")
    period_start = day_field("Period from", help_text="The first day that it speaks of.")
    period_end = day_field("Period to", help_text="The last day that it speaks of.")
    observed_on = day_field("Observed on", required=False, help_text="When it was seen; the period's end without it.")
    expires_on = day_field("Expires on", required=False)
    source = forms.CharField(max_length=160, required=False, help_text="The system it comes from.")
    query = forms.CharField(max_length=500, required=False, help_text="What was asked of the source, if anything.")
    sensitivity = forms.ChoiceField(choices=Evidence.Sensitivity.choices)

    def submission(self) -> Submission:
        """Return what is handed in."""
        given = self.cleaned_data
        upload = given["file"]
        end = start_of(given["period_end"])
        return Submission(
            title=given["title"],
            statement=given["statement"],
            period_start=start_of(given["period_start"]),
            period_end=end,
            observed_at=start_of(given["observed_on"]) if given["observed_on"] else None,
            expires_at=start_of(given["expires_on"]) if given["expires_on"] else None,
            source=given["source"],
            query=given["query"],
            sensitivity=given["sensitivity"],
            content=upload.read() if upload else None,
            file_name=upload.name if upload else "",
        )


class ReasonForm(forms.Form):
    """Why."""

    reason = forms.CharField(max_length=500, widget=forms.Textarea(attrs={"rows": 2}))


class ExceptionForm(forms.Form):
    """A deviation to accept for a while."""

    control = forms.ModelChoiceField(queryset=Control.objects.none(), to_field_name="slug")
    reason = forms.CharField(widget=forms.Textarea(attrs={"rows": 3}))
    compensation = forms.CharField(
        label="What protects meanwhile", widget=forms.Textarea(attrs={"rows": 2}), required=False
    )
    covers = forms.CharField(
        max_length=200,
        required=False,
        help_text="For a skipped scanner check: its id, or its id and resource (`CKV_AWS_24 aws_security_group.web`).",
    )
    expires_on = day_field("Ends on", help_text="It never counts after this day, and lasts at most a year.")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choose_control(self)


class EngagementForm(forms.Form):
    """A new audit."""

    name = forms.CharField(max_length=160, help_text="As `SOC 2 Type II, 2026`.")
    slug = forms.SlugField(label="Short name", max_length=63, help_text="Part of its address, as `soc2-2026`.")
    kind = forms.ChoiceField(choices=Engagement.Kind.choices, initial=Engagement.Kind.TYPE_2)
    frameworks = forms.ModelMultipleChoiceField(
        queryset=Framework.objects.all(), to_field_name="slug", widget=forms.CheckboxSelectMultiple
    )
    window_start = day_field("Window from")
    window_end = day_field("Window to", help_text="The first day after the window.")
    scope = forms.CharField(widget=forms.Textarea(attrs={"rows": 2}), required=False)

    def order(self) -> dict[str, Any]:
        """Return what `create_engagement` is asked for."""
        given = self.cleaned_data
        return {
            "slug": given["slug"],
            "name": given["name"],
            "kind": given["kind"],
            "frameworks": [one.slug for one in given["frameworks"]],
            "window_start": start_of(given["window_start"]),
            "window_end": start_of(given["window_end"]),
            "scope": given["scope"],
        }


class GrantForm(forms.Form):
    """Whom to let read an audit, and until when."""

    auditor = forms.ModelChoiceField(queryset=people().none(), help_text="People who hold the role auditor.")
    expires_on = day_field("Until")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        auditor = self.fields["auditor"]
        assert isinstance(auditor, forms.ModelChoiceField)  # noqa: S101 declared above
        auditor.queryset = people().filter(is_active=True, grants__role=Role.AUDITOR.value, grants__team__isnull=True)


def _controls() -> QuerySet[Control]:
    return Control.objects.filter(retired_at__isnull=True).order_by("title")


class RequestForm(forms.Form):
    """Something to ask for."""

    title = forms.CharField(max_length=200, help_text="As `Restore tests of the third quarter`.")
    text = forms.CharField(label="What exactly", widget=forms.Textarea(attrs={"rows": 3}), required=False)
    control = forms.ModelChoiceField(queryset=Control.objects.none(), required=False, to_field_name="slug")
    due_on = day_field("Wanted by", required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choose_control(self)


class MessageForm(forms.Form):
    """A line in a thread."""

    text = forms.CharField(label="Message", widget=forms.Textarea(attrs={"rows": 3}), required=False)
    evidence = forms.CharField(
        label="Evidence", max_length=40, required=False, help_text="Reference of accepted evidence, as `ev_…`."
    )


class PopulationForm(forms.Form):
    """What to freeze."""

    title = forms.CharField(max_length=160, help_text="As `All production changes`.")
    slug = forms.SlugField(label="Short name", max_length=63)
    entry_types = forms.MultipleChoiceField(
        label="Kinds of entry", help_text="What the checks of the controls in scope look at."
    )

    def __init__(self, *args: Any, kinds: list[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["entry_types"]
        assert isinstance(field, forms.MultipleChoiceField)  # noqa: S101 declared above
        field.choices = [(name, name) for name in kinds]


class SampleForm(forms.Form):
    """How many to draw, and by which seed."""

    size = forms.IntegerField(min_value=1, initial=25)
    seed = forms.CharField(
        max_length=120, required=False, help_text="Type your own; without one a random seed is used and shown."
    )


class FindingForm(forms.Form):
    """A shortcoming."""

    title = forms.CharField(max_length=200)
    severity = forms.ChoiceField(choices=AuditFinding.Severity.choices)
    text = forms.CharField(label="What was found", widget=forms.Textarea(attrs={"rows": 4}), required=False)
    control = forms.ModelChoiceField(queryset=Control.objects.none(), required=False, to_field_name="slug")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choose_control(self)


class AnswerForm(forms.Form):
    """The management's answer."""

    response = forms.CharField(label="Answer", widget=forms.Textarea(attrs={"rows": 4}))
    due_on = day_field("Mended by", required=False)


class ApplicabilityForm(forms.Form):
    """Whether a requirement applies."""

    applies = forms.ChoiceField(choices=[("yes", "It applies"), ("no", "It does not apply")])
    justification = forms.CharField(label="Why, or why not", max_length=500, widget=forms.Textarea(attrs={"rows": 3}))


def choose_control(form: forms.Form, name: str = "control") -> None:
    """Offer the controls in force."""
    field = form.fields[name]
    assert isinstance(field, forms.ModelChoiceField)  # noqa: S101 declared by its form
    field.queryset = _controls()
