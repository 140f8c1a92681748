"""Kubernetes, through its official client: delete pods, scale, cordon, drain, isolate, restart.

The client takes the cluster from a kubeconfig file (`KUBECONFIG`, or `~/.kube/config`) by the name of a context, or
from the pod that the site runs in. It is imported when it is first needed: it is large.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from pydantic import Field

from drivers.data import ActionResult, Arguments, Plan, Risk, Support, Target
from drivers.services.faults import OneWay, ReversibleFault, fault_name

ASK_SECONDS = 10
NAME = r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"
SELECTOR = r"^[A-Za-z0-9_.,=!()/ -]{1,400}$"
SYSTEM_NAMESPACES = frozenset({"kube-system", "kube-public", "kube-node-lease"})
RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"


class ClusterError(RuntimeError):
    """The cluster does not answer, or it refused."""

    def __init__(self, message: str, *, gone: bool = False) -> None:
        self.gone = gone
        super().__init__(message)


class ClusterArguments(Arguments):
    """Which cluster: a context of the kubeconfig, or empty for the current one."""

    context: str = Field(default="", max_length=200)


class NamespaceArguments(ClusterArguments):
    """Which namespace; never one of the cluster's own."""

    namespace: str = Field(pattern=NAME, max_length=63)


class PodArguments(NamespaceArguments):
    """Which pods, by labels, and how many of them in the order of their names."""

    selector: str = Field(pattern=SELECTOR)
    count: int | None = Field(default=None, ge=1, le=50)


class DeploymentArguments(NamespaceArguments):
    """Which deployment."""

    deployment: str = Field(pattern=NAME)


class ScaleArguments(DeploymentArguments):
    """To how many replicas."""

    replicas: int = Field(ge=0, le=1000)


class IsolateArguments(NamespaceArguments):
    """Which pods, by labels of equality (`app=shop,tier=web`)."""

    selector: str = Field(pattern=r"^[A-Za-z0-9_./-]+=[A-Za-z0-9_.-]+(,[A-Za-z0-9_./-]+=[A-Za-z0-9_.-]+){0,9}$")


class NodeArguments(ClusterArguments):
    """Which node."""

    node: str = Field(pattern=NAME)


class _Cluster:
    """The parts of the client that the actions use."""

    def __init__(self, api: Any, library: Any) -> None:
        self.core = library.CoreV1Api(api)
        self.apps = library.AppsV1Api(api)
        self.network = library.NetworkingV1Api(api)
        # An object of the client as the API writes it.
        self.plain: Callable[[Any], Any] = api.sanitize_for_serialization


@contextmanager
def open_cluster(arguments: ClusterArguments) -> Iterator[_Cluster]:
    """Give the cluster's client; every error of it becomes a ClusterError in words."""
    from kubernetes import client, config  # noqa: PLC0415 a large library that most processes never need
    from kubernetes.client.exceptions import ApiException  # noqa: PLC0415 as above
    from urllib3.exceptions import HTTPError  # noqa: PLC0415 what the client raises when nobody answers

    try:
        configuration = client.Configuration()
        try:
            load = config.load_kube_config
            load(context=arguments.context or None, client_configuration=configuration)  # type: ignore[no-untyped-call]
        except config.ConfigException:
            if arguments.context:
                raise
            config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        configuration.retries = 0
        with client.ApiClient(configuration) as api:
            yield _Cluster(api, client)
    except config.ConfigException as error:
        raise ClusterError(f"no cluster is set up: {error}") from None
    except ApiException as error:
        raise ClusterError(f"the cluster refused: {error.status} {error.reason}", gone=error.status == 404) from None
    except HTTPError as error:
        raise ClusterError(f"the cluster does not answer: {error}") from None


