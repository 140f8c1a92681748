"""REST of the registers: risks, vendors, policies, weaknesses, access reviews, scans."""

from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.parsers import FormParser, MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from compliance.api.base import Narrow, RegisterViewSet, parameters
from compliance.models import (
    AccessCampaign,
    AccessEntry,
    Policy,
    PolicyVersion,
    Risk,
    ScanRun,
    SecurityFinding,
    Vendor,
    VendorReport,
)
from compliance.services.registers import (
    acknowledge_policy,
    approve_policy,
    declare_policy,
    review_vendor,
    save_vendor,
)
from compliance.services.reviewing import (
    accounts_of_assay,
    accounts_of_csv,
    close_campaign,
    confirm_revocation,
    decide_access,
    open_campaign,
)
from compliance.services.risks import RiskSpec, accept_risk, assess_risk, close_risk
from compliance.services.scan_runs import request_scan
from core.json_body import StrictJSONParser
from core.parsing import parse_document, refuse

OPEN = ("true", "false")


class RiskSerializer(serializers.ModelSerializer[Risk]):
    """A risk with its scores."""

    controls = serializers.SlugRelatedField(slug_field="slug", many=True, read_only=True)  # type: ignore[var-annotated]
    services = serializers.SlugRelatedField(slug_field="slug", many=True, read_only=True)  # type: ignore[var-annotated]
    inherent_score = serializers.IntegerField(read_only=True)
    residual_score = serializers.IntegerField(read_only=True)
    incidents = serializers.ListField(child=serializers.CharField(), read_only=True)

    class Meta:
        model = Risk
        exclude = ("id",)


class RiskBody(serializers.Serializer[Any]):
    """An assessment: the title, and the rest as `spec` of a declared risk."""

    title = serializers.CharField(max_length=160)
    spec = serializers.JSONField()


class AcceptBody(serializers.Serializer[Any]):
    """Why a residual risk is accepted, and until when."""

    reason = serializers.CharField()
    expires_on = serializers.DateField()


class WhyBody(serializers.Serializer[Any]):
    """Why."""

    reason = serializers.CharField(max_length=500)


RISKS = {
    "category": Narrow("category", "One of the five categories.", Risk.Category.values),
    "treatment": Narrow("treatment", "What is done about it.", Risk.Treatment.values),
    "owner": Narrow("owner", "Whose it is."),
    "control": Narrow("controls__slug", "A control that treats it."),
    "open": Narrow("closed_at__isnull", "Whether it is still open.", OPEN),
}


@extend_schema_view(list=extend_schema(parameters=parameters(RISKS)), retrieve=extend_schema(responses=RiskSerializer))
class RiskViewSet(RegisterViewSet[Risk]):
    """The risk register."""

    queryset = Risk.objects.none()
    serializer_class = RiskSerializer
    lookup_field = "slug"
    lookup_value_regex = "[-a-zA-Z0-9_]{1,63}"
    narrows = RISKS

    def records(self) -> QuerySet[Risk]:
        return Risk.objects.prefetch_related("controls", "services")

    @extend_schema(request=RiskBody, responses=RiskSerializer)
    def update(self, request: Request, slug: str) -> Response:  # noqa: ARG002 DRF's signature
        """Assess a risk; one that is new is created, the same again changes nothing."""
        given = self.body(RiskBody)
        spec = parse_document(RiskSpec, given["spec"], source="spec")
        return self.shown(assess_risk(principal=self.principal, slug=slug, title=given["title"], spec=spec)[0])

    @extend_schema(request=AcceptBody, responses=RiskSerializer)
    @action(detail=True, methods=["post"])
    def accept(self, request: Request, slug: str) -> Response:  # noqa: ARG002 DRF's signature
        """Accept the residual risk until a day; somebody other than who assessed it."""
        risk = self.get_object()
        accept_risk(principal=self.principal, risk=risk, **self.body(AcceptBody))
        return self.shown(risk)

    @extend_schema(request=WhyBody, responses=RiskSerializer)
    @action(detail=True, methods=["post"])
    def close(self, request: Request, slug: str) -> Response:  # noqa: ARG002 DRF's signature
        """Close a risk."""
        risk = self.get_object()
        close_risk(principal=self.principal, risk=risk, **self.body(WhyBody))
        return self.shown(risk)


class VendorReportSerializer(serializers.ModelSerializer[VendorReport]):
    """A report on a vendor that somebody has read."""

    class Meta:
        model = VendorReport
        fields = (
            "kind",
            "period_start",
            "period_end",
            "bridged_until",
            "exceptions_read",
            "conclusion",
            "reviewed_by_label",
            "reviewed_at",
        )
        read_only_fields = ("reviewed_by_label", "reviewed_at")


