"""Experiments from and to the Chaos Toolkit's files."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from accounts.data import Principal
from chaos.domain.durations import Duration
from chaos.domain.toolkit import OURS, translate
from chaos.models import Experiment
from chaos.selectors import latest_revision
from chaos.services.planning import apply_documents, spec_of
from core.parsing import InputRefusedError, LineIndex, Problem, load_yaml_documents, refuse


class Missing(BaseModel):
    """What a file of the toolkit does not say and Assay wants to know."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str = ""
    environment: str = ""
    services: list[str] = []
    slos: list[str] = []
    max_targets: int = Field(default=1, ge=1, le=50)
    ttl: Duration | None = None


def import_experiment(*, principal: Principal, raw: bytes, source: str, missing: Missing) -> str:
    """Translate a file of the Chaos Toolkit, JSON or YAML, into an experiment and apply it; returns its name.

    Everything in it is held against an allow-list, and nothing that it names is imported. Raises InputRefusedError
    with the place of everything that is refused.
    """
    documents = load_yaml_documents(raw, source=source)
    if len(documents) != 1 or not isinstance(documents[0][0], dict):
        raise refuse(source, found=f"{len(documents)} documents", allowed="one experiment of the Chaos Toolkit")
    data, lines = documents[0]
    document = _translated(data, lines, source=source, missing=missing)
    apply_documents(principal=principal, documents=[(document, LineIndex({}))], source=f"{source}, translated,")
    return str(document["metadata"]["name"])


def _translated(data: dict[str, Any], lines: LineIndex, *, source: str, missing: Missing) -> dict[str, Any]:
    found = translate(data)
    if found.problems:
        raise InputRefusedError([_problem(source, lines, *problem) for problem in found.problems])
    spec: dict[str, Any] = {
        "environment": missing.environment,
        "services": missing.services,
        "hypothesis": found.description or found.title or "It survives.",
        "hold": f"{max(int(found.hold_seconds), 1)}s",
        "blast_radius": {"max_targets": missing.max_targets},
        "steady_state": {"slos": missing.slos},
        **found.own_spec,
    }
    ttl = f"{int(missing.ttl.total_seconds())}s" if missing.ttl else "5m"
    spec["faults"] = [{"ttl": ttl, **fault} for fault in found.faults]
    if found.probes:
        spec["steady_state"] = {**spec["steady_state"], "probes": found.probes}
    name = missing.name or _slug(found.title)
    metadata = {"name": name, "title": found.title[:120]}
    return {"apiVersion": "assay/v1", "kind": "Experiment", "metadata": metadata, "spec": spec}


def _problem(source: str, lines: LineIndex, path: tuple[str | int, ...], found: object, allowed: str) -> Problem:
    line = lines.line_of(path)
    place = ".".join(str(part) for part in path)
    return Problem(f"{source}{f':{line}' if line else ''} {place}", f"{found}"[:120], allowed)


def _slug(title: str) -> str:
    words = "".join(character if character.isascii() and character.isalnum() else " " for character in title.lower())
    return "-".join(words.split())[:60].strip("-") or "imported"


def export_experiment(experiment: Experiment) -> dict[str, Any]:
    """Return an experiment as the Chaos Toolkit reads it; imported again it is the same experiment.

    It runs with `chaos run` where this program is installed. The toolkit has no guards and no reaper: what is left of
    safety is the rollbacks, always played, and each fault's own watchdog.
    """
    revision = latest_revision(experiment=experiment)
    spec = spec_of(revision)
    own = {key: value for key, value in revision.definition["spec"].items() if key != "faults"}
    own["steady_state"] = {key: value for key, value in own["steady_state"].items() if key != "probes"}

    def call(kind: str, name: str, function: str, **arguments: Any) -> dict[str, Any]:
        provider = {"type": "python", "module": OURS, "func": function, "arguments": arguments}
        return {"type": kind, "name": name, "provider": provider}

    faults = list(enumerate(spec.faults))
    method = [
        call(
            "action",
            f"inject {fault.action}",
            "inject",
            action=fault.action,
            arguments=fault.arguments,
            ttl_seconds=int(fault.ttl.total_seconds()),
            key=f"{experiment.slug}:{position}",
        )
        for position, fault in faults
    ]
    method[-1]["pauses"] = {"after": int(spec.hold.total_seconds())}
    probes = [
        {**call("probe", probe.action, "check", action=probe.action, arguments=probe.arguments), "tolerance": True}
        for probe in spec.steady_state.probes
    ]
    return {
        "version": "1.0.0",
        "title": experiment.title or experiment.slug,
        "description": spec.hypothesis,
        "runtime": {"rollbacks": {"strategy": "always"}},
        "steady-state-hypothesis": {"title": spec.hypothesis, "probes": probes},
        "method": method,
        "rollbacks": [
            call(
                "action",
                f"undo {fault.action}",
                "undo",
                action=fault.action,
                arguments=fault.arguments,
                key=f"{experiment.slug}:{position}",
            )
            for position, fault in reversed(faults)
        ],
        "extensions": [{"name": "assay", "spec": own}],
    }