class ClusterAction:
    """A base for actions on a cluster: they find what is meant, and plan from it."""

    risk: ClassVar[Risk] = Risk.DESTRUCTIVE
    kind: ClassVar[str]
    says: ClassVar[str]
    undone_by: ClassVar[str] = ""

    def probe(self, arguments: Any) -> Support:
        if getattr(arguments, "namespace", "") in SYSTEM_NAMESPACES:
            return Support(supported=False, reason=f"{arguments.namespace} belongs to the cluster itself")
        try:
            self.find(arguments)
        except ClusterError as error:
            return Support(supported=False, reason=str(error))
        return Support(supported=True)

    def find(self, arguments: Any) -> list[dict[str, Any]]:
        """Return everything that is meant, with name and uid. Raises ClusterError."""
        raise NotImplementedError

    def plan(self, arguments: Any) -> Plan:
        try:
            found = self.find(arguments)
        except ClusterError as error:
            return Plan(summary=f"nothing: {error}")
        targets = tuple(
            Target(self.kind, "/".join(filter(None, (getattr(arguments, "namespace", ""), one["name"]))), one)
            for one in found[: getattr(arguments, "count", None)]
        )
        return Plan(
            summary=f"{self.says.format(**arguments.model_dump())}: {', '.join(one.name for one in targets) or 'none'}",
            targets=targets,
            undo=self.undone_by,
            matched=len(found),
        )


def _pods(arguments: Any, selector: str) -> list[dict[str, Any]]:
    with open_cluster(arguments) as cluster:
        listed = cluster.core.list_namespaced_pod(
            arguments.namespace, label_selector=selector, _request_timeout=ASK_SECONDS
        )
    living = [one for one in listed.items if one.metadata.deletion_timestamp is None]
    return sorted(
        ({"name": one.metadata.name, "uid": one.metadata.uid} for one in living), key=lambda one: str(one["name"])
    )


def _deployment(arguments: DeploymentArguments) -> list[dict[str, Any]]:
    with open_cluster(arguments) as cluster:
        found = cluster.apps.read_namespaced_deployment(
            arguments.deployment, arguments.namespace, _request_timeout=ASK_SECONDS
        )
    return [{"name": found.metadata.name, "uid": found.metadata.uid, "replicas": found.spec.replicas}]


def find_node(arguments: NodeArguments) -> list[dict[str, Any]]:
    """Return the node, with name and uid. Raises ClusterError."""
    with open_cluster(arguments) as cluster:
        found = cluster.core.read_node(arguments.node, _request_timeout=ASK_SECONDS)
    return [{"name": found.metadata.name, "uid": found.metadata.uid, "unschedulable": bool(found.spec.unschedulable)}]


class DeletePods(OneWay, ClusterAction):
    """Deletes pods."""

    name: ClassVar[str] = "kubernetes.delete_pods"
    description: ClassVar[str] = "Delete pods by their labels; what owns them makes new ones."
    arguments: ClassVar[type[Arguments]] = PodArguments
    kind: ClassVar[str] = "pod"
    says: ClassVar[str] = "Delete pods with {selector}"

    def find(self, arguments: PodArguments) -> list[dict[str, Any]]:
        return _pods(arguments, arguments.selector)

    def run(self, arguments: PodArguments, *, idempotency_key: str) -> ActionResult:  # noqa: ARG002
        deleted = []
        for pod in self.find(arguments)[: arguments.count]:
            try:
                with open_cluster(arguments) as cluster:
                    # The uid makes sure that a successor of the same name is left alone.
                    cluster.core.delete_namespaced_pod(
                        pod["name"],
                        arguments.namespace,
                        body={"preconditions": {"uid": pod["uid"]}},
                        _request_timeout=ASK_SECONDS,
                    )
                deleted.append(pod["name"])
            except ClusterError as error:
                if not error.gone:
                    raise
        return ActionResult(ok=bool(deleted), output={"deleted": deleted}, error="" if deleted else "no pod matches")


class RestartDeployment(OneWay, ClusterAction):
    """Restarts a deployment."""

    name: ClassVar[str] = "kubernetes.rollout_restart"
    description: ClassVar[str] = "Restart a deployment's pods one after the other, as `kubectl rollout restart` does."
    arguments: ClassVar[type[Arguments]] = DeploymentArguments
    risk: ClassVar[Risk] = Risk.CHANGE
    kind: ClassVar[str] = "deployment"
    says: ClassVar[str] = "Restart"

    def find(self, arguments: DeploymentArguments) -> list[dict[str, Any]]:
        return _deployment(arguments)

    def run(self, arguments: DeploymentArguments, *, idempotency_key: str) -> ActionResult:  # noqa: ARG002
        stamp = {RESTARTED_AT: datetime.now(UTC).isoformat(timespec="seconds")}
        body = {"spec": {"template": {"metadata": {"annotations": stamp}}}}
        with open_cluster(arguments) as cluster:
            cluster.apps.patch_namespaced_deployment(
                arguments.deployment, arguments.namespace, body, _request_timeout=ASK_SECONDS
            )
        return ActionResult(ok=True, output=stamp)


