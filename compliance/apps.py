from django.apps import AppConfig


class ComplianceConfig(AppConfig):
    """The room\'s registration with Django."""

    name = "compliance"
