"""The processes of the stack: what to start, on which port, under which name drivers find them."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

GATEWAY, FIRST_MODEL_SERVER, REPLICAS = 0, 1, 3
FEATURE_STORE = FIRST_MODEL_SERVER + REPLICAS
FEATURE_PROXY = FEATURE_STORE + 1


@dataclass(frozen=True)
class StackProcess:
    """One process: its name (also `ASSAY_TARGET` in its environment), command and the port it listens on, if any.

    `measured` says whether it has metrics of its own.
    """

    name: str
    command: tuple[str, ...]
    port: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    measured: bool = True


def group_name(name: str, *, first_port: int) -> str:
    """Return what the replicas of a service have in common; two stacks on one machine are told apart by their port."""
    return f"{first_port}/{name.rstrip('-0123456789')}"


def stack_processes(*, first_port: int, state_dir: Path, seed: int = 1) -> tuple[StackProcess, ...]:
    """Return the stack's processes in the order of their start; they use `first_port` and the five after it.

    The gateway reaches the feature store through a fault proxy, whose control file is beside the stack's state.
    """

    def process(name: str, module: str, port: int | None, *arguments: str) -> StackProcess:
        listen = () if port is None else ("--port", str(port))
        return StackProcess(
            name=name,
            command=(sys.executable, "-m", f"demo.stack.{module}", *listen, *arguments),
            port=port,
            environment={"ASSAY_TARGET": name, "ASSAY_GROUP": group_name(name, first_port=first_port)},
        )

    replicas = [first_port + FIRST_MODEL_SERVER + number for number in range(REPLICAS)]
    store, gateway, proxy = first_port + FEATURE_STORE, first_port + GATEWAY, first_port + FEATURE_PROXY
    name, control = "feature-proxy", state_dir.parent / "proxies" / "feature-store.json"
    fault_proxy = StackProcess(
        name=name,
        command=(
            *(sys.executable, "-m", "drivers.proxy", "--http", "--listen", str(proxy)),
            *("--upstream", f"127.0.0.1:{store}", "--control", str(control)),
        ),
        port=proxy,
        environment={
            "ASSAY_TARGET": "feature-proxy",
            "ASSAY_GROUP": group_name("feature-proxy", first_port=first_port),
        },
        measured=False,
    )
    return (
        process("feature-store", "feature_store", store, "--database", str(state_dir / "feature-store.sqlite3")),
        fault_proxy,
        *(
            process(f"model-server-{n}", "model_server", port, "--name", f"model-server-{n}", "--seed", str(seed + n))
            for n, port in enumerate(replicas, start=1)
        ),
        process(
            "gateway",
            "gateway",
            gateway,
            "--feature-store",
            f"127.0.0.1:{proxy}",
            *(part for port in replicas for part in ("--replica", f"127.0.0.1:{port}")),
        ),
        process("load", "load", None, "--gateway", f"127.0.0.1:{gateway}", "--seed", str(seed)),
    )
