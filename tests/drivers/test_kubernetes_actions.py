"""Kubernetes actions through the official client, against a server that speaks the API."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from drivers.services import (
    action_is_active,
    foresee_action,
    inject_action,
    plan_action,
    probe_action,
    run_action,
    undo_action,
)
from tests.drivers.fake_kubernetes import FakeCluster

pytestmark = pytest.mark.integration
SHOP = {"namespace": "shop"}


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCluster]:
    one = FakeCluster()
    path = tmp_path / "kubeconfig"
    path.write_text(one.kubeconfig())
    monkeypatch.setenv("KUBECONFIG", str(path))
    # The library reads the variable when it is imported first.
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(path))
    for number in (1, 2, 3):
        one.add(
            "pods",
            f"web-{number}",
            "shop",
            metadata={"labels": {"app": "web"}},
            spec={"nodeName": "n1", "containers": [{"name": "c"}]},
        )
    one.add("pods", "other", "shop", metadata={"labels": {"app": "other"}}, spec={"containers": [{"name": "c"}]})
    template = {"metadata": {"annotations": {}}, "spec": {"containers": [{"name": "c"}]}}
    selector = {"matchLabels": {"app": "web"}}
    one.add("deployments", "web", "shop", spec={"replicas": 3, "template": template, "selector": selector})
    one.add("nodes", "n1", spec={})
    yield one
    one.close()


def inject(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    foreseen = foresee_action(name, arguments, idempotency_key="k", ttl=timedelta(seconds=60))
    result = inject_action(name, arguments, foreseen, idempotency_key="k")
    assert result.ok, result.error
    assert action_is_active(name, arguments, foreseen)
    return foreseen


def names(cluster: FakeCluster, kind: str) -> set[str]:
    return {name for its, _, name in cluster.objects if its == kind}


def test_pods_are_deleted_by_label_count_and_uid(cluster: FakeCluster) -> None:
    arguments = {**SHOP, "selector": "app=web", "count": 2}
    plan = plan_action("kubernetes.delete_pods", arguments)
    assert ([one.name for one in plan.targets], plan.matched) == (["shop/web-1", "shop/web-2"], 3)
    assert names(cluster, "pods") == {"web-1", "web-2", "web-3", "other"}
    assert run_action("kubernetes.delete_pods", arguments, idempotency_key="k").output["deleted"] == ["web-1", "web-2"]
    assert names(cluster, "pods") == {"web-3", "other"}
    assert not run_action("kubernetes.delete_pods", {**arguments, "selector": "app=none"}, idempotency_key="k").ok


def test_a_deployment_is_scaled_and_scaled_back(cluster: FakeCluster) -> None:
    arguments = {**SHOP, "deployment": "web", "replicas": 1}
    output = inject("kubernetes.scale", arguments)
    spec = cluster.objects["deployments", "shop", "web"]["spec"]
    assert spec["replicas"] == 1
    for _ in range(2):
        assert undo_action("kubernetes.scale", arguments, output).ok
    assert spec["replicas"] == 3
    assert action_is_active("kubernetes.scale", arguments, output) is False


def test_what_somebody_else_scaled_meanwhile_is_left_as_it_is(cluster: FakeCluster) -> None:
    arguments = {**SHOP, "deployment": "web", "replicas": 1}
    output = inject("kubernetes.scale", arguments)
    spec = cluster.objects["deployments", "shop", "web"]["spec"]
    spec["replicas"] = 7
    assert "somebody else" in undo_action("kubernetes.scale", arguments, output).output["outcome"]["web"]
    assert spec["replicas"] == 7
    cluster.objects.clear()
    assert action_is_active("kubernetes.scale", arguments, output) is False
    assert undo_action("kubernetes.scale", arguments, output).output["outcome"]["web"] == "already gone"


def test_a_node_is_cordoned_and_takes_pods_again_unless_it_took_none_before(cluster: FakeCluster) -> None:
    arguments = {"node": "n1"}
    output = inject("kubernetes.cordon", arguments)
    spec = cluster.objects["nodes", "", "n1"]["spec"]
    assert spec == {"unschedulable": True}
    assert undo_action("kubernetes.cordon", arguments, output).ok
    assert spec == {"unschedulable": False}
    spec["unschedulable"] = True
    was = foresee_action("kubernetes.cordon", arguments, idempotency_key="k", ttl=timedelta(seconds=60))
    assert undo_action("kubernetes.cordon", arguments, was).ok
    assert spec == {"unschedulable": True}


def test_a_drain_evicts_and_names_what_a_disruption_budget_kept(cluster: FakeCluster) -> None:
    cluster.protected.add("web-2")
    result = run_action("kubernetes.drain", {"node": "n1"}, idempotency_key="k")
    assert not result.ok
    assert result.output["evicted"] == ["web-1", "web-3"]
    assert "web-2: the cluster refused: 429" in result.error
    assert names(cluster, "pods") == {"web-2", "other"}


def test_pods_are_cut_off_by_a_policy_that_is_deleted_again(cluster: FakeCluster) -> None:
    arguments = {**SHOP, "selector": "app=web"}
    output = inject("kubernetes.isolate", arguments)
    (policy,) = [one for (kind, _, _), one in cluster.objects.items() if kind == "networkpolicies"]
    assert policy["spec"]["podSelector"] == {"matchLabels": {"app": "web"}}
    assert set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"}
    for _ in range(2):
        assert undo_action("kubernetes.isolate", arguments, output).ok
    assert action_is_active("kubernetes.isolate", arguments, output) is False


def test_a_restart_annotates_the_template(cluster: FakeCluster) -> None:
    assert run_action("kubernetes.rollout_restart", {**SHOP, "deployment": "web"}, idempotency_key="k").ok
    template = cluster.objects["deployments", "shop", "web"]["spec"]["template"]
    assert "kubectl.kubernetes.io/restartedAt" in template["metadata"]["annotations"]


def test_the_clusters_own_namespaces_are_refused(cluster: FakeCluster) -> None:
    arguments = {"namespace": "kube-system", "selector": "app=dns"}
    assert "cluster itself" in probe_action("kubernetes.delete_pods", arguments).reason
    assert not run_action("kubernetes.delete_pods", arguments, idempotency_key="k").ok
    assert not cluster.calls


def test_a_cluster_that_does_not_answer_is_said_and_nothing_is_known(cluster: FakeCluster) -> None:
    arguments = {**SHOP, "deployment": "web", "replicas": 1}
    output = inject("kubernetes.scale", arguments)
    cluster.close()
    assert "does not answer" in probe_action("kubernetes.scale", arguments).reason
    assert action_is_active("kubernetes.scale", arguments, output) is None
    assert not undo_action("kubernetes.scale", arguments, output).ok


def test_a_context_that_is_not_there_is_said(cluster: FakeCluster) -> None:
    support = probe_action("kubernetes.cordon", {"node": "n1", "context": "elsewhere"})
    assert "no cluster is set up" in support.reason