class VendorSerializer(serializers.ModelSerializer[Vendor]):
    """A vendor with the reports that were read."""

    reports = VendorReportSerializer(many=True, read_only=True)
    subprocessors = serializers.ListField(child=serializers.CharField(max_length=160), required=False)
    review_days = serializers.IntegerField(read_only=True)

    class Meta:
        model = Vendor
        fields = (
            "slug",
            "name",
            "tier",
            "owner",
            "provides",
            "data_shared",
            "subprocessors",
            "review_days",
            "created_at",
            "ended_at",
            "reports",
        )
        read_only_fields = ("slug", "created_at", "ended_at")
        extra_kwargs = {"tier": {"required": True}}


VENDORS = {
    "tier": Narrow("tier", "How much depends on it.", Vendor.Tier.values),
    "owner": Narrow("owner", "Who answers for it."),
    "open": Narrow("ended_at__isnull", "Whether it is still relied on.", OPEN),
}


@extend_schema_view(
    list=extend_schema(parameters=parameters(VENDORS)), retrieve=extend_schema(responses=VendorSerializer)
)
class VendorViewSet(RegisterViewSet[Vendor]):
    """The register of vendors."""

    queryset = Vendor.objects.none()
    serializer_class = VendorSerializer
    lookup_field = "slug"
    lookup_value_regex = "[-a-zA-Z0-9_]{1,63}"
    narrows = VENDORS

    def records(self) -> QuerySet[Vendor]:
        return Vendor.objects.prefetch_related("reports")

    @extend_schema(request=VendorSerializer, responses=VendorSerializer)
    def update(self, request: Request, slug: str) -> Response:  # noqa: ARG002 DRF's signature
        """Put a vendor into the register, or change what it says."""
        return self.shown(save_vendor(principal=self.principal, slug=slug, **self.body(VendorSerializer))[0])

    @extend_schema(request=VendorReportSerializer, responses={201: VendorReportSerializer})
    @action(detail=True, methods=["post"])
    def reports(self, request: Request, slug: str) -> Response:  # noqa: ARG002 DRF's signature
        """Note that a report was read."""
        made = review_vendor(principal=self.principal, vendor=self.get_object(), **self.body(VendorReportSerializer))
        return Response(VendorReportSerializer(made).data, status=201)


class PolicyVersionSerializer(serializers.ModelSerializer[PolicyVersion]):
    """A version of a policy."""

    class Meta:
        model = PolicyVersion
        fields = (
            "number",
            "text",
            "review_on",
            "due_at",
            "author_label",
            "written_at",
            "approved_by_label",
            "approved_at",
            "closed_at",
        )


class PolicySerializer(serializers.ModelSerializer[Policy]):
    """A policy with its versions, newest first."""

    versions = PolicyVersionSerializer(many=True, read_only=True)

    class Meta:
        model = Policy
        fields = ("slug", "title", "owner", "created_at", "versions")


class PolicyBody(serializers.Serializer[Any]):
    """What a policy says; another text is a new version."""

    title = serializers.CharField(max_length=160)
    owner = serializers.CharField(max_length=120)
    text = serializers.CharField(max_length=200_000)
    days_to_read = serializers.IntegerField(min_value=1, max_value=365, default=30)


POLICIES = {"owner": Narrow("owner", "Who answers for it.")}


@extend_schema_view(
    list=extend_schema(parameters=parameters(POLICIES)), retrieve=extend_schema(responses=PolicySerializer)
)
class PolicyViewSet(RegisterViewSet[Policy]):
    """Policies: versions, approvals, and who has read them."""

    queryset = Policy.objects.none()
    serializer_class = PolicySerializer
    lookup_field = "slug"
    lookup_value_regex = "[-a-zA-Z0-9_]{1,63}"
    narrows = POLICIES

    def records(self) -> QuerySet[Policy]:
        return Policy.objects.prefetch_related("versions")

    @extend_schema(request=PolicyBody, responses=PolicySerializer)
    def update(self, request: Request, slug: str) -> Response:  # noqa: ARG002 DRF's signature
        """Bring a policy to a text."""
        return self.shown(declare_policy(principal=self.principal, slug=slug, **self.body(PolicyBody))[0])

    @extend_schema(request=None, responses=PolicySerializer)
    @action(detail=True, methods=["post"])
    def approve(self, request: Request, slug: str) -> Response:  # noqa: ARG002 DRF's signature
        """Put the newest version in force; somebody other than its author."""
        policy = self.get_object()
        approve_policy(principal=self.principal, version=_newest(policy))
        return self.shown(policy)

    @extend_schema(request=None, responses=PolicySerializer)
    @action(detail=True, methods=["post"])
    def acknowledge(self, request: Request, slug: str) -> Response:  # noqa: ARG002 DRF's signature
        """Say that one has read the newest version."""
        policy = self.get_object()
        acknowledge_policy(principal=self.principal, version=_newest(policy))
        return self.shown(policy)


