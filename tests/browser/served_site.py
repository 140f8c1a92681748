"""A site of its own for the browser: a fresh state folder, an organization made through the rooms' services, a server.

Run as a script with `ASSAY_STATE_DIR` set. Prints its address and serves until its standard input is closed.
"""

import sys
import threading
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import django
from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application


class Server(ThreadingMixIn, WSGIServer):
    """Answers each request in a thread of its own."""

    daemon_threads = True


class QuietHandler(WSGIRequestHandler):
    """Says nothing about requests."""

    def log_message(self, *args: object) -> None:
        """Leave standard error to what fails."""


def main() -> None:
    """Make the organization and serve it."""
    django.setup()
    # Tables made from the models take a quarter of the time that the migrations do.
    settings.MIGRATION_MODULES = {app.label: None for app in apps.get_app_configs()}
    # A password hash that takes a third of a second protects people, not tests.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher", *settings.PASSWORD_HASHERS]
    call_command("migrate", verbosity=0, run_syncdb=True)
    from tests.browser.organization import build  # needs the apps to be loaded

    build()
    server = make_server("127.0.0.1", 0, get_wsgi_application(), Server, QuietHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(f"http://127.0.0.1:{server.server_port}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
