from collections.abc import Callable, Sequence
from typing import Any

from catalog.services import apply_documents as apply_catalog
from chaos.services import apply_documents as apply_experiments
from core.parsing import load_yaml_documents
from demo.services import LOADER
from demo.services.loading import ORGANIZATION
from demo.services.people import load_people
from reliability.services import apply_documents as apply_slos


def load_chaos_world() -> None:
    """The demo's people, services, SLOs and experiments: what chaos needs of it, and no more."""
    load_people(principal=LOADER)
    steps: Sequence[tuple[str, Callable[..., Any]]] = (
        ("catalog.yaml", apply_catalog),
        ("slos.yaml", apply_slos),
        ("experiments.yaml", apply_experiments),
    )
    for name, apply in steps:
        text = (ORGANIZATION / name).read_text("utf-8").replace("@stack", "8100")
        apply(principal=LOADER, documents=load_yaml_documents(text, source=name), source=name)
