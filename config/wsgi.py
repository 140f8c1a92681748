"""The WSGI entry that granian serves."""

import os
import sys

from django.conf import settings
from django.core.wsgi import get_wsgi_application

from config.databases import bound_statements
from config.telemetry import start_telemetry

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

# A page that asks thirty times waits thirty times for its turn behind one that reckons: not five milliseconds each.
sys.setswitchinterval(0.0005)
bound_statements(settings.DATABASES["default"], seconds=settings.WEB_STATEMENT_SECONDS)
start_telemetry("web")
handler = get_wsgi_application()

# Models can be imported only once Django is set up.
from core.beats import beat_beside  # noqa: E402
from incidents.services.door import with_door  # noqa: E402
from reliability.services.door import with_otlp_door  # noqa: E402

application = with_otlp_door(with_door(handler))
if settings.WEB_BEATS:
    beat_beside("web")
