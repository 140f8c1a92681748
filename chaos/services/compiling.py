"""A run as an experiment of the Chaos Toolkit that names only functions of this program."""

from typing import Any

from chaos.models import ChaosRun
from chaos.services.planning import spec_of


def compile_experiment(run: ChaosRun) -> dict[str, Any]:
    """Return a run as a Chaos Toolkit experiment."""
    spec = spec_of(run.revision)

    def call(kind: str, name: str, function: str, **arguments: Any) -> dict[str, Any]:
        provider = {
            "type": "python",
            "module": "chaos.engine",
            "func": function,
            "arguments": {"reference": run.reference, **arguments},
        }
        return {"type": kind, "name": name, "provider": provider}

    return {
        "version": "1.0.0",
        "title": run.revision.experiment.title or run.revision.experiment.slug,
        "description": spec.hypothesis,
        "steady-state-hypothesis": {
            "title": spec.hypothesis,
            "probes": [{**call("probe", "no burn alert fires", "steady_state"), "tolerance": True}],
        },
        "method": [
            *(
                call("action", f"inject {fault.action}", "inject_fault", position=n)
                for n, fault in enumerate(spec.faults)
            ),
            call("action", "hold", "hold"),
        ],
        "rollbacks": [
            call("action", f"undo {spec.faults[n].action}", "undo_fault", position=n)
            for n in reversed(range(len(spec.faults)))
        ],
    }
