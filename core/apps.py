from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class CoreConfig(AppConfig):
    """The room\'s registration with Django."""

    name = "core"

    def ready(self) -> None:
        # Registries are filled by importing these modules of every installed app: first all events, then all actions …
        for name in ("events", "actions", "tasks", "subscribers", "navigation", "lifecycle", "figures"):
            autodiscover_modules(name)
