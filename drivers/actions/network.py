"""Faults of the network inside a named network namespace, by nftables sets that the kernel empties by itself."""

import json
import os
from datetime import timedelta
from ipaddress import IPv4Network
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field

from drivers.data import ActionResult, Arguments, Idempotency, Plan, Support, Target
from drivers.services.commands import CommandError, find_program, run_program
from drivers.services.faults import ReversibleFault, fault_name

NAMESPACES = Path("/run/netns")
EVERYBODY = "0.0.0.0/0"


def _is_network(text: str) -> str:
    return str(IPv4Network(text))


Network = Annotated[str, AfterValidator(_is_network)]


class NetworkArguments(Arguments):
    """In which namespace, and between it and whom: networks, and ports on either side (none means all)."""

    namespace: str = Field(pattern=r"^[A-Za-z0-9_-]{1,60}$")
    peers: list[Network] = Field(min_length=1, max_length=100)
    ports: list[Annotated[int, Field(ge=1, le=65_535)]] = Field(default=[], max_length=50)


class LossArguments(NetworkArguments):
    """Which share of packets is lost."""

    percent: float = Field(ge=0.1, le=100)


class BandwidthArguments(NetworkArguments):
    """How many bytes pass each second."""

    bytes_per_second: int = Field(ge=1000, le=10_000_000_000)


def namespace_problem(namespace: str, *programs: str) -> str:
    """Return why a network namespace cannot be changed here with these programs, or an empty text."""
    if os.geteuid() != 0:
        return "changing a network namespace needs root"
    if missing := [name for name in programs if not find_program(name)]:
        return f"{missing[0]} is not installed here"
    if not (NAMESPACES / namespace).exists():
        return f"there is no network namespace {namespace}"
    return ""


class _NetworkFault(ReversibleFault):
    idempotency: ClassVar[Idempotency] = Idempotency.KEY
    proof: ClassVar[str] = "the kernel lists the set's elements"
    name: ClassVar[str]
    says: ClassVar[str]

    def probe(self, arguments: NetworkArguments) -> Support:
        problem = namespace_problem(arguments.namespace, "nft", "ip")
        return Support(supported=not problem, reason=problem)

    def verdicts(self, arguments: Any) -> tuple[str, ...]:
        """Return what happens to a packet, as the ends of nftables rules."""
        raise NotImplementedError

    def plan(self, arguments: NetworkArguments) -> Plan:
        exists = (NAMESPACES / arguments.namespace).exists()
        values = arguments.model_dump()
        ports = f", ports {', '.join(map(str, arguments.ports))}" if arguments.ports else ""
        return Plan(
            summary=f"{self.says.format(**values)} between {arguments.namespace} and "
            f"{', '.join(arguments.peers)}{ports}",
            targets=(Target("namespace", arguments.namespace),) if exists else (),
            commands=tuple(self._script(arguments, "assay_…", "…").splitlines()),
            undo="delete the table; its sets empty by themselves when their time is up",
            matched=1,
        )

    def foresee(self, arguments: NetworkArguments, *, idempotency_key: str, ttl: timedelta) -> dict[str, Any]:
        inode = (NAMESPACES / arguments.namespace).stat().st_ino
        return {"table": fault_name(idempotency_key), "inode": inode, "seconds": int(ttl.total_seconds())}

    def inject(self, arguments: NetworkArguments, foreseen: dict[str, Any]) -> ActionResult:
        script = self._script(arguments, foreseen["table"], f"{foreseen['seconds']}s")
        _nft(arguments.namespace, "-f", "-", stdin=script)
        return ActionResult(ok=True, output=foreseen)

    def undo(self, arguments: NetworkArguments, output: dict[str, Any]) -> ActionResult:
        outcome = "was over already"
        if not self._same(arguments, output):
            outcome = "the namespace is gone"
        elif output["table"] in _tables(arguments.namespace):
            _nft(arguments.namespace, "delete", "table", "inet", output["table"])
            outcome = "taken back"
        return ActionResult(ok=True, output={"outcome": {arguments.namespace: outcome}})

    def is_active(self, arguments: NetworkArguments, output: dict[str, Any]) -> bool:
        if not self._same(arguments, output) or output["table"] not in _tables(arguments.namespace):
            return False
        return _has_elements(arguments.namespace, output["table"])

    def _same(self, arguments: NetworkArguments, output: dict[str, Any]) -> bool:
        path = NAMESPACES / arguments.namespace
        return path.exists() and path.stat().st_ino == output["inode"]

    def _script(self, arguments: NetworkArguments, table: str, seconds: str) -> str:
        """Return the whole fault as one transaction of nftables."""
        halves = ["0.0.0.0/1", "128.0.0.0/1"]  # a set of intervals takes no element that means all
        peers = [part for peer in arguments.peers for part in (halves if peer == EVERYBODY else [peer])]
        elements = ", ".join(f"{peer} timeout {seconds}" for peer in peers)
        ports = f"{{ {', '.join(map(str, arguments.ports))} }}" if arguments.ports else ""
        sides = (f"th dport {ports} ", f"th sport {ports} ") if ports else ("",)
        lines = [
            f"table inet {table} {{",
            f"  set peers {{ type ipv4_addr; flags interval, timeout; elements = {{ {elements} }} }}",
        ]
        for hook, address in (("input", "saddr"), ("output", "daddr"), ("forward", "saddr"), ("forward", "daddr")):
            rules = [
                f"    ip {address} @peers {'meta l4proto { tcp, udp } ' if side else ''}{side}{verdict}"
                for side in sides
                for verdict in self.verdicts(arguments)
            ]
            head = f"  chain {hook}_{address} {{ type filter hook {hook} priority -300; policy accept;"
            lines += [head, *rules, "  }"]
        return "\n".join([*lines, "}", ""])


