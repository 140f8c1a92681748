"""Agents on other hosts, and the orders for them."""

from django.db import models

from core.fields import EncryptedTextField


class Agent(models.Model):
    """A host whose agent polls for orders. Its token is kept as a digest, the key that signs its orders encrypted."""

    slug = models.SlugField(max_length=63, unique=True)
    token_sha256 = models.CharField(max_length=64, unique=True)
    signing_key = EncryptedTextField()
    host = models.JSONField(default=dict, help_text="What it says of itself: host name, kernel, actions.")
    faults = models.JSONField(default=list, help_text="Faults that it had when it was heard last.")
    added_by = models.CharField(max_length=80)
    added_at = models.DateTimeField()
    heard_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("slug",)

    def __str__(self) -> str:
        return self.slug


class AgentOrder(models.Model):
    """One thing asked of an agent. It is handed out once, and not after `expires_at`."""

    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="orders")
    question = models.CharField(max_length=12)
    action = models.CharField(max_length=80)
    arguments = models.JSONField(default=dict)
    more = models.JSONField(default=dict)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    handed_out_at = models.DateTimeField(null=True, blank=True)
    answered_at = models.DateTimeField(null=True, blank=True)
    answer = models.JSONField(null=True, blank=True)

    class Meta:
        ordering = ("pk",)
        indexes = (models.Index(fields=("agent", "handed_out_at"), name="orders_to_hand_out"),)

    def __str__(self) -> str:
        return f"{self.question} {self.action} on {self.agent}"
