"""A site with a person who may everything and a door of each kind, for what must be refused.

Run as a script with `ASSAY_STATE_DIR` set. Prints its address and keys as JSON; serves until its input is closed.
"""

import json
import sys
import threading
from datetime import timedelta
from wsgiref.simple_server import make_server

import django
from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application

from tests.browser.served_site import QuietHandler, Server


def main() -> None:
    """Make the doors and serve them."""
    django.setup()
    settings.MIGRATION_MODULES = {app.label: None for app in apps.get_app_configs()}
    call_command("migrate", verbosity=0, run_syncdb=True)
    from accounts.data import Capability, Role, system_principal
    from accounts.services import create_api_token, create_user, grant_role
    from incidents.data import IntegrationKind
    from incidents.services import add_integration

    site = system_principal("test")
    user = create_user(principal=site, username="everything", password=None)
    for role in Role:
        grant_role(principal=site, user=user, role=role)
    scopes = list(Capability)
    _, secret = create_api_token(principal=site, owner=user, name="all", scopes=scopes, life=timedelta(days=1))
    inbound = [
        f"/inbound/{kind.value}/{add_integration(principal=site, slug=kind.value, kind=kind).token}"
        for kind in IntegrationKind
        if kind is not IntegrationKind.INTERNAL
    ]
    server = make_server("127.0.0.1", 0, get_wsgi_application(), Server, QuietHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(
        json.dumps({"address": f"http://127.0.0.1:{server.server_port}", "token": secret, "inbound": inbound}) + "\n"
    )
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
