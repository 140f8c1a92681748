"""Run one of the commands that an operator allows on a host, over SSH.

There is no shell to write to: a runbook names a host and a command, and fills arguments that must match their patterns;
each is quoted. The host is known by its key, never by trust on first use.
"""

import asyncio
import logging
import re
import shlex
from typing import Any, ClassVar

from pydantic import Field

from core.live import say, seconds_left
from drivers.data import ActionResult, Arguments, Idempotency, Plan, Risk, Support, Target
from runbooks.actions.base import RunbookAction
from runbooks.models import RemoteHost
from runbooks.selectors import remote_host

KEPT_CHARACTERS = 64_000
MOST_LINES = 200_000
# asyncssh is imported when a command runs: it takes a tenth of a second that every process would pay.
# Its information lines hold whole commands, and those may hold a secret.
logging.getLogger("asyncssh").setLevel(logging.WARNING)


class CommandArguments(Arguments):
    """Which host, which of its allowed commands, and the arguments that the command declares."""

    target: str = Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
    command: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    arguments: dict[str, str | int] = {}
    timeout_seconds: float = Field(default=60, gt=0, le=3600)


class CommandRefusedError(ValueError):
    """The host, the command or an argument is not one of those that are allowed."""


def resolve_command(arguments: CommandArguments) -> tuple[RemoteHost, str, bool]:
    """Return the host, the quoted command line and whether it only reads. Raises CommandRefusedError."""
    host = remote_host(name=arguments.target)
    if host is None:
        raise CommandRefusedError(f"there is no remote host {arguments.target!r}")
    allowed = host.commands.get(arguments.command)
    if allowed is None:
        names = ", ".join(sorted(host.commands)) or "none"
        raise CommandRefusedError(f"{arguments.command!r} is not allowed on {host.name}; allowed: {names}")
    declared: dict[str, str] = allowed.get("arguments", {})
    if set(arguments.arguments) != set(declared):
        raise CommandRefusedError(f"{arguments.command} takes {', '.join(declared) or 'no arguments'}")
    for name, pattern in declared.items():
        if not re.fullmatch(pattern, str(arguments.arguments[name])):
            raise CommandRefusedError(f"{name} must look like {pattern}")
    words = [_filled(word, arguments.arguments) for word in allowed["argv"]]
    return host, " ".join(shlex.quote(word) for word in words), bool(allowed.get("reads"))


def _filled(word: str, values: dict[str, str | int]) -> str:
    return re.sub(r"\{([a-z_]+)\}", lambda match: str(values[match[1]]), word)


class RunCommand(RunbookAction):
    """Runs an allowed command; its lines are shown as they come."""

    name: ClassVar[str] = "ssh.command"
    description: ClassVar[str] = "Run an allowed command on a remote host over SSH."
    arguments: ClassVar[type[Arguments]] = CommandArguments
    reads: ClassVar[bool] = False

    def probe(self, arguments: CommandArguments) -> Support:
        try:
            _, _, reads = resolve_command(arguments)
        except CommandRefusedError as error:
            return Support(supported=False, reason=str(error))
        if self.reads and not reads:
            return Support(supported=False, reason=f"{arguments.command} may change something; run it by ssh.command")
        return Support(supported=True)

    def plan(self, arguments: CommandArguments) -> Plan:
        try:
            host, line, _ = resolve_command(arguments)
        except CommandRefusedError as error:
            return Plan(summary=f"Not possible: {error}")
        where = f"{host.username}@{host.address}:{host.port}"
        return Plan(
            summary=f"Run {arguments.command} on {host.name}",
            targets=(Target("host", host.name, {"address": host.address}),),
            commands=(f"ssh {where} {line}",),
        )

    def run(self, arguments: CommandArguments, *, idempotency_key: str) -> ActionResult:
        host, line, _ = resolve_command(arguments)
        import asyncssh  # noqa: PLC0415

        seconds = seconds_left(otherwise=arguments.timeout_seconds)
        try:
            status, text = asyncio.run(asyncio.wait_for(_run(host, line, idempotency_key), timeout=seconds))
        except TimeoutError:
            return ActionResult(ok=False, error=f"{arguments.command} did not end within {seconds:.0f} s")
        except (asyncssh.Error, OSError) as error:
            return ActionResult(ok=False, error=f"{host.name}: {error}")
        output = {"value": _value(text, status), "status": status, "text": text[-KEPT_CHARACTERS:]}
        return ActionResult(ok=status == 0, output=output, error="" if status == 0 else f"status {status}")


class RunReadingCommand(RunCommand):
    """Runs an allowed command that only reads: a check. Its value is the number it prints, else its text."""

    name: ClassVar[str] = "ssh.check"
    description: ClassVar[str] = "Run an allowed command that only reads on a remote host over SSH."
    risk: ClassVar[Risk] = Risk.READ
    idempotency: ClassVar[Idempotency] = Idempotency.NATURAL
    reads: ClassVar[bool] = True


async def _run(host: RemoteHost, line: str, key: str) -> tuple[int, str]:
    import asyncssh  # noqa: PLC0415

    known = asyncssh.import_known_hosts(
        f"[{host.address}]:{host.port} {host.host_key}\n{host.address} {host.host_key}\n"
    )
    connection = await asyncssh.connect(
        host.address,
        port=host.port,
        username=host.username,
        client_keys=[asyncssh.import_private_key(host.private_key)],
        known_hosts=known,
        agent_path=None,
        config=None,
        password_auth=False,
    )
    kept: list[str] = []
    try:
        # The far side may refuse the variable; those that take it can tell a repeat by it.
        process = await connection.create_process(line, env={"ASSAY_IDEMPOTENCY_KEY": key}, stderr=asyncssh.STDOUT)
        size = 0
        async for text in process.stdout:
            say(text)
            if size < KEPT_CHARACTERS and len(kept) < MOST_LINES:
                kept.append(text)
                size += len(text)
        done = await process.wait()
    finally:
        connection.close()
        await connection.wait_closed()
    return (done.returncode if done.returncode is not None else -1), "".join(kept)


def _value(text: str, status: int) -> Any:
    last = text.strip().splitlines()[-1].strip() if text.strip() else ""
    if re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]{1,9})?", last):
        return float(last) if "." in last else int(last)
    return last[:500] if last else status
