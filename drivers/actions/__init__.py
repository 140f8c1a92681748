"""The actions that come with the site, one module for each kind of target."""

from drivers.actions.gpu import GPU_ACTIONS
from drivers.actions.haproxy import HAPROXY_ACTIONS
from drivers.actions.haproxy_shares import SHARE_ACTIONS
from drivers.actions.http import HTTP_ACTIONS
from drivers.actions.kubernetes import KUBERNETES_ACTIONS
from drivers.actions.kubernetes_rollouts import ROLLOUT_ACTIONS
from drivers.actions.latency import LATENCY_ACTIONS
from drivers.actions.network import NETWORK_ACTIONS
from drivers.actions.postgresql import POSTGRESQL_ACTIONS
from drivers.actions.pressure import PRESSURE_ACTIONS
from drivers.actions.processes import PROCESS_ACTIONS
from drivers.actions.proxy import PROXY_ACTIONS
from drivers.actions.site import SITE_ACTIONS
from drivers.actions.trainers import TRAINER_ACTIONS
from drivers.services.registry import register_action

for _action in (
    *PROCESS_ACTIONS,
    *PRESSURE_ACTIONS,
    *GPU_ACTIONS,
    *HTTP_ACTIONS,
    *PROXY_ACTIONS,
    *NETWORK_ACTIONS,
    *LATENCY_ACTIONS,
    *HAPROXY_ACTIONS,
    *SHARE_ACTIONS,
    *POSTGRESQL_ACTIONS,
    *KUBERNETES_ACTIONS,
    *ROLLOUT_ACTIONS,
    *SITE_ACTIONS,
    *TRAINER_ACTIONS,
):
    register_action(_action)
