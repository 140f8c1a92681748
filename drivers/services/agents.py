"""Agents: add and revoke them, ask one something and wait for its answer, and hand out orders when it polls."""

import contextlib
import hashlib
import hmac
import re
import secrets
import time
from datetime import timedelta
from typing import Any

from django.db import connection, transaction
from pydantic import Field

from accounts.data import Capability, Principal
from accounts.services import ensure_may
from core.clock import database_now
from core.parsing import refuse
from core.proving import dangerous
from drivers.agent.signing import signed
from drivers.data import ActionResult, Arguments, Plan, Support, Target
from drivers.models import Agent, AgentOrder
from ledger.data.access import AuditedAction
from ledger.services import record

ON_HOST = "on_host"
ANSWER_WITHIN = timedelta(seconds=10)
LOOK_SECONDS = 0.1
MOST_ORDERS = 20
UNHEARD_AFTER = timedelta(seconds=30)
KEEP_ORDERS = timedelta(days=7)
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,61}[a-z0-9]")


class AgentError(RuntimeError):
    """The agent is not known, does not answer, or refuses."""


class PollResult(Arguments):
    """What came of an order."""

    order: int = Field(ge=1)
    answer: dict[str, Any]


class PollBody(Arguments):
    """What an agent sends when it polls."""

    nonce: str = Field(pattern=r"^[0-9a-f]{32}$")
    results: list[PollResult] = Field(default=[], max_length=50)
    faults: list[str] = Field(default=[], max_length=500)
    host: dict[str, Any] = {}


# --- adding and revoking


@dangerous("add an agent, or give it new secrets")
@transaction.atomic
def add_agent(*, principal: Principal, slug: str) -> tuple[Agent, dict[str, str]]:
    """Add an agent, or give one new secrets; returns it with what its configuration file must say, shown only now."""
    ensure_may(principal, Capability.SITE_ADMIN)
    if not NAME.fullmatch(slug):
        raise refuse("agent", found=slug, allowed="lower-case letters, digits and dashes")
    token, key = secrets.token_urlsafe(32), secrets.token_hex(32)
    agent, _ = Agent.objects.update_or_create(
        slug=slug,
        defaults={
            "token_sha256": _digest(token),
            "signing_key": key,
            "added_by": principal.reference,
            "added_at": database_now(),
            "revoked_at": None,
        },
    )
    record(AuditedAction(action="agent.added", target=slug), actor=principal.reference, subject=f"agent:{slug}")
    return agent, {"name": slug, "token": token, "key": key}


@dangerous("refuse an agent")
@transaction.atomic
def revoke_agent(*, principal: Principal, slug: str) -> bool:
    """Refuse an agent from now on; its faults end by its own dead man's switch. Returns whether it was accepted."""
    ensure_may(principal, Capability.SITE_ADMIN)
    revoked = Agent.objects.filter(slug=slug, revoked_at__isnull=True).update(revoked_at=database_now())
    if revoked:
        record(AuditedAction(action="agent.revoked", target=slug), actor=principal.reference, subject=f"agent:{slug}")
    return bool(revoked)


# --- asking


def split_host(arguments: object) -> tuple[str, object]:
    """Return the host that arguments name, or an empty text, and the arguments without it."""
    if isinstance(arguments, dict) and ON_HOST in arguments:
        host = arguments[ON_HOST]
        if not isinstance(host, str) or not NAME.fullmatch(host):
            raise refuse(ON_HOST, found=host, allowed="the name of an agent")
        return host, {name: value for name, value in arguments.items() if name != ON_HOST}
    return "", arguments


def ask_agent(host: str, question: str, action: str, arguments: Any, **more: Any) -> dict[str, Any]:
    """Ask an agent something and wait for its answer. Raises AgentError.

    Must not be called inside a transaction: the agent would not see the order.
    """
    agent = Agent.objects.filter(slug=host).first()
    if agent is None:
        raise AgentError(f"there is no agent {host}")
    if agent.revoked_at is not None:
        raise AgentError(f"the agent {host} was revoked")
    if connection.in_atomic_block:
        raise AgentError(f"{host} cannot be asked inside a transaction")
    now = database_now()
    order = AgentOrder.objects.create(
        agent=agent,
        question=question,
        action=action,
        arguments=arguments,
        more=more,
        created_at=now,
        expires_at=now + ANSWER_WITHIN,
    )
    deadline = time.monotonic() + ANSWER_WITHIN.total_seconds()
    while time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
        answer = AgentOrder.objects.filter(pk=order.pk, answered_at__isnull=False).values_list("answer", flat=True)
        if found := list(answer):
            return _value(host, found[0])
    # From now on it is not handed out any more. One that was is undone by the agent if it is a fault.
    AgentOrder.objects.filter(pk=order.pk, answered_at__isnull=True).update(expires_at=now)
    raise AgentError(f"{host} has not answered within {ANSWER_WITHIN.total_seconds():.0f} s")


