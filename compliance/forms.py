"""Forms of the room's pages."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from typing import Any

from django import forms
from django.db.models import QuerySet

from accounts.data import Role, system_principal
from accounts.selectors import people
from catalog.selectors import services_visible
from compliance.domain.risks import PRESETS, Level, Scale
from compliance.domain.uploads import ALLOWED
from compliance.models import (
    AccessCampaign,
    AuditFinding,
    ChangeSource,
    Control,
    Engagement,
    Evidence,
    FindingReport,
    Framework,
    Risk,
    Vendor,
    VendorReport,
)
from compliance.selectors.scorecards import scorecard_items
from compliance.services.evidence import Submission
from compliance.services.risks import IndicatorSpec, RiskSpec
from core.choosing import offer

SITE = system_principal("forms")


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


class ScanForm(forms.Form):
    """What to scan: one of an archive, a repository, or (for administrators) a folder."""

    archive = forms.FileField(
        required=False, help_text="ZIP or tar, at most 25 MB: Terraform, Kubernetes, Dockerfiles, GitHub Actions."
    )
    url = forms.CharField(
        label="Git repository", max_length=500, required=False, help_text="As `https://github.com/acme/infra`."
    )
    ref = forms.CharField(
        label="Branch or tag", max_length=120, required=False, help_text="The default one without it."
    )
    path = forms.CharField(
        label="Folder on the machine of the worker", max_length=500, required=False, help_text="As `/srv/infra`."
    )

    def __init__(self, *args: Any, may_paths: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not may_paths:
            del self.fields["path"]

    def order(self) -> dict[str, Any]:
        """Return what `request_scan` is asked for."""
        given = self.cleaned_data
        upload = given["archive"]
        return {
            "archive": upload.read() if upload else None,
            "name": upload.name if upload else "",
            "url": given["url"],
            "ref": given["ref"],
            "path": given.get("path", ""),
        }


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


class RiskForm(forms.Form):
    """A risk."""

    title = forms.CharField(max_length=160, help_text="As `The only region is lost`.")
    slug = forms.SlugField(label="Short name", max_length=63, help_text="Part of its address, as `region-loss`.")
    description = forms.CharField(widget=forms.Textarea(attrs={"rows": 3}), required=False)
    category = forms.ChoiceField(choices=Risk.Category.choices)
    owner = forms.CharField(max_length=120)
    inherent_likelihood = forms.TypedChoiceField(coerce=int, help_text="If nothing were done.")
    inherent_impact = forms.TypedChoiceField(coerce=int)
    residual_likelihood = forms.TypedChoiceField(coerce=int, help_text="With what is done.")
    residual_impact = forms.TypedChoiceField(coerce=int)
    treatment = forms.ChoiceField(choices=Risk.Treatment.choices)
    plan = forms.CharField(label="What is done", widget=forms.Textarea(attrs={"rows": 3}), required=False)
    due_on = day_field("Treated by", required=False)
    review_on = day_field("Assess again by", required=False, help_text="90 days from now without it.")
    controls = forms.MultipleChoiceField(required=False, help_text="Controls that lower it.")
    services = forms.MultipleChoiceField(required=False, help_text="Services that it would hurt.")
    incidents = forms.CharField(
        max_length=300, required=False, help_text="References of incidents in which it came true, as `INC-3 INC-7`."
    )

    def __init__(self, *args: Any, scale: Scale, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, steps in (("likelihood", scale.likelihoods), ("impact", scale.impacts)):
            for kind in ("inherent", "residual"):
                _choose(self, f"{kind}_{name}", [(str(n), f"{n} {step}") for n, step in enumerate(steps, start=1)])
        _choose(self, "controls", list(_controls().values_list("slug", "title")))
        offer(self, "services", services_visible(viewer=SITE), noun="service")

    def order(self, *, indicators: Sequence[IndicatorSpec] = ()) -> tuple[str, str, RiskSpec]:
        """Return short name, title and the risk."""
        given = dict(self.cleaned_data)
        slug, title, incidents = given.pop("slug"), given.pop("title"), given.pop("incidents").split()
        return slug, title, RiskSpec(**given, incidents=incidents, indicators=list(indicators))


class IndicatorForm(forms.Form):
    """An indicator, from those that the ledger feeds."""

    measure = forms.ChoiceField(choices=[(key, one[0]) for key, one in PRESETS.items()])
    warn_at = forms.DecimalField(label="Warn at", required=False, help_text="The usual value without it.")
    breach_at = forms.DecimalField(label="Breached at", required=False)


class AcceptRiskForm(forms.Form):
    """Why a risk is accepted, and until when."""

    reason = forms.CharField(widget=forms.Textarea(attrs={"rows": 3}))
    expires_on = day_field("Until", help_text="At most a year; then it must be looked at again.")


class MatrixForm(forms.Form):
    """The names of the steps, and a level for each cell."""

    def __init__(self, *args: Any, scale: Scale, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._scale = scale
        for kind, steps in (("likelihood", scale.likelihoods), ("impact", scale.impacts)):
            for number, name in enumerate(steps, start=1):
                label = f"{kind.title()} {number}"
                self.fields[f"{kind}_{number}"] = forms.CharField(label=label, max_length=40, initial=name)
        choices = [(level.value, level.value) for level in Level]
        for row, (step, levels) in enumerate(zip(scale.likelihoods, scale.levels, strict=True), start=1):
            for column, (impact, level) in enumerate(zip(scale.impacts, levels, strict=True), start=1):
                self.fields[f"cell_{row}_{column}"] = forms.ChoiceField(
                    label=f"{step}, {impact}", choices=choices, initial=level
                )

    def wanted(self) -> Scale:
        """Return the edited matrix."""
        given, rows, columns = self.cleaned_data, len(self._scale.likelihoods), len(self._scale.impacts)
        return Scale(
            [given[f"likelihood_{n}"] for n in range(1, rows + 1)],
            [given[f"impact_{n}"] for n in range(1, columns + 1)],
            [[given[f"cell_{row}_{column}"] for column in range(1, columns + 1)] for row in range(1, rows + 1)],
        )


def _choose(form: forms.Form, name: str, choices: list[tuple[str, str]]) -> None:
    field = form.fields[name]
    assert isinstance(field, forms.ChoiceField)  # noqa: S101 declared by its form
    field.choices = choices


class VendorForm(forms.Form):
    """A vendor."""

    name = forms.CharField(max_length=160)
    slug = forms.SlugField(label="Short name", max_length=63)
    tier = forms.ChoiceField(choices=Vendor.Tier.choices, initial=Vendor.Tier.STANDARD)
    owner = forms.CharField(max_length=120, help_text="Who answers for the relation.")
    provides = forms.CharField(max_length=300, help_text="What they do for the organization.")
    data_shared = forms.CharField(max_length=300, required=False, help_text="Which data they get.")
    subprocessors = forms.CharField(max_length=500, required=False, help_text="On whom they rely; commas between.")


class VendorReportForm(forms.Form):
    """A report that was read."""

    kind = forms.ChoiceField(choices=VendorReport.Kind.choices, initial=VendorReport.Kind.SOC_2)
    period_start = day_field("Period from")
    period_end = day_field("Period to")
    bridged_until = day_field("Bridge letter until", required=False)
    exceptions_read = forms.BooleanField(label="I have read the exceptions in it", required=False)
    conclusion = forms.CharField(widget=forms.Textarea(attrs={"rows": 3}), help_text="What it means for us.")


class PolicyForm(forms.Form):
    """A version of a policy."""

    title = forms.CharField(max_length=160)
    slug = forms.SlugField(label="Short name", max_length=63)
    owner = forms.CharField(max_length=120)
    text = forms.CharField(label="What it says", widget=forms.Textarea(attrs={"rows": 12}))
    due_on = day_field("To be read by", required=False, help_text="30 days from now without it.")


class FindingReportForm(forms.Form):
    """A report of a scanner or a tester."""

    kind = forms.ChoiceField(choices=FindingReport.Kind.choices)
    file = forms.FileField()
    scope = forms.CharField(max_length=200, help_text="What was looked at, as `repo:gateway` or `image:gateway:1.4`.")
    tester = forms.CharField(max_length=120, required=False, help_text="Of a penetration test: who tested.")
    ended_on = day_field("Ended on", required=False, help_text="Of a penetration test.")


class CampaignForm(forms.Form):
    """An access review."""

    name = forms.CharField(max_length=160, help_text="As `Production access, fourth quarter`.")
    slug = forms.SlugField(label="Short name", max_length=63)
    system = forms.CharField(max_length=120, help_text="The system; for GitHub, the organization.")
    source = forms.ChoiceField(choices=AccessCampaign.Source.choices)
    due_on = day_field("Due on")
    file = forms.FileField(
        required=False,
        help_text="CSV with account and, if known, person, roles, privileged, second_factor, last_used_at.",
    )
    address = forms.URLField(
        assume_scheme="https", required=False, help_text="REST: where the JSON list is. GitHub: another API address."
    )
    token = forms.CharField(
        required=False, widget=forms.PasswordInput, help_text="Used once to read the accounts; not kept."
    )
    allow = forms.CharField(required=False, help_text="Private hosts or networks that may be reached; spaces between.")


class ChangeSourceForm(forms.Form):
    """A repository."""

    slug = forms.SlugField(label="Short name", max_length=63)
    forge = forms.ChoiceField(choices=ChangeSource.Forge.choices)
    repository = forms.CharField(max_length=200, help_text="`owner/name`, or `group/project`.")
    secret = forms.CharField(widget=forms.PasswordInput, help_text="The webhook's secret, at least 16 characters.")
    token = forms.CharField(widget=forms.PasswordInput, required=False, help_text="Reads approvals and checks.")
    api_url = forms.URLField(
        assume_scheme="https", label="API address", required=False, help_text="For a server of your own."
    )
    allow = forms.CharField(required=False, help_text="Private hosts or networks that may be reached; spaces between.")


class CollectorKeyForm(forms.Form):
    """A collector's key."""

    name = forms.SlugField(max_length=63)
    public_key = forms.CharField(max_length=64, required=False, help_text="Ed25519, 32 bytes in base64.")
    revoke = forms.BooleanField(label="Revoke the key of this name", required=False)


class WaiverForm(forms.Form):
    """What a service need not show, and until when."""

    service = forms.ChoiceField()
    item = forms.ChoiceField()
    reason = forms.CharField(max_length=500, widget=forms.Textarea(attrs={"rows": 3}))
    expires_on = day_field("Until", help_text="At most a year.")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        offer(self, "service", services_visible(viewer=SITE), noun="service")
        _choose(self, "item", [(one.name, one.title) for one in scorecard_items()])


class TryRuleForm(forms.Form):
    """A rule, and entries to try it on."""

    rule = forms.CharField(
        widget=forms.Textarea(attrs={"rows": 10, "class": "font-monospace", "spellcheck": "false"}),
        initial="entries: [audit.action]\nexpect: [{field: outcome, equals: done}]\ncadence: event\n",
        help_text="As under `rule` of a check, in YAML.",
    )
    samples = forms.CharField(
        label="Sample entries",
        required=False,
        widget=forms.Textarea(attrs={"rows": 6, "class": "font-monospace", "spellcheck": "false"}),
        help_text="A JSON list of objects with type and payload. Without it, the newest entries of the ledger.",
    )