def _newest(policy: Policy) -> PolicyVersion:
    found = policy.versions.first()
    if found is None:
        raise refuse("policy", found="no version", allowed="a policy with a text is allowed")
    return found


class WeaknessSerializer(serializers.ModelSerializer[SecurityFinding]):
    """A weakness that a scanner or a tester reported."""

    class Meta:
        model = SecurityFinding
        fields = ("id", "tool", "scope", "rule", "severity", "title", "location", "first_seen_at", "gone_at")


WEAKNESSES = {
    "severity": Narrow("severity", "How bad.", SecurityFinding.Severity.values),
    "tool": Narrow("tool", "The scanner, or who tested."),
    "scope": Narrow("scope", "What was scanned."),
    "open": Narrow("gone_at__isnull", "Whether the last report still has it.", OPEN),
}


@extend_schema_view(
    list=extend_schema(parameters=parameters(WEAKNESSES)), retrieve=extend_schema(responses=WeaknessSerializer)
)
class WeaknessViewSet(RegisterViewSet[SecurityFinding]):
    """What scanners and penetration tests found."""

    queryset = SecurityFinding.objects.none()
    serializer_class = WeaknessSerializer
    narrows = WEAKNESSES

    def records(self) -> QuerySet[SecurityFinding]:
        return SecurityFinding.objects.all()


class AccessEntrySerializer(serializers.ModelSerializer[AccessEntry]):
    """An account of a review."""

    class Meta:
        model = AccessEntry
        exclude = ("campaign", "decided_by", "revoked_by")


class CampaignSerializer(serializers.ModelSerializer[AccessCampaign]):
    """A review of who has access to a system."""

    class Meta:
        model = AccessCampaign
        fields = ("slug", "name", "system", "source", "due_on", "opened_at", "accounts_in_source", "closed_at")


class CampaignBody(serializers.Serializer[Any]):
    """A new review: of this site's accounts, or of a CSV file (`account[,person,roles,privileged,…]`)."""

    slug = serializers.SlugField(max_length=63)
    name = serializers.CharField(max_length=160)
    system = serializers.CharField(max_length=120)
    source = serializers.ChoiceField(choices=("assay", "csv"))  # type: ignore[assignment]  # a declared field
    csv = serializers.CharField(required=False, allow_blank=True, default="")
    due_on = serializers.DateField()


class DecisionBody(serializers.Serializer[Any]):
    """What is decided about an account."""

    decision = serializers.ChoiceField(choices=("keep", "revoke"))
    note = serializers.CharField(max_length=300, required=False, allow_blank=True, default="")


CAMPAIGNS = {
    "source": Narrow("source", "Where the accounts came from.", AccessCampaign.Source.values),
    "system": Narrow("system", "Whose accounts."),
    "open": Narrow("closed_at__isnull", "Whether it is still going on.", OPEN),
}


