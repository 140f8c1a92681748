"""Chaos Toolkit experiments as data: walked against an allow-list before anything imports what they name.

The toolkit imports every module that an experiment names when it merely validates it, so a document from elsewhere is
never handed to it. It is translated to typed faults instead, or refused with the place of everything that cannot be.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Path = tuple[str | int, ...]
TOP_LEVEL = frozenset(
    {
        *("version", "title", "description", "tags", "contributions", "extensions", "runtime"),
        *("configuration", "secrets", "controls", "steady-state-hypothesis", "method", "rollbacks"),
    }
)
ACTIVITY = frozenset({"type", "name", "provider", "pauses", "controls", "tolerance", "background"})
PAUSES = frozenset({"before", "after"})
HYPOTHESIS = frozenset({"title", "probes", "controls"})
OURS = "drivers.toolkit"


@dataclass
class Translated:
    """What came of a document: typed faults and probes, the pauses in seconds, and what is not allowed in it."""

    title: str = ""
    description: str = ""
    faults: list[dict[str, Any]] = field(default_factory=list)
    probes: list[dict[str, Any]] = field(default_factory=list)
    hold_seconds: float = 0.0
    own_spec: dict[str, Any] = field(default_factory=dict)
    problems: list[tuple[Path, object, str]] = field(default_factory=list)

    def refuse(self, path: Path, found: object, allowed: str) -> None:
        """Note that something is not allowed."""
        self.problems.append((path, found, allowed))


def _terminate_pods(given: Mapping[str, Any]) -> dict[str, Any]:
    arguments = {"namespace": given.get("ns", "default"), "selector": given["label_selector"]}
    count = given.get("qty", 1) if given.get("mode", "fixed") == "fixed" else None
    return {"action": "kubernetes.delete_pods", "arguments": {**arguments, "count": count}, "one_way": True}


def _scale(given: Mapping[str, Any]) -> dict[str, Any]:
    arguments = {"namespace": given.get("ns", "default"), "deployment": given["name"], "replicas": given["replicas"]}
    return {"action": "kubernetes.scale", "arguments": arguments}


def _restart(given: Mapping[str, Any]) -> dict[str, Any]:
    arguments = {"namespace": given.get("ns", "default"), "deployment": given["name"]}
    return {"action": "kubernetes.rollout_restart", "arguments": arguments, "one_way": True}


def _cordon(given: Mapping[str, Any]) -> dict[str, Any]:
    return {"action": "kubernetes.cordon", "arguments": {"node": given["name"]}}


def _ours(given: Mapping[str, Any]) -> dict[str, Any]:
    seconds = given["ttl_seconds"]
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError("ttl_seconds is a number")
    return {"action": given["action"], "arguments": given["arguments"], "ttl": f"{int(seconds)}s"}


# Functions by what they become, with the arguments that are understood. Nothing is imported: these are only names.
FAULTS: Mapping[tuple[str, str], tuple[frozenset[str], Callable[[Mapping[str, Any]], dict[str, Any]]]] = {
    (OURS, "inject"): (frozenset({"action", "arguments", "ttl_seconds", "key"}), _ours),
    ("chaosk8s.pod.actions", "terminate_pods"): (frozenset({"label_selector", "ns", "qty", "mode"}), _terminate_pods),
    ("chaosk8s.deployment.actions", "scale_deployment"): (frozenset({"name", "replicas", "ns"}), _scale),
    ("chaosk8s.deployment.actions", "rollout_deployment"): (frozenset({"name", "ns"}), _restart),
    ("chaosk8s.node.actions", "cordon_node"): (frozenset({"name"}), _cordon),
}
# A typed fault brings its own undo, so these rollbacks are understood and left out.
ROLLBACKS = frozenset(
    {
        (OURS, "undo"),
        ("chaosk8s.deployment.actions", "scale_deployment"),
        ("chaosk8s.node.actions", "uncordon_node"),
    }
)


def translate(document: Mapping[str, Any]) -> Translated:
    """Translate a document. Nothing is imported, resolved, read or run; `problems` holds all that is refused."""
    found = Translated(title=_text(document, "title"), description=_text(document, "description"))
    for key in document:
        if key not in TOP_LEVEL:
            found.refuse((key,), key, "this key of the toolkit is not known here")
    _no_controls(found, document, ())
    _no_substitution(found, document, ())
    for name in _mapping(found, document, "secrets"):
        found.refuse(("secrets", name), name, "an experiment holds no secrets and reads none")
    for name, value in _mapping(found, document, "configuration").items():
        if isinstance(value, dict | list):
            found.refuse(("configuration", name), value, "a plain value is allowed; nothing is read or asked for it")
    _hypothesis(found, _mapping(found, document, "steady-state-hypothesis"))
    for position, activity in enumerate(_list(found, document, "method")):
        _method(found, activity, ("method", position))
    for position, activity in enumerate(_list(found, document, "rollbacks")):
        _rollback(found, activity, ("rollbacks", position))
    for position, extension in enumerate(_list(found, document, "extensions")):
        if isinstance(extension, dict) and extension.get("name") == "assay" and isinstance(extension.get("spec"), dict):
            found.own_spec = extension["spec"]
        else:
            found.refuse(("extensions", position), extension, "only the extension of an export from here is allowed")
    if not found.faults and not found.problems:
        found.refuse(("method",), "no action", "at least one action that becomes a typed fault")
    return found


def _hypothesis(found: Translated, hypothesis: Mapping[str, Any]) -> None:
    where: Path = ("steady-state-hypothesis",)
    for key in set(hypothesis) - HYPOTHESIS:
        found.refuse((*where, key), key, "title and probes are allowed")
    probes = hypothesis.get("probes", [])
    for position, probe in enumerate(probes if isinstance(probes, list) else [probes]):
        path = (*where, "probes", position)
        if _activity_is_plain(found, probe, path, kind="probe"):
            _probe(found, probe, path)


def _probe(found: Translated, probe: Mapping[str, Any], path: Path) -> None:
    provider, tolerance = probe["provider"], probe.get("tolerance")
    if provider.get("type") == "http":
        if isinstance(tolerance, bool) or not isinstance(tolerance, int):
            found.refuse((*path, "tolerance"), tolerance, "a status as a number; other tolerances run code")
            return
        for key in set(provider) - {"type", "url", "method", "timeout"}:
            found.refuse((*path, "provider", key), key, "url, method GET and timeout are allowed")
        if provider.get("method", "GET") != "GET":
            found.refuse((*path, "provider", "method"), provider["method"], "GET is allowed")
        arguments = {"url": provider.get("url"), "expect_status": tolerance}
        if "timeout" in provider:
            arguments["timeout_seconds"] = provider["timeout"]
        found.probes.append({"action": "http.check", "arguments": arguments})
        return
    if tolerance is not True:
        found.refuse((*path, "tolerance"), tolerance, "true is allowed; other tolerances run code")
        return
    if (provider.get("module"), provider.get("func")) != (OURS, "check"):
        _refuse_provider(found, provider, path, "an http probe, or one of an export from here")
        return
    given = provider.get("arguments")
    if not isinstance(given, dict) or set(given) != {"action", "arguments"}:
        found.refuse((*path, "provider", "arguments"), given, "action and arguments")
        return
    found.probes.append(dict(given))


def _method(found: Translated, activity: Any, path: Path) -> None:
    if not _activity_is_plain(found, activity, path, kind="action"):
        return
    provider = activity["provider"]
    key = (provider.get("module"), provider.get("func"))
    known = FAULTS.get(key) if provider.get("type") == "python" else None
    if known is None:
        _refuse_provider(found, provider, path, "functions that become typed faults are allowed")
        return
    understood, become = known
    given = provider.get("arguments", {})
    if not isinstance(given, dict):
        found.refuse((*path, "provider", "arguments"), given, "a mapping is allowed")
        return
    for name in sorted(set(given) - understood):
        found.refuse((*path, "provider", "arguments", name), name, f"{', '.join(sorted(understood))} are understood")
    try:
        found.faults.append(become(given))
    except (KeyError, ValueError, TypeError) as error:
        found.refuse((*path, "provider", "arguments"), given, f"missing or wrong: {error}")


def _rollback(found: Translated, activity: Any, path: Path) -> None:
    if not _activity_is_plain(found, activity, path, kind="action"):
        return
    provider = activity["provider"]
    if provider.get("type") != "python" or (provider.get("module"), provider.get("func")) not in ROLLBACKS:
        _refuse_provider(found, provider, path, "a typed fault brings its own undo; leave the rollback out")


def _activity_is_plain(found: Translated, activity: Any, path: Path, *, kind: str) -> bool:
    """Check what every activity has, and say whether its provider can be looked at."""
    if not isinstance(activity, dict):
        found.refuse(path, activity, "an activity is a mapping")
        return False
    for key in set(activity) - ACTIVITY:
        found.refuse((*path, key), key, "this key is not known in an activity" + _about(key))
    if activity.get("type") != kind:
        found.refuse((*path, "type"), activity.get("type"), f"{kind} is allowed here")
        return False
    if activity.get("background"):
        found.refuse((*path, "background"), "true", "the toolkit undoes it while it still injects; leave it out")
    pauses = activity.get("pauses", {})
    for name, seconds in pauses.items() if isinstance(pauses, dict) else [("pauses", pauses)]:
        if name not in PAUSES or isinstance(seconds, bool) or not isinstance(seconds, int | float):
            found.refuse((*path, "pauses", name), seconds, "before and after are allowed, as seconds")
        else:
            found.hold_seconds += seconds
    provider = activity.get("provider")
    if not isinstance(provider, dict):
        found.refuse((*path, "provider"), provider, "a provider is a mapping")
        return False
    if provider.get("secrets"):
        found.refuse((*path, "provider", "secrets"), provider["secrets"], "an experiment holds no secrets")
    return True


def _about(key: str) -> str:
    return "; a reference is not followed" if key == "ref" else ""


def _refuse_provider(found: Translated, provider: Mapping[str, Any], path: Path, allowed: str) -> None:
    kind = provider.get("type")
    if kind == "python":
        said: object = f"{provider.get('module')}.{provider.get('func')}"
        where: Path = (*path, "provider", "module" if "module" in provider else "func")
    elif kind == "process":
        said, where = f"the command {provider.get('path')!r}", (*path, "provider", "path")
        allowed = f"no commands and no shell; {allowed}"
    else:
        said, where = f"a provider of type {kind!r}", (*path, "provider")
    found.refuse(where, said, allowed)


def _no_controls(found: Translated, value: Any, path: Path) -> None:
    """Refuse controls at every level: they name modules that run."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "controls" and item:
                found.refuse((*path, key), item, "controls name code that runs; the guards here are not optional")
            else:
                _no_controls(found, item, (*path, key))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            _no_controls(found, item, (*path, position))


def _no_substitution(found: Translated, value: Any, path: Path) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _no_substitution(found, item, (*path, key))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            _no_substitution(found, item, (*path, position))
    elif isinstance(value, str) and "${" in value:
        found.refuse(path, value, "nothing is substituted; write the value")


def _text(document: Mapping[str, Any], key: str) -> str:
    value = document.get(key, "")
    return value if isinstance(value, str) else ""


def _mapping(found: Translated, document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = document.get(key) or {}
    if isinstance(value, dict):
        return value
    found.refuse((key,), value, "a mapping is allowed")
    return {}


def _list(found: Translated, document: Mapping[str, Any], key: str) -> list[Any]:
    value = document.get(key) or []
    if isinstance(value, list):
        return value
    found.refuse((key,), value, "a list is allowed")
    return []
