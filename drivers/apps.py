from django.apps import AppConfig


class DriversConfig(AppConfig):
    """The room\'s registration with Django."""

    name = "drivers"
