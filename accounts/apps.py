from importlib import import_module

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """The room's registration with Django."""

    name = "accounts"

    def ready(self) -> None:
        """Teach the API schema how callers say who they are."""
        import_module("accounts.api_schema")
