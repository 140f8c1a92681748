"""Kubernetes, for mending: look at a rollout, go back to the revision before, let a node take pods again."""

from typing import Any, ClassVar

from pydantic import Field

from drivers.actions.kubernetes import (
    ASK_SECONDS,
    ClusterAction,
    ClusterError,
    DeploymentArguments,
    NodeArguments,
    find_node,
    open_cluster,
)
from drivers.data import ActionResult, Arguments, Idempotency, Risk
from drivers.services.faults import OneWay

REVISION = "deployment.kubernetes.io/revision"
HASH_LABEL = "pod-template-hash"


class UndoArguments(DeploymentArguments):
    """Which deployment, and to which revision; without one, to the one before."""

    to_revision: int | None = Field(default=None, ge=1)


def _rollout(arguments: DeploymentArguments) -> dict[str, Any]:
    """Return where a deployment's rollout stands. Raises ClusterError."""
    with open_cluster(arguments) as cluster:
        found = cluster.apps.read_namespaced_deployment(
            arguments.deployment, arguments.namespace, _request_timeout=ASK_SECONDS
        )
    status, wanted = found.status, found.spec.replicas or 0
    counts = {
        "wanted": wanted,
        "updated": (status and status.updated_replicas) or 0,
        "available": (status and status.available_replicas) or 0,
    }
    seen = ((status and status.observed_generation) or 0) >= (found.metadata.generation or 0)
    return {
        "name": found.metadata.name,
        "uid": found.metadata.uid,
        "revision": int((found.metadata.annotations or {}).get(REVISION, 0)),
        **counts,
        "done": seen and counts["updated"] >= wanted and counts["available"] >= wanted,
    }


def _revisions(arguments: DeploymentArguments, uid: str) -> dict[int, Any]:
    """Return the templates of a deployment's replica sets by revision. Raises ClusterError."""
    with open_cluster(arguments) as cluster:
        listed = cluster.apps.list_namespaced_replica_set(arguments.namespace, _request_timeout=ASK_SECONDS)
        return {
            int((one.metadata.annotations or {})[REVISION]): cluster.plain(one.spec.template)
            for one in listed.items
            if any(owner.uid == uid for owner in one.metadata.owner_references or [])
            and REVISION in (one.metadata.annotations or {})
        }


class RolloutStatus(OneWay, ClusterAction):
    """Looks at a rollout; its value is the number of replicas that are available."""

    name: ClassVar[str] = "kubernetes.rollout_status"
    description: ClassVar[str] = "Look whether a deployment's rollout is complete; the value is how many are available."
    arguments: ClassVar[type[Arguments]] = DeploymentArguments
    risk: ClassVar[Risk] = Risk.READ
    idempotency: ClassVar[Idempotency] = Idempotency.NATURAL
    kind: ClassVar[str] = "deployment"
    says: ClassVar[str] = "Look at the rollout"

    def find(self, arguments: DeploymentArguments) -> list[dict[str, Any]]:
        return [_rollout(arguments)]

    def run(self, arguments: DeploymentArguments, *, idempotency_key: str) -> ActionResult:  # noqa: ARG002
        now = _rollout(arguments)
        words = f"{now['updated']} of {now['wanted']} are updated, {now['available']} available"
        return ActionResult(
            ok=now["done"], output={"value": now["available"], **now}, error="" if now["done"] else words
        )


class UndoRollout(OneWay, ClusterAction):
    """Goes back to an earlier revision of a deployment."""

    name: ClassVar[str] = "kubernetes.rollout_undo"
    description: ClassVar[str] = "Go back to an earlier revision of a deployment, as `kubectl rollout undo` does."
    arguments: ClassVar[type[Arguments]] = UndoArguments
    risk: ClassVar[Risk] = Risk.CHANGE
    kind: ClassVar[str] = "deployment"
    says: ClassVar[str] = "Go back to the revision before"

    def find(self, arguments: UndoArguments) -> list[dict[str, Any]]:
        now = _rollout(arguments)
        revisions = _revisions(arguments, now["uid"])
        earlier = [number for number in revisions if number < now["revision"]]
        chosen = arguments.to_revision or max(earlier, default=0)
        if chosen not in revisions:
            known = ", ".join(map(str, sorted(revisions))) or "none"
            raise ClusterError(f"there is no revision {chosen or 'before this one'}; kept are {known}")
        return [{**now, "to_revision": chosen}]

    def run(self, arguments: UndoArguments, *, idempotency_key: str) -> ActionResult:  # noqa: ARG002
        (now,) = self.find(arguments)
        chosen = now["to_revision"]
        if chosen == now["revision"]:
            return ActionResult(ok=True, output={"value": chosen, "from_revision": chosen})
        template = _revisions(arguments, now["uid"])[chosen]
        (template["metadata"].get("labels") or {}).pop(HASH_LABEL, None)
        # The template is replaced as a whole: a merge would leave what the bad revision added.
        body = [{"op": "replace", "path": "/spec/template", "value": template}]
        with open_cluster(arguments) as cluster:
            cluster.apps.patch_namespaced_deployment(
                arguments.deployment, arguments.namespace, body, _request_timeout=ASK_SECONDS
            )
        return ActionResult(ok=True, output={"value": chosen, "from_revision": now["revision"]})


class UncordonNode(OneWay, ClusterAction):
    """Lets a node take pods again."""

    name: ClassVar[str] = "kubernetes.uncordon"
    description: ClassVar[str] = "Let a node take new pods again."
    arguments: ClassVar[type[Arguments]] = NodeArguments
    risk: ClassVar[Risk] = Risk.CHANGE
    idempotency: ClassVar[Idempotency] = Idempotency.NATURAL
    kind: ClassVar[str] = "node"
    says: ClassVar[str] = "Uncordon"

    def find(self, arguments: NodeArguments) -> list[dict[str, Any]]:
        return find_node(arguments)

    def run(self, arguments: NodeArguments, *, idempotency_key: str) -> ActionResult:  # noqa: ARG002
        with open_cluster(arguments) as cluster:
            cluster.core.patch_node(arguments.node, {"spec": {"unschedulable": False}}, _request_timeout=ASK_SECONDS)
        return ActionResult(ok=True, output={"value": "schedulable"})


ROLLOUT_ACTIONS = (RolloutStatus(), UndoRollout(), UncordonNode())