class DrainNode(OneWay, ClusterAction):
    """Drains a node."""

    name: ClassVar[str] = "kubernetes.drain"
    description: ClassVar[str] = "Cordon a node and evict its pods; disruption budgets are kept."
    arguments: ClassVar[type[Arguments]] = NodeArguments
    kind: ClassVar[str] = "node"
    says: ClassVar[str] = "Drain"

    def find(self, arguments: NodeArguments) -> list[dict[str, Any]]:
        return find_node(arguments)

    def run(self, arguments: NodeArguments, *, idempotency_key: str) -> ActionResult:  # noqa: ARG002
        evicted, kept = [], []
        with open_cluster(arguments) as cluster:
            cluster.core.patch_node(arguments.node, {"spec": {"unschedulable": True}}, _request_timeout=ASK_SECONDS)
            listed = cluster.core.list_pod_for_all_namespaces(
                field_selector=f"spec.nodeName={arguments.node}", _request_timeout=ASK_SECONDS
            )
        for pod in listed.items:
            owners = {owner.kind for owner in pod.metadata.owner_references or []}
            if "DaemonSet" in owners or pod.metadata.namespace in SYSTEM_NAMESPACES:
                continue
            name = {"name": pod.metadata.name, "namespace": pod.metadata.namespace}
            try:
                with open_cluster(arguments) as cluster:
                    cluster.core.create_namespaced_pod_eviction(
                        **name, body={"metadata": name}, _request_timeout=ASK_SECONDS
                    )
                evicted.append(pod.metadata.name)
            except ClusterError as error:
                kept.append(f"{pod.metadata.name}: {error}")
        return ActionResult(ok=not kept, output={"evicted": evicted}, error="; ".join(kept)[:1000])


class _ReversibleClusterFault(ClusterAction, ReversibleFault):
    def foresee(
        self,
        arguments: Any,
        *,
        idempotency_key: str,
        ttl: timedelta,  # noqa: ARG002 the watchdog keeps the time
    ) -> dict[str, Any]:
        found = self.find(arguments)
        return {"fault": fault_name(idempotency_key), "before": found}


class ScaleDeployment(_ReversibleClusterFault):
    """Scales a deployment."""

    name: ClassVar[str] = "kubernetes.scale"
    description: ClassVar[str] = "Scale a deployment to fewer replicas, or to none."
    arguments: ClassVar[type[Arguments]] = ScaleArguments
    kind: ClassVar[str] = "deployment"
    says: ClassVar[str] = "Scale to {replicas}"
    undone_by: ClassVar[str] = "the number of replicas before"
    proof: ClassVar[str] = "the deployment's own number of replicas"

    def find(self, arguments: ScaleArguments) -> list[dict[str, Any]]:
        return _deployment(arguments)

    def inject(self, arguments: ScaleArguments, foreseen: dict[str, Any]) -> ActionResult:
        self._set(arguments, arguments.replicas)
        return ActionResult(ok=True, output=foreseen)

    def undo(self, arguments: ScaleArguments, output: dict[str, Any]) -> ActionResult:
        (before,) = output["before"]
        try:
            (now,) = self.find(arguments)
        except ClusterError as error:
            if not error.gone:
                raise
            return ActionResult(ok=True, output={"outcome": {before["name"]: "already gone"}})
        if now["uid"] != before["uid"] or now["replicas"] != arguments.replicas:
            return ActionResult(
                ok=True, output={"outcome": {before["name"]: "changed by somebody else; left as it is"}}
            )
        self._set(arguments, before["replicas"])
        return ActionResult(ok=True, output={"outcome": {before["name"]: f"{before['replicas']} replicas again"}})

    def is_active(self, arguments: ScaleArguments, output: dict[str, Any]) -> bool:
        (before,) = output["before"]
        try:
            (now,) = self.find(arguments)
        except ClusterError as error:
            if error.gone:
                return False
            raise
        return bool(
            now["uid"] == before["uid"]
            and now["replicas"] == arguments.replicas
            and arguments.replicas != before["replicas"]
        )

    @staticmethod
    def _set(arguments: ScaleArguments, replicas: int) -> None:
        with open_cluster(arguments) as cluster:
            cluster.apps.patch_namespaced_deployment_scale(
                arguments.deployment,
                arguments.namespace,
                {"spec": {"replicas": replicas}},
                _request_timeout=ASK_SECONDS,
            )


