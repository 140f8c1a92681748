"""Typed actions as functions that the Chaos Toolkit can call, for experiments that were exported from here.

The toolkit imports this module in a process of its own, so it makes Django ready by itself. What undo needs is kept
in this process; the watchdog holds it too.
"""

import os
from datetime import timedelta
from typing import Any

import django
from django.apps import apps

_injected: dict[str, dict[str, Any]] = {}


def inject(action: str, arguments: dict[str, Any], ttl_seconds: float, key: str) -> dict[str, Any]:
    """Action: inject a fault that ends after its time to live. Raises RuntimeError when it cannot."""
    services = _services()
    ttl = timedelta(seconds=ttl_seconds)
    foreseen = services.foresee_action(action, arguments, idempotency_key=key, ttl=ttl)
    _injected[key] = foreseen
    watchdog = services.start_watchdog(ttl=ttl, action=action, arguments=arguments, output=foreseen)
    _injected[key] = {**foreseen, "watchdog": watchdog}
    result = services.inject_action(action, arguments, foreseen, idempotency_key=key)
    if not result.ok:
        raise RuntimeError(result.error)
    _injected[key] = {**_injected[key], **result.output}
    return dict(result.output)


def undo(action: str, arguments: dict[str, Any], key: str) -> dict[str, Any]:
    """Rollback: take a fault back. Raises RuntimeError when it stays."""
    output = _injected.get(key)
    if output is None:
        return {"outcome": "never injected"}
    services = _services()
    result = services.undo_action(action, arguments, output)
    if not result.ok or services.action_is_active(action, arguments, output) is not False:
        raise RuntimeError(result.error or f"{action} is still active")
    services.cancel_watchdog(output["watchdog"])
    return dict(result.output)


def check(action: str, arguments: dict[str, Any]) -> bool:
    """Probe: say whether an action that only looks answers well."""
    return bool(_services().run_action(action, arguments, idempotency_key="probe").ok)


def _services() -> Any:
    if not apps.ready:
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
        django.setup()
    from drivers import services  # noqa: PLC0415 it needs Django, which is ready only now

    return services
