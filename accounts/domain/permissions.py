"""Which role may do what. Deny by default: what is not listed is refused."""

from collections.abc import Iterable
from enum import StrEnum


class Role(StrEnum):
    """A role, held for the whole site or for a team and its services."""

    VIEWER = "viewer"
    RESPONDER = "responder"
    CHAOS_OPERATOR = "chaos-operator"
    APPROVER = "approver"
    COMPLIANCE_MANAGER = "compliance-manager"
    AUDITOR = "auditor"
    ADMIN = "admin"


class Capability(StrEnum):
    """One thing that somebody may do, as `room.verb`."""

    OPERATIONS_VIEW = "operations.view"
    CATALOG_EDIT = "catalog.edit"
    SLO_EDIT = "slo.edit"
    SLO_EXCLUDE = "slo.exclude"
    INCIDENT_RESPOND = "incident.respond"
    ONCALL_EDIT = "oncall.edit"
    ALERTING_EDIT = "alerting.edit"
    RUNBOOK_EDIT = "runbook.edit"
    RUNBOOK_RUN = "runbook.run"
    CHAOS_EDIT = "chaos.edit"
    CHAOS_RUN = "chaos.run"
    CHAOS_STOP = "chaos.stop"
    APPROVE = "approve"
    COMPLIANCE_VIEW = "compliance.view"
    COMPLIANCE_EDIT = "compliance.edit"
    LEDGER_VIEW = "ledger.view"
    LEDGER_EXPORT = "ledger.export"
    AUDIT_EXPORT = "audit.export"
    DELIVERY_VIEW = "delivery.view"
    DELIVERY_EDIT = "delivery.edit"
    TELEMETRY_INGEST = "telemetry.ingest"
    SITE_ADMIN = "site.admin"
    SCIM_PROVISION = "scim.provision"


_VIEWER = frozenset({Capability.OPERATIONS_VIEW})
_RESPONDER = _VIEWER | {
    Capability.INCIDENT_RESPOND,
    Capability.RUNBOOK_RUN,
    Capability.CHAOS_STOP,
    Capability.DELIVERY_VIEW,
    Capability.TELEMETRY_INGEST,
}

ROLE_CAPABILITIES: dict[Role, frozenset[Capability]] = {
    Role.VIEWER: _VIEWER,
    Role.RESPONDER: _RESPONDER,
    Role.CHAOS_OPERATOR: _VIEWER | {Capability.CHAOS_EDIT, Capability.CHAOS_RUN, Capability.CHAOS_STOP},
    Role.APPROVER: _VIEWER | {Capability.APPROVE, Capability.CHAOS_STOP, Capability.SLO_EXCLUDE},
    Role.COMPLIANCE_MANAGER: _VIEWER
    | {
        Capability.COMPLIANCE_VIEW,
        Capability.COMPLIANCE_EDIT,
        Capability.LEDGER_VIEW,
        Capability.LEDGER_EXPORT,
        Capability.AUDIT_EXPORT,
    },
    # The role alone opens nothing: what an auditor sees is granted for an engagement, in the compliance room.
    Role.AUDITOR: frozenset(),
    Role.ADMIN: frozenset(Capability) - {Capability.APPROVE},
}


ROLE_WORDS: dict[Role, tuple[str, str]] = {
    Role.VIEWER: ("Viewer", "looks at operations, changes nothing"),
    Role.RESPONDER: ("Responder", "takes pages, works incidents, runs runbooks, stops chaos runs"),
    Role.CHAOS_OPERATOR: ("Chaos operator", "plans and runs chaos experiments and recovery tests"),
    Role.APPROVER: ("Approver", "says yes to what others ask for, never to their own"),
    Role.COMPLIANCE_MANAGER: ("Compliance manager", "runs controls, risks, audits; reads and exports the ledger"),
    Role.AUDITOR: ("Auditor", "opens nothing by itself: each audit says what its auditors see"),
    Role.ADMIN: ("Administrator", "everything but approving, which is always somebody else's"),
}

CAPABILITY_WORDS: dict[Capability, str] = {
    Capability.OPERATIONS_VIEW: "See services, SLOs, incidents, runbooks and chaos runs",
    Capability.CATALOG_EDIT: "Change services, environments and deployments",
    Capability.SLO_EDIT: "Change SLOs, their sources and error-budget policies",
    Capability.SLO_EXCLUDE: "Decide about time that an SLO does not count",
    Capability.INCIDENT_RESPOND: "Declare, acknowledge and resolve incidents",
    Capability.ONCALL_EDIT: "Change schedules and escalation policies",
    Capability.ALERTING_EDIT: "Change integrations, routing, silences and maintenance",
    Capability.RUNBOOK_EDIT: "Write and publish runbooks",
    Capability.RUNBOOK_RUN: "Start runbooks and answer their steps",
    Capability.CHAOS_EDIT: "Write experiments and recovery tests",
    Capability.CHAOS_RUN: "Run experiments and recovery tests",
    Capability.CHAOS_STOP: "Stop a run, and pull the kill switch",
    Capability.APPROVE: "Approve what somebody else asks for",
    Capability.COMPLIANCE_VIEW: "See controls, evidence, risks and audits",
    Capability.COMPLIANCE_EDIT: "Change controls, evidence, risks and audits",
    Capability.LEDGER_VIEW: "Read the ledger",
    Capability.LEDGER_EXPORT: "Export packs of the ledger",
    Capability.AUDIT_EXPORT: "Export packs of an audit",
    Capability.DELIVERY_VIEW: "See what was sent to whom",
    Capability.DELIVERY_EDIT: "Change webhooks and connectors, send again",
    Capability.TELEMETRY_INGEST: "Send telemetry",
    Capability.SITE_ADMIN: "Administer people, sign-in, keys, data and the site",
    Capability.SCIM_PROVISION: "Create and close accounts by SCIM",
}


def roles_allow(roles: Iterable[Role], capability: Capability) -> bool:
    """Say whether any of the roles carries the capability."""
    return any(capability in ROLE_CAPABILITIES[role] for role in roles)
