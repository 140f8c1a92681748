from django.apps import AppConfig


class PortalConfig(AppConfig):
    """The room\'s registration with Django."""

    name = "portal"
