"""Ask other systems to do something: a signed webhook, a Celery task, a person's hands."""

from typing import Any, ClassVar

from celery import current_app
from django.conf import settings
from pydantic import Field

from accounts.data import system_principal
from delivery.data import Channel
from delivery.selectors import endpoint_by_slug
from delivery.services import send
from drivers.data import ActionResult, Arguments, Idempotency, Plan, Support, Target
from runbooks.actions.base import RunbookAction

SITE = system_principal("runbooks")


class WebhookArguments(Arguments):
    """Which of the site's webhook endpoints, what kind of event, and its data."""

    endpoint: str = Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
    event: str = Field(default="runbook.step", pattern=r"^[a-z][a-z0-9_.]{0,79}$")
    data: dict[str, Any] = {}


class SendWebhook(RunbookAction):
    """Puts a signed webhook into the outbox: one row for each key, retried and redelivered like any other."""

    name: ClassVar[str] = "webhook"
    description: ClassVar[str] = "Send a signed webhook (Standard Webhooks) to an endpoint of the site, by the outbox."
    arguments: ClassVar[type[Arguments]] = WebhookArguments
    idempotency: ClassVar[Idempotency] = Idempotency.KEY

    def probe(self, arguments: WebhookArguments) -> Support:
        known = endpoint_by_slug(viewer=SITE, slug=arguments.endpoint) is not None
        return Support(supported=known, reason="" if known else f"there is no webhook endpoint {arguments.endpoint!r}")

    def plan(self, arguments: WebhookArguments) -> Plan:
        endpoint = endpoint_by_slug(viewer=SITE, slug=arguments.endpoint)
        return Plan(
            summary=f"Send {arguments.event} to {arguments.endpoint}",
            targets=(Target("endpoint", arguments.endpoint),),
            commands=(f"POST {endpoint.url}",) if endpoint else (),
        )

    def run(self, arguments: WebhookArguments, *, idempotency_key: str) -> ActionResult:
        delivery = send(
            channel=Channel.WEBHOOK,
            address=arguments.endpoint,
            idempotency_key=idempotency_key,
            subject=arguments.event,
            text=arguments.event,
            payload={"type": arguments.event, "data": {**arguments.data, "idempotency_key": idempotency_key}},
            about=f"runbook-step:{idempotency_key}",
        )
        return ActionResult(ok=True, output={"value": "queued", "delivery": delivery.reference})


class TaskArguments(Arguments):
    """Which of the allowed Celery tasks, with which keyword arguments."""

    task: str = Field(min_length=1, max_length=200)
    kwargs: dict[str, str | int | float | bool] = {}
    queue: str = Field(default="", pattern=r"^[A-Za-z0-9_.-]{0,80}$")


class SendTask(RunbookAction):
    """Sends a Celery task that `ASSAY_RUNBOOK_TASKS` names; the key is the task's id."""

    name: ClassVar[str] = "celery.task"
    description: ClassVar[str] = "Send an allowed Celery task through the site's broker."
    arguments: ClassVar[type[Arguments]] = TaskArguments

    def probe(self, arguments: TaskArguments) -> Support:
        allowed = settings.RUNBOOK_TASKS
        return Support(
            supported=arguments.task in allowed,
            reason=f"{arguments.task} is not one of ASSAY_RUNBOOK_TASKS ({', '.join(allowed) or 'which is empty'})",
        )

    def plan(self, arguments: TaskArguments) -> Plan:
        return Plan(summary=f"Send the task {arguments.task}", targets=(Target("task", arguments.task),))

    def run(self, arguments: TaskArguments, *, idempotency_key: str) -> ActionResult:
        options: dict[str, Any] = {"queue": arguments.queue} if arguments.queue else {}
        sent = current_app.send_task(
            arguments.task, kwargs=arguments.kwargs, task_id=idempotency_key, retry=False, **options
        )
        return ActionResult(ok=True, output={"value": "sent", "task_id": str(sent.id)})


class ManualArguments(Arguments):
    """What a person is to do."""

    do: str = Field(min_length=1, max_length=1000)


class DoByHand(RunbookAction):
    """A person does it and says so; the run waits, no worker does."""

    name: ClassVar[str] = "manual"
    description: ClassVar[str] = "A person does it by hand and says when it is done."
    arguments: ClassVar[type[Arguments]] = ManualArguments
    by_hand: ClassVar[bool] = True

    def plan(self, arguments: ManualArguments) -> Plan:
        return Plan(summary=f"By hand: {arguments.do}")

    def run(self, arguments: ManualArguments, *, idempotency_key: str) -> ActionResult:  # noqa: ARG002
        return ActionResult(ok=False, error=f"only a person can do this: {arguments.do}")
