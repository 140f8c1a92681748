"""The WSGI entry that granian serves."""

import os

from django.core.wsgi import get_wsgi_application

from config.telemetry import start_telemetry

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

start_telemetry("web")
application = get_wsgi_application()
