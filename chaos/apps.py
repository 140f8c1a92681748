from django.apps import AppConfig


class ChaosConfig(AppConfig):
    """The room\'s registration with Django."""

    name = "chaos"
