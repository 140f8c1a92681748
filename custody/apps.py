from django.apps import AppConfig


class CustodyConfig(AppConfig):
    """The room's registration with Django."""

    name = "custody"
