"""HAProxy's runtime socket: one command at a time, and servers as it sees them."""

import socket
from dataclasses import dataclass

ASK_SECONDS = 5.0
FORCED_MAINTENANCE, FORCED_DRAIN = 0x01, 0x08
RUNNING = 2
MOST_WEIGHT = 256


class HaproxyError(RuntimeError):
    """HAProxy does not answer, or it refused."""


@dataclass(frozen=True)
class ServerState:
    """A server as HAProxy sees it; `initial` is the weight of its configuration."""

    name: str
    admin: int
    weight: int
    initial: int = 1
    operational: int = RUNNING

    @property
    def takes_traffic(self) -> bool:
        """Say whether it gets new sessions as far as its state goes."""
        return self.admin == 0 and self.operational == RUNNING


def ask(path: str, order: str) -> str:
    """Send one command to the runtime socket. Raises HaproxyError with what it says."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ASK_SECONDS)
            connection.connect(path)
            connection.sendall(f"{order}\n".encode())
            said = b"".join(iter(lambda: connection.recv(65_536), b"")).decode()
    except OSError as error:
        raise HaproxyError(f"the runtime socket {path} does not answer: {error}") from None
    if order.startswith("set ") and said.strip():
        raise HaproxyError(said.strip()[:300])
    return said


def server_states(path: str, backend: str) -> dict[str, ServerState]:
    """Return the servers of a backend by name. Raises HaproxyError."""
    said = ask(path, f"show servers state {backend}")
    lines = [line for line in said.splitlines() if line.strip()]
    header = next((line for line in lines if line.startswith("# ")), "")
    if not header:
        raise HaproxyError(f"{backend}: {said.strip()[:200] or 'no such backend'}")
    columns = header[2:].split()
    found = {}
    for line in lines:
        values = line.split()
        if len(values) < len(columns) or line.startswith("#"):
            continue
        row = dict(zip(columns, values, strict=False))
        found[row["srv_name"]] = ServerState(
            row["srv_name"],
            int(row["srv_admin_state"]),
            int(row["srv_uweight"]),
            int(row["srv_iweight"]),
            int(row["srv_op_state"]),
        )
    return found


def share_of(servers: set[str], states: dict[str, ServerState]) -> float | None:
    """Return the percentage of the weight that servers have among those that take traffic; None when none does."""
    weights = {name: state.weight for name, state in states.items() if state.takes_traffic}
    whole = sum(weights.values())
    return 100 * sum(weight for name, weight in weights.items() if name in servers) / whole if whole else None


def weights_for(servers: set[str], states: dict[str, ServerState], *, percent: int) -> dict[str, int]:
    """Return the weights by which these servers get their percentage and the others the rest.

    Inside both groups the weights of the configuration decide; whoever gets anything has at least 1.
    """
    parts: dict[str, float] = {}
    for group, share in ((servers, percent), (set(states) - servers, 100 - percent)):
        base = {name: states[name].initial for name in group}
        if not sum(base.values()):
            base = dict.fromkeys(group, 1)
        parts |= {name: share * one / sum(base.values()) for name, one in base.items()}
    most = max(parts.values(), default=0) or 1
    return {name: max(round(part / most * MOST_WEIGHT), 1) if part else 0 for name, part in parts.items()}
