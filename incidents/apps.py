from django.apps import AppConfig


class IncidentsConfig(AppConfig):
    """The room\'s registration with Django."""

    name = "incidents"
