from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """The room's registration with Django."""

    name = "accounts"
