"""Read deployments out of the webhooks of GitHub and GitLab.

GitHub: `deployment_status` with a final state ("Webhook events and payloads"). GitLab: deployment events
(`object_kind: deployment`, "Webhook events"). The service is `payload.service` of the deployment, else the name of the
repository.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from incidents.domain.inbound_formats import UnparsedBodyError, believable, text_at

GITHUB_RESULTS = {"success": "succeeded", "failure": "failed", "error": "failed"}
GITLAB_RESULTS = {"success": "succeeded", "failed": "failed"}


@dataclass(frozen=True)
class ReceivedDeployment:
    """A deployment that has come to its end."""

    reference: str
    service: str
    commit: str
    author: str
    result: str
    started_at: datetime
    finished_at: datetime


def read_github(headers: Mapping[str, str], document: Any, *, received_at: datetime) -> ReceivedDeployment | str:
    """Return the deployment, or why the event is none."""
    kind = headers.get("x-github-event", "")
    if kind != "deployment_status":
        return f"{kind or 'an event without X-GitHub-Event'} tells of no deployment's end"
    if not isinstance(document, dict):
        raise UnparsedBodyError("a JSON object is expected")
    state = text_at(document, "deployment_status.state")
    if state not in GITHUB_RESULTS:
        return f"the state {state or 'none'} is not final"
    number = text_at(document, "deployment.id")
    repository = text_at(document, "repository.full_name")
    if not number or not repository:
        raise UnparsedBodyError("deployment.id and repository.full_name are required")
    started = _time(text_at(document, "deployment.created_at"), received_at)
    return ReceivedDeployment(
        reference=f"github:{repository}:{number}"[:120],
        service=text_at(document, "deployment.payload.service") or slug_of(repository.rpartition("/")[2]),
        commit=text_at(document, "deployment.sha")[:64],
        author=text_at(document, "deployment.creator.login")[:120] or "unknown",
        result=GITHUB_RESULTS[state],
        started_at=started,
        finished_at=max(started, _time(text_at(document, "deployment_status.updated_at"), received_at)),
    )


def read_gitlab(document: Any, *, received_at: datetime) -> ReceivedDeployment | str:
    """Return the deployment, or why the event is none."""
    kind = text_at(document, "object_kind")
    if kind != "deployment":
        return f"{kind or 'an event without object_kind'} tells of no deployment"
    state = text_at(document, "status")
    if state not in GITLAB_RESULTS:
        return f"the state {state or 'none'} is not final"
    number = text_at(document, "deployment_id")
    project = text_at(document, "project.path_with_namespace")
    if not number or not project:
        raise UnparsedBodyError("deployment_id and project.path_with_namespace are required")
    at = _time(text_at(document, "status_changed_at"), received_at)
    commit = text_at(document, "commit_url").rpartition("/")[2] or text_at(document, "short_sha")
    return ReceivedDeployment(
        reference=f"gitlab:{project}:{number}"[:120],
        service=slug_of(project.rpartition("/")[2]),
        commit=commit[:64],
        author=text_at(document, "user.username")[:120] or "unknown",
        result=GITLAB_RESULTS[state],
        started_at=at,
        finished_at=at,
    )


def slug_of(name: str) -> str:
    """Return a repository's name as services are named."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:63]


def _time(text: str, received_at: datetime) -> datetime:
    for form in (None, "%Y-%m-%d %H:%M:%S %z", "%Y-%m-%d %H:%M:%S %Z"):
        try:
            at = datetime.fromisoformat(text) if form is None else datetime.strptime(text, form)  # noqa: DTZ007 next line
        except ValueError:
            continue
        return believable(at if at.tzinfo else at.replace(tzinfo=UTC), received_at)
    return received_at
