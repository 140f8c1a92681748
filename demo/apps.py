from django.apps import AppConfig


class DemoConfig(AppConfig):
    """The room\'s registration with Django."""

    name = "demo"
