"""The documents that the tests' site is made from."""

from accounts.models import Team
from catalog.models import Environment, Service

DOCUMENTS = """
apiVersion: assay/v1
kind: Route
metadata: {name: gateway}
spec:
  position: 10
  match: ['service="gateway"', 'severity=~"page|critical"']
  severity: sev2
  escalation_policy: gateway
  quiet_period: 30s
---
apiVersion: assay/v1
kind: Route
metadata: {name: record-only}
spec:
  position: 20
  match: ['severity="info"']
  opens_incident: false
---
apiVersion: assay/v1
kind: EscalationPolicy
metadata: {name: gateway, title: Gateway pages}
spec:
  team: inference
  repeat: 2
  steps:
    - {schedule: primary, wait: 5m}
    - {user: bob, wait: 10m}
---
apiVersion: assay/v1
kind: Schedule
metadata: {name: primary, title: Primary}
spec:
  team: inference
  time_zone: Europe/London
  layers:
    - name: always
      rotation: {unit: week, anchor_date: 2026-01-05}
      participants: [alice]
---
apiVersion: assay/v1
kind: Integration
metadata: {name: prometheus}
spec: {type: alertmanager}
---
apiVersion: assay/v1
kind: Integration
metadata: {name: events-api}
spec: {type: pagerduty}
---
apiVersion: assay/v1
kind: Integration
metadata: {name: anything}
spec: {type: generic, mapping: {labels: {service: service, severity: severity}, fingerprint: [id]}}
"""


def make_service(slug: str, team: Team) -> Service:
    environment, _ = Environment.objects.get_or_create(slug="demo", defaults={"name": "Demo"})
    return Service.objects.create(slug=slug, name=slug.title(), team=team, environment=environment)