@extend_schema_view(
    list=extend_schema(parameters=parameters(CAMPAIGNS)), retrieve=extend_schema(responses=CampaignSerializer)
)
class CampaignViewSet(RegisterViewSet[AccessCampaign]):
    """Access reviews."""

    queryset = AccessCampaign.objects.none()
    serializer_class = CampaignSerializer
    lookup_field = "slug"
    lookup_value_regex = "[-a-zA-Z0-9_]{1,63}"
    narrows = CAMPAIGNS

    def records(self) -> QuerySet[AccessCampaign]:
        return AccessCampaign.objects.all()

    @extend_schema(request=CampaignBody, responses={201: CampaignSerializer})
    def create(self, request: Request) -> Response:  # noqa: ARG002 DRF's signature
        """Open a review."""
        given = self.body(CampaignBody)
        text = given.pop("csv")
        accounts = accounts_of_assay() if given["source"] == "assay" else accounts_of_csv(text.encode(), source="csv")
        return self.shown(open_campaign(principal=self.principal, accounts=accounts, **given), status=201)

    @extend_schema(responses=AccessEntrySerializer(many=True))
    @action(detail=True, methods=["get"], pagination_class=None)
    def entries(self, request: Request, slug: str) -> Response:  # noqa: ARG002 DRF's signature
        """List the accounts of a review."""
        return Response(AccessEntrySerializer(self.get_object().entries.all(), many=True).data)

    @extend_schema(request=DecisionBody, responses=AccessEntrySerializer)
    @action(detail=True, methods=["post"], url_path=r"entries/(?P<entry>[0-9]+)/decide")
    def decide(self, request: Request, slug: str, entry: str) -> Response:  # noqa: ARG002 DRF's signature
        """Keep an account or take it away; nobody decides on their own."""
        found = get_object_or_404(self.get_object().entries.all(), pk=int(entry))
        decide_access(principal=self.principal, entry=found, **self.body(DecisionBody))
        found.refresh_from_db()
        return Response(AccessEntrySerializer(found).data)

    @extend_schema(request=None, responses=AccessEntrySerializer)
    @action(detail=True, methods=["post"], url_path=r"entries/(?P<entry>[0-9]+)/confirm-revocation")
    def confirm_revocation(self, request: Request, slug: str, entry: str) -> Response:  # noqa: ARG002 DRF's signature
        """Note that an account that was to be taken away is gone."""
        found = get_object_or_404(self.get_object().entries.all(), pk=int(entry))
        confirm_revocation(principal=self.principal, entry=found)
        found.refresh_from_db()
        return Response(AccessEntrySerializer(found).data)

    @extend_schema(request=None, responses=CampaignSerializer)
    @action(detail=True, methods=["post"])
    def close(self, request: Request, slug: str) -> Response:  # noqa: ARG002 DRF's signature
        """End a review once every account is decided."""
        campaign = self.get_object()
        close_campaign(principal=self.principal, campaign=campaign)
        return self.shown(campaign)


class ScanSerializer(serializers.ModelSerializer[ScanRun]):
    """A scan of infrastructure code."""

    result = serializers.CharField(source="word", read_only=True)

    class Meta:
        model = ScanRun
        fields: tuple[str, ...] = (
            "reference",
            "source",
            "place",
            "ref",
            "requested_by_label",
            "requested_at",
            "state",
            "step",
            "result",
            "valid",
            "reason",
            "commit",
            "resources",
            "passed",
            "failed",
            "unexcused_skips",
            "entry",
        )


class ScanDetailSerializer(ScanSerializer):
    """A scan with what it found."""

    findings = serializers.ListField(child=serializers.DictField(), read_only=True)

    class Meta(ScanSerializer.Meta):
        fields = (*ScanSerializer.Meta.fields, "findings")


class ScanBody(serializers.Serializer[Any]):
    """What to scan: an archive, a repository, or (administrators) a folder of the worker's machine."""

    archive = serializers.FileField(required=False)
    url = serializers.CharField(max_length=500, required=False, default="", allow_blank=True)
    ref = serializers.CharField(max_length=120, required=False, default="", allow_blank=True)
    path = serializers.CharField(max_length=500, required=False, default="", allow_blank=True)


SCANS = {
    "source": Narrow("source", "Where the code came from.", ScanRun.Source.values),
    "state": Narrow("state", "How far it is.", ScanRun.State.values),
}


@extend_schema_view(
    list=extend_schema(parameters=parameters(SCANS)), retrieve=extend_schema(responses=ScanDetailSerializer)
)
class ScanViewSet(RegisterViewSet[ScanRun]):
    """Scans of infrastructure code."""

    queryset = ScanRun.objects.none()
    serializer_class = ScanSerializer
    lookup_field = "reference"
    lookup_value_regex = r"[-\w]+"
    parser_classes = (StrictJSONParser, MultiPartParser, FormParser)
    narrows = SCANS

    def records(self) -> QuerySet[ScanRun]:
        return ScanRun.objects.all()

    def retrieve(self, request: Request, reference: str) -> Response:  # noqa: ARG002 DRF's signature
        """Return a scan with what it found."""
        return Response(ScanDetailSerializer(self.get_object()).data)

    @extend_schema(request=ScanBody, responses={202: ScanSerializer})
    def create(self, request: Request) -> Response:  # noqa: ARG002 DRF's signature
        """Ask for a scan; a worker runs it."""
        given = self.body(ScanBody)
        upload = given.pop("archive", None)
        content, name = (upload.read(), upload.name) if upload else (None, "")
        return self.shown(request_scan(principal=self.principal, archive=content, name=name, **given), status=202)
