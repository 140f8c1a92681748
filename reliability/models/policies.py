"""What is done when a budget runs out, and who let something pass all the same."""

from typing import Any

from django.conf import settings
from django.core.signing import Signer
from django.db import models
from django.db.models import F, Q

from reliability.domain.policies import Policy, PolicyState
from reliability.models.slos import SLO


class BudgetPolicy(models.Model):
    """An error-budget policy as code: states, what they deny, what people are to do."""

    slug = models.SlugField(max_length=100, unique=True)
    document = models.JSONField()

    class Meta:
        ordering = ("slug",)
        verbose_name_plural = "budget policies"

    def __str__(self) -> str:
        return self.slug

    @property
    def policy(self) -> Policy:
        """The policy that the document says."""
        spec: dict[str, Any] = self.document["spec"]
        states = tuple(
            PolicyState(
                one["name"],
                one.get("enterBelow"),
                one.get("leaveAbove"),
                tuple(one.get("deny", ())),
                tuple(one.get("actions", ())),
            )
            for one in spec["states"]
        )
        return Policy(self.slug, states, tuple(spec.get("denyWhileFiring", ())), spec.get("appliesTo", {}))


class PolicyStanding(models.Model):
    """The state of its policy that an SLO is in, and since when."""

    slo = models.OneToOneField(SLO, on_delete=models.CASCADE, related_name="standing")
    policy = models.CharField(max_length=100)
    state = models.CharField(max_length=100)
    since = models.DateTimeField()

    class Meta:
        ordering = ("slo",)

    def __str__(self) -> str:
        return f"{self.slo}: {self.state}"


class BudgetFigures(models.Model):
    """How an SLO stood when all were last reckoned: what lists of very many SLOs are sorted and filtered by.

    Pages show what is reckoned anew for the rows that they show; alerts, gates and guards never read from here.
    """

    slo = models.OneToOneField(SLO, on_delete=models.CASCADE, primary_key=True, related_name="figures")
    state = models.CharField(max_length=16)
    urgency = models.PositiveSmallIntegerField(help_text="The higher, the sooner somebody should look.")
    remaining_low = models.FloatField(null=True)
    days_left = models.FloatField(null=True, help_text="Until the budget is spent, at the rate of the last hour.")
    coverage = models.FloatField()
    reckoned_at = models.DateTimeField()

    class Meta:
        ordering = ("slo",)
        verbose_name_plural = "budget figures"

    def __str__(self) -> str:
        return f"{self.slo}: {self.state}"


class GateOverride(models.Model):
    """Somebody answers for letting an action on a service pass although the gate would deny it, for a while.

    The signature covers every field that matters: a row that was written past the service does not open the gate.
    """

    reference = models.CharField(max_length=20, unique=True)
    service = models.ForeignKey("catalog.Service", on_delete=models.CASCADE, related_name="gate_overrides")
    action = models.CharField(max_length=20)
    reason = models.CharField(max_length=500)
    granted_by = models.CharField(max_length=150)
    granter = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    granted_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    signature = models.CharField(max_length=200)

    class Meta:
        ordering = ("-granted_at",)
        constraints = (
            models.CheckConstraint(
                condition=Q(expires_at__gt=F("granted_at")),
                name="override_expires_after_it_is_granted",
                violation_error_message="An override expires after it is granted.",
            ),
        )

    def __str__(self) -> str:
        return self.reference

    def computed_signature(self) -> str:
        """Return the signature that belongs to the fields as they are."""
        instants = (self.granted_at.isoformat(), self.expires_at.isoformat())
        text = "\n".join((str(self.service_id), self.action, self.reason, self.granted_by, *instants))
        return Signer(salt="reliability.gate-override").signature(text)

    @property
    def is_genuine(self) -> bool:
        """Say whether the signature is of these fields."""
        return bool(self.signature) and self.signature == self.computed_signature()
