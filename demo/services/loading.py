"""Load the demo organization through the services that every organization uses."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from accounts.data import system_principal
from catalog.services import apply_documents as apply_catalog
from chaos.services import apply_documents as apply_experiments
from chaos.services.recovery import apply_recovery_documents as apply_recovery
from compliance.services import apply_documents as apply_governance
from core.parsing import load_yaml_documents
from demo.services.auditing import load_audit
from demo.services.people import load_people
from demo.services.serving import STACK_PORT_OFFSET
from incidents.services import apply_documents as apply_oncall
from reliability.services import apply_documents as apply_slos
from runbooks.services import apply_documents as apply_runbooks

ORGANIZATION = Path(__file__).resolve().parent.parent / "org"
LOADER = system_principal("demo-loader")


def load_organization(*, port: int, say: Callable[[str], None] = lambda _: None) -> None:
    """Create or update the demo organization; loading it again changes nothing.

    `port` is the site's: the stack beside it is named by the ports that follow from it.
    """
    say("  people and roles")
    load_people(principal=LOADER)
    steps: tuple[tuple[str, Callable[..., Any]], ...] = (
        ("catalog.yaml", apply_catalog),
        ("slos.yaml", apply_slos),
        ("oncall.yaml", apply_oncall),
        ("experiments.yaml", apply_experiments),
        ("recovery.yaml", apply_recovery),
    )
    for name, apply in steps:
        say(f"  {name}")
        text = _text(name, port=port)
        apply(principal=LOADER, documents=load_yaml_documents(text, source=name), source=name)
    for path in sorted(ORGANIZATION.glob("*.md")):
        say(f"  {path.name}")
        apply_runbooks(principal=LOADER, documents=[(path.name, _text(path.name, port=port))])
    say("  frameworks, controls and the audit")
    load_audit(principal=LOADER)
    say("  governance.yaml")
    apply_governance(
        principal=LOADER, documents=load_yaml_documents(_text("governance.yaml", port=port), source="governance.yaml")
    )


def load_prometheus(*, port: int) -> None:
    """Track Prometheus's own requests: input that nobody here wrote."""
    text = (ORGANIZATION / "prometheus.yaml").read_text("utf-8").replace("127.0.0.1:9090", f"127.0.0.1:{port}")
    apply_slos(
        principal=LOADER, documents=load_yaml_documents(text, source="prometheus.yaml"), source="prometheus.yaml"
    )


def _text(name: str, *, port: int) -> str:
    """Return a file of the organization, with the name of the stack that runs beside this site."""
    return (ORGANIZATION / name).read_text("utf-8").replace("@stack", str(port + STACK_PORT_OFFSET))
