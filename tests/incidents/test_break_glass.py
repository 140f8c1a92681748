"""A break-glass account that signs in pages whoever answers for security and opens an incident."""

import pytest

from accounts.models import User
from accounts.services import set_break_glass, signed_in
from core.parsing import load_yaml_documents
from core.work import drain_all
from incidents.models import Alert, Incident, Page
from incidents.services import apply_documents
from tests.incidents.conftest import ADMIN, World

pytestmark = [pytest.mark.django_db(transaction=True)]
SECURITY = """
apiVersion: assay/v1
kind: EscalationPolicy
metadata: {name: security}
spec: {steps: [{user: ada, wait: 5m}]}
---
apiVersion: assay/v1
kind: Route
metadata: {name: break-glass}
spec: {position: 1, match: ['alertname="BreakGlassSignIn"'], severity: sev1, escalation_policy: security}
"""


def test_each_sign_in_opens_an_incident_for_the_security_owner(world: World) -> None:
    apply_documents(principal=ADMIN, documents=load_yaml_documents(SECURITY, source="security"))
    set_break_glass(principal=ADMIN, user=world.bob, is_break_glass=True)
    bob = User.objects.get(pk=world.bob.pk)
    signed_in(user=bob, address="203.0.113.9")
    drain_all()
    incident = Incident.objects.get()
    assert (incident.severity, incident.title) == ("sev1", "Break-glass account bob signed in")
    assert Alert.objects.get().integration.slug == "site-sign-ins"
    assert [page.user for page in Page.objects.all()] == [world.ada]
    signed_in(user=world.charlie, address="203.0.113.9")
    drain_all()
    assert Alert.objects.count() == 1
