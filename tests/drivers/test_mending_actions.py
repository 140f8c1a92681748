"""Actions that put things back: rollouts, nodes, servers behind a proxy, and a look at replication."""

from typing import Any

import pytest

from drivers.services import plan_action, probe_action, run_action
from tests.drivers.fake_kubernetes import FakeCluster
from tests.drivers.test_kubernetes_actions import SHOP, cluster
from tests.drivers.test_postgresql_actions import Server, pair

__all__ = ["cluster", "pair"]
pytestmark = pytest.mark.integration
WEB = {**SHOP, "deployment": "web"}
REVISION = "deployment.kubernetes.io/revision"


def template(image: str, **more: Any) -> dict[str, Any]:
    labels = {"app": "web", "pod-template-hash": image}
    return {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": image, **more}]}}


def give_revisions(cluster: FakeCluster) -> dict[str, Any]:
    """Make the deployment the third revision of its own, with the two before it kept as replica sets."""
    web = cluster.objects["deployments", "shop", "web"]
    web["metadata"] |= {"annotations": {REVISION: "3"}, "generation": 5}
    web["spec"]["template"] = template("bad", env=[{"name": "BROKEN", "value": "1"}])
    for number, image in ((1, "old"), (2, "good"), (3, "bad")):
        owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": web["metadata"]["uid"]}
        cluster.add(
            "replicasets",
            f"web-{number}",
            "shop",
            metadata={"annotations": {REVISION: str(number)}, "ownerReferences": [owner]},
            spec={"template": template(image), "selector": {"matchLabels": {"app": "web"}}},
        )
    return web


def test_a_rollout_goes_back_to_the_revision_before_as_a_whole(cluster: FakeCluster) -> None:
    web = give_revisions(cluster)
    assert "web" in plan_action("kubernetes.rollout_undo", WEB).summary
    result = run_action("kubernetes.rollout_undo", WEB, idempotency_key="k")
    assert (result.ok, result.output) == (True, {"value": 2, "from_revision": 3})
    (container,) = web["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "good"
    assert "env" not in container, "nothing of the bad revision is left"
    assert web["spec"]["template"]["metadata"]["labels"] == {"app": "web"}


def test_a_rollout_goes_back_to_the_revision_that_is_named_or_says_which_are_kept(cluster: FakeCluster) -> None:
    web = give_revisions(cluster)
    assert run_action("kubernetes.rollout_undo", {**WEB, "to_revision": 1}, idempotency_key="k").ok
    assert web["spec"]["template"]["spec"]["containers"][0]["image"] == "old"
    assert "kept are 1, 2, 3" in probe_action("kubernetes.rollout_undo", {**WEB, "to_revision": 9}).reason


def test_a_rollout_is_done_when_every_replica_is_updated_and_available(cluster: FakeCluster) -> None:
    web = give_revisions(cluster)
    web["status"] = {"observedGeneration": 5, "updatedReplicas": 3, "availableReplicas": 2, "replicas": 3}
    result = run_action("kubernetes.rollout_status", WEB, idempotency_key="k")
    assert (result.ok, result.output["value"]) == (False, 2)
    assert "2 available" in result.error
    web["status"]["availableReplicas"] = 3
    assert run_action("kubernetes.rollout_status", WEB, idempotency_key="k").ok
    web["status"]["observedGeneration"] = 4
    assert not run_action("kubernetes.rollout_status", WEB, idempotency_key="k").ok


def test_a_node_takes_pods_again(cluster: FakeCluster) -> None:
    node = cluster.objects["nodes", "", "n1"]
    node["spec"]["unschedulable"] = True
    for _ in range(2):
        assert run_action("kubernetes.uncordon", {"node": "n1"}, idempotency_key="k").ok
    assert node["spec"]["unschedulable"] is False


def test_replication_lag_is_seen_from_both_sides(pair: tuple[Server, Server]) -> None:
    primary, standby = pair
    for server, role in ((primary, "primary"), (standby, "standby")):
        result = run_action("postgresql.lag", {"dsn": server.dsn}, idempotency_key="k")
        assert result.ok, result.error
        assert result.output["role"] == role
        assert result.output["value"] >= 0
