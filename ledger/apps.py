from django.apps import AppConfig


class LedgerConfig(AppConfig):
    """The room\'s registration with Django."""

    name = "ledger"