class Partition(_NetworkFault):
    """Cuts a namespace off."""

    name: ClassVar[str] = "network.partition"
    description: ClassVar[str] = "Drop every packet between a network namespace and its peers; connects hang."
    arguments: ClassVar[type[Arguments]] = NetworkArguments
    says: ClassVar[str] = "Drop every packet"

    def verdicts(self, arguments: NetworkArguments) -> tuple[str, ...]:  # noqa: ARG002
        return ("drop",)

    def remains(self) -> list[str]:
        """Return tables of faults that still do something, in every namespace."""
        if os.geteuid() != 0 or not find_program("nft") or not NAMESPACES.is_dir():
            return []
        found = []
        for namespace in sorted(path.name for path in NAMESPACES.iterdir()):
            ours = [table for table in _tables(namespace) if table.startswith("assay_")]
            found += [f"table {table} in {namespace}" for table in ours if _has_elements(namespace, table)]
        return found


class Reject(_NetworkFault):
    """Refuses connections."""

    name: ClassVar[str] = "network.reject"
    description: ClassVar[str] = "Refuse packets between a network namespace and its peers; connects fail at once."
    arguments: ClassVar[type[Arguments]] = NetworkArguments
    says: ClassVar[str] = "Refuse every packet"

    def verdicts(self, arguments: NetworkArguments) -> tuple[str, ...]:  # noqa: ARG002
        # The refusal passes the same hooks on its way out and must not be refused itself.
        return ("tcp flags & rst != rst reject with tcp reset", "meta l4proto udp reject")


class Loss(_NetworkFault):
    """Loses packets at random."""

    name: ClassVar[str] = "network.loss"
    description: ClassVar[str] = "Lose a random share of the packets between a network namespace and its peers."
    arguments: ClassVar[type[Arguments]] = LossArguments
    says: ClassVar[str] = "Lose {percent:g} % of packets"

    def verdicts(self, arguments: LossArguments) -> tuple[str, ...]:
        return (f"numgen random mod 10000 < {round(arguments.percent * 100)} drop",)


class Bandwidth(_NetworkFault):
    """Narrows a link."""

    name: ClassVar[str] = "network.bandwidth"
    description: ClassVar[str] = "Drop what exceeds a rate between a network namespace and its peers."
    arguments: ClassVar[type[Arguments]] = BandwidthArguments
    says: ClassVar[str] = "Let {bytes_per_second} bytes a second pass"

    def verdicts(self, arguments: BandwidthArguments) -> tuple[str, ...]:
        rate = arguments.bytes_per_second
        return (f"limit rate over {rate} bytes/second burst {max(rate // 10, 3000)} bytes drop",)


def _nft(namespace: str, *arguments: str, stdin: str = "") -> str:
    return run_program(["ip", "netns", "exec", namespace, find_program("nft"), *arguments], stdin=stdin)


def _tables(namespace: str) -> list[str]:
    listed = json.loads(_nft(namespace, "-j", "list", "tables"))["nftables"]
    return [one["table"]["name"] for one in listed if "table" in one]


def _has_elements(namespace: str, table: str) -> bool:
    try:
        listed = json.loads(_nft(namespace, "-j", "list", "set", "inet", table, "peers"))["nftables"]
    except CommandError as error:
        if "No such file" in str(error):
            return False
        raise
    return any(one["set"].get("elem") for one in listed if "set" in one)


NETWORK_ACTIONS = (Partition(), Reject(), Loss(), Bandwidth())
