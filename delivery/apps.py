from django.apps import AppConfig


class DeliveryConfig(AppConfig):
    """The room\'s registration with Django."""

    name = "delivery"