def _value(host: str, answer: Any) -> dict[str, Any]:
    if not isinstance(answer, dict) or not isinstance(answer.get("value"), dict):
        said = answer.get("refused") if isinstance(answer, dict) else answer
        raise AgentError(f"{host} refuses: {said}")
    value: dict[str, Any] = answer["value"]
    return value


def ask_support(host: str, action: str, arguments: Any) -> Support:
    """Return whether an action works on a host; a host that does not answer cannot."""
    try:
        return Support(**ask_agent(host, "probe", action, arguments))
    except AgentError as error:
        return Support(supported=False, reason=str(error))


def ask_plan(host: str, action: str, arguments: Any) -> Plan:
    """Return what an action would do on a host; a host that does not answer has no targets."""
    try:
        found = ask_agent(host, "plan", action, arguments)
    except AgentError as error:
        return Plan(summary=f"nothing: {error}")
    targets = [Target(one["kind"], f"{host}/{one['name']}", one["identity"]) for one in found["targets"]]
    return Plan(
        summary=f"{found['summary']} (on {host})",
        targets=tuple(targets),
        commands=tuple(found["commands"]),
        undo=found["undo"],
        matched=found["matched"],
    )


def ask_result(host: str, question: str, action: str, arguments: Any, **more: Any) -> ActionResult:
    """Have a host do something. One that does not answer may have done it: that is a failure and must be undone."""
    try:
        return ActionResult(**ask_agent(host, question, action, arguments, **more))
    except AgentError as error:
        return ActionResult(ok=False, error=str(error))


def agents_with_faults_left() -> list[str]:
    """Return what agents that answer find on their hosts."""
    found = []
    for agent in Agent.objects.filter(revoked_at__isnull=True, heard_at__gt=database_now() - UNHEARD_AFTER):
        with contextlib.suppress(AgentError):
            found += [f"{agent}: {text}" for text in ask_agent(agent.slug, "remains", "", {})["remains"]]
    return found


def silent_agents() -> list[str]:
    """Return agents that had faults when they were heard last, and have not been heard since."""
    silent = Agent.objects.filter(heard_at__lte=database_now() - UNHEARD_AFTER).exclude(faults=[])
    return [f"{agent}: had {', '.join(agent.faults)} when it was heard last" for agent in silent]


# --- handing out


def agent_of_token(token: str) -> Agent | None:
    """Return the agent that a token belongs to, unless it was revoked."""
    agent = Agent.objects.filter(token_sha256=_digest(token), revoked_at__isnull=True).first()
    return agent if agent is not None and hmac.compare_digest(agent.token_sha256, _digest(token)) else None


def take_poll(agent: Agent, body: PollBody) -> dict[str, str]:
    """Keep what an agent tells and return its next orders, signed for this question."""
    now = database_now()
    for result in body.results:
        AgentOrder.objects.filter(pk=result.order, agent=agent, answered_at__isnull=True).update(
            answered_at=now, answer=result.answer
        )
    Agent.objects.filter(pk=agent.pk).update(heard_at=now, host=body.host, faults=body.faults)
    orders = [
        {
            "id": order.pk,
            "question": order.question,
            "action": order.action,
            "arguments": order.arguments,
            "more": order.more,
        }
        for order in agent.orders.filter(handed_out_at__isnull=True, expires_at__gt=now)[:MOST_ORDERS]
        if AgentOrder.objects.filter(pk=order.pk, handed_out_at__isnull=True).update(handed_out_at=now)
    ]
    return signed(orders, key=agent.signing_key, nonce=body.nonce)


def forget_old_orders() -> None:
    """Delete orders that are long over."""
    AgentOrder.objects.filter(created_at__lt=database_now() - KEEP_ORDERS).delete()


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
