"""The WSGI entry that granian serves."""

import os

from django.core.wsgi import get_wsgi_application

from config.telemetry import start_telemetry

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

start_telemetry("web")
handler = get_wsgi_application()

from incidents.services.door import with_door  # noqa: E402 models can be imported only once Django is set up

application = with_door(handler)