class CordonNode(_ReversibleClusterFault):
    """Cordons a node."""

    name: ClassVar[str] = "kubernetes.cordon"
    description: ClassVar[str] = "Let a node take no new pods."
    arguments: ClassVar[type[Arguments]] = NodeArguments
    kind: ClassVar[str] = "node"
    says: ClassVar[str] = "Cordon"
    undone_by: ClassVar[str] = "let it take pods again"
    proof: ClassVar[str] = "the node's own `unschedulable`"

    def find(self, arguments: NodeArguments) -> list[dict[str, Any]]:
        return find_node(arguments)

    def inject(self, arguments: NodeArguments, foreseen: dict[str, Any]) -> ActionResult:
        self._set(arguments, unschedulable=True)
        return ActionResult(ok=True, output=foreseen)

    def undo(self, arguments: NodeArguments, output: dict[str, Any]) -> ActionResult:
        if self.is_active(arguments, output):
            self._set(arguments, unschedulable=False)
        return ActionResult(ok=True, output={"outcome": {arguments.node: "as before"}})

    def is_active(self, arguments: NodeArguments, output: dict[str, Any]) -> bool:
        (before,) = output["before"]
        try:
            (now,) = self.find(arguments)
        except ClusterError as error:
            if error.gone:
                return False
            raise
        return bool(now["uid"] == before["uid"] and now["unschedulable"] and not before["unschedulable"])

    @staticmethod
    def _set(arguments: NodeArguments, *, unschedulable: bool) -> None:
        with open_cluster(arguments) as cluster:
            cluster.core.patch_node(
                arguments.node, {"spec": {"unschedulable": unschedulable}}, _request_timeout=ASK_SECONDS
            )


class IsolatePods(_ReversibleClusterFault):
    """Cuts pods off."""

    name: ClassVar[str] = "kubernetes.isolate"
    description: ClassVar[str] = "Cut pods off by a network policy that allows nothing in or out."
    arguments: ClassVar[type[Arguments]] = IsolateArguments
    kind: ClassVar[str] = "pod"
    says: ClassVar[str] = "Cut off pods with {selector}"
    undone_by: ClassVar[str] = "delete the network policy"
    proof: ClassVar[str] = "the network policy is there"

    def find(self, arguments: IsolateArguments) -> list[dict[str, Any]]:
        return _pods(arguments, arguments.selector)

    def inject(self, arguments: IsolateArguments, foreseen: dict[str, Any]) -> ActionResult:
        labels = dict(pair.split("=", 1) for pair in arguments.selector.split(","))
        body = {
            "metadata": {"name": self._policy(foreseen), "labels": {"app.kubernetes.io/managed-by": "assay"}},
            "spec": {"podSelector": {"matchLabels": labels}, "policyTypes": ["Ingress", "Egress"]},
        }
        with open_cluster(arguments) as cluster:
            cluster.network.create_namespaced_network_policy(arguments.namespace, body, _request_timeout=ASK_SECONDS)
        return ActionResult(ok=True, output=foreseen)

    def undo(self, arguments: IsolateArguments, output: dict[str, Any]) -> ActionResult:
        outcome = "policy deleted"
        try:
            with open_cluster(arguments) as cluster:
                cluster.network.delete_namespaced_network_policy(
                    self._policy(output), arguments.namespace, _request_timeout=ASK_SECONDS
                )
        except ClusterError as error:
            if not error.gone:
                raise
            outcome = "was over already"
        return ActionResult(ok=True, output={"outcome": {arguments.namespace: outcome}})

    def is_active(self, arguments: IsolateArguments, output: dict[str, Any]) -> bool:
        try:
            with open_cluster(arguments) as cluster:
                cluster.network.read_namespaced_network_policy(
                    self._policy(output), arguments.namespace, _request_timeout=ASK_SECONDS
                )
        except ClusterError as error:
            if error.gone:
                return False
            raise
        return True

    @staticmethod
    def _policy(output: dict[str, Any]) -> str:
        return str(output["fault"]).replace("_", "-")


KUBERNETES_ACTIONS = (
    DeletePods(),
    RestartDeployment(),
    DrainNode(),
    ScaleDeployment(),
    CordonNode(),
    IsolatePods(),
)
