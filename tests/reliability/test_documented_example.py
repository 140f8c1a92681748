"""The example of the documentation, run as it stands against a live server."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from accounts.data import Capability, Role
from accounts.services import create_api_token, create_user, grant_role
from catalog.services import apply_documents as apply_catalog
from core.clock import database_now
from core.parsing import load_yaml_documents
from reliability.models import SLO
from reliability.selectors import counts_in_last
from tests.reliability.conftest import CATALOG, SITE, apply

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"


@pytest.mark.integration
@pytest.mark.django_db(transaction=True)
def test_the_example_counts_two_hundred_events(live_server: Any) -> None:
    catalog = CATALOG.replace("name: gateway", "name: checkout")
    apply_catalog(principal=SITE, documents=load_yaml_documents(catalog, source="catalog.yaml"))
    apply((EXAMPLES / "slo.yaml").read_text())
    user = create_user(principal=SITE, username="checkout", password=None)
    grant_role(principal=SITE, user=user, role=Role.RESPONDER)
    _, secret = create_api_token(principal=SITE, owner=user, name="x", scopes=[Capability.TELEMETRY_INGEST])
    subprocess.run(
        [sys.executable, EXAMPLES / "send_events.py", live_server.url],
        env={**os.environ, "ASSAY_TOKEN": secret},
        check=True,
        timeout=60,
    )
    version = SLO.objects.get().versions.get()
    counts = counts_in_last(version=version, minutes=5, now=database_now())
    assert (counts.total, counts.unknown) == (200, 0)
