from django.apps import AppConfig


class ReliabilityConfig(AppConfig):
    """The room\'s registration with Django."""

    name = "reliability"
