from django.apps import AppConfig


class CatalogConfig(AppConfig):
    """The room\'s registration with Django."""

    name = "catalog"
