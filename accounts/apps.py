from importlib import import_module

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """The room's registration with Django."""

    name = "accounts"

    def ready(self) -> None:
        import_module("accounts.factors")
