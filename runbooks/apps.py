from django.apps import AppConfig


class RunbooksConfig(AppConfig):
    """The room\'s registration with Django."""

    name = "runbooks"
