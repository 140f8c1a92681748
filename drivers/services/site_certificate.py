"""Until when the certificate at the site's own address is good."""

import socket
import ssl
from datetime import datetime
from urllib.parse import urlsplit

from cryptography import x509
from django.conf import settings

DEADLINE_SECONDS = 3.0


def own_certificate_until() -> datetime | None:
    """Return when the certificate that people meet runs out; None where the site's address is not `https://`.

    Only its dates are read: whether browsers trust it is not asked. Raises OSError when nothing answers there.
    """
    address = urlsplit(settings.SITE_URL)
    if address.scheme != "https" or not address.hostname:
        return None
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((address.hostname, address.port or 443), timeout=DEADLINE_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=address.hostname) as wrapped,
    ):
        shown = wrapped.getpeercert(binary_form=True)
    if shown is None:
        raise OSError("it shows no certificate")
    return x509.load_der_x509_certificate(shown).not_valid_after_utc
