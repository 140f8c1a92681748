"""The parts of the Kubernetes API that the actions use, over real HTTP: lists with selectors, merge patches,
sub-resources, preconditions, evictions, and `Status` objects for what is refused."""

import json
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "a-token-of-the-test"


class RefusalError(Exception):
    def __init__(self, code: int, reason: str) -> None:
        self.code, self.reason = code, reason


class FakeCluster:
    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.protected: set[str] = set()
        self.calls: list[str] = []
        self._made = 0
        cluster = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def serve(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else {}
                if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                    status, answer = 401, status_of(401, "Unauthorized")
                else:
                    try:
                        status, answer = cluster.answer(self.command, self.path, body)
                    except RefusalError as refusal:
                        status, answer = refusal.code, status_of(refusal.code, refusal.reason)
                raw = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            do_GET = do_POST = do_PATCH = do_DELETE = serve  # noqa: N815 the base class's names

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def add(self, kind: str, name: str, namespace: str = "", **parts: Any) -> dict[str, Any]:
        self._made += 1
        metadata = {"name": name, "uid": f"uid-{self._made}", "resourceVersion": "1", **parts.pop("metadata", {})}
        if namespace:
            metadata["namespace"] = namespace
        one = {"metadata": metadata, **parts}
        self.objects[kind, namespace, name] = one
        return one

    def kubeconfig(self) -> str:
        port = self.server.server_address[1]
        return json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "test",
                "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
                "users": [{"name": "u", "user": {"token": TOKEN}}],
                "contexts": [{"name": "test", "context": {"cluster": "c", "user": "u"}}],
            }
        )

    def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        split = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(split.query).items()}
        self.calls.append(f"{method} {split.path}")
        base = r"/(?:api/v1|apis/[a-z0-9.]+/v1)"
        routes: list[tuple[str, Callable[..., tuple[int, dict[str, Any]]]]] = [
            (rf"{base}/namespaces/(?P<ns>[^/]+)/pods/(?P<name>[^/]+)/eviction", self._evict),
            (rf"{base}/namespaces/(?P<ns>[^/]+)/deployments/(?P<name>[^/]+)/scale", self._scale),
            (rf"{base}/namespaces/(?P<ns>[^/]+)/(?P<kind>[a-z]+)/(?P<name>[^/]+)", self._one),
            (rf"{base}/namespaces/(?P<ns>[^/]+)/(?P<kind>[a-z]+)", self._many),
            (rf"{base}/(?P<kind>nodes)/(?P<name>[^/]+)", self._one),
            (rf"{base}/(?P<kind>pods|nodes)", self._many),
        ]
        for pattern, serve in routes:
            if match := re.fullmatch(pattern, split.path):
                return serve(method, body=body, query=query, **match.groupdict())
        raise RefusalError(404, "Not Found")

    def _find(self, kind: str, ns: str, name: str) -> dict[str, Any]:
        try:
            return self.objects[kind, ns, name]
        except KeyError:
            raise RefusalError(404, "Not Found") from None

    def _one(
        self, method: str, *, kind: str, name: str, body: Any, query: Any, ns: str = ""
    ) -> tuple[int, dict[str, Any]]:
        one = self._find(kind, ns, name)
        if method == "PATCH":
            patch(one, body)
            one["metadata"]["resourceVersion"] = str(int(one["metadata"]["resourceVersion"]) + 1)
        elif method == "DELETE":
            wanted = (body.get("preconditions") or {}).get("uid")
            if wanted and wanted != one["metadata"]["uid"]:
                raise RefusalError(409, "Conflict")
            del self.objects[kind, ns, name]
        return 200, one

    def _many(self, method: str, *, kind: str, body: Any, query: Any, ns: str = "") -> tuple[int, dict[str, Any]]:
        if method == "POST":
            name = body["metadata"]["name"]
            if (kind, ns, name) in self.objects:
                raise RefusalError(409, "AlreadyExists")
            return 201, self.add(kind, name, ns, **{**body, "metadata": body["metadata"]})
        selectors = [pair.split("=", 1) for pair in query.get("labelSelector", "").split(",") if pair]
        node = query.get("fieldSelector", "").removeprefix("spec.nodeName=")
        items = [
            one
            for (its_kind, its_ns, _), one in self.objects.items()
            if its_kind == kind
            and (not ns or its_ns == ns)
            and all((one["metadata"].get("labels") or {}).get(key) == value for key, value in selectors)
            and (not node or one.get("spec", {}).get("nodeName") == node)
        ]
        return 200, {"kind": "List", "metadata": {"resourceVersion": "9"}, "items": items}

    def _scale(self, method: str, *, ns: str, name: str, body: Any, query: Any) -> tuple[int, dict[str, Any]]:
        one = self._find("deployments", ns, name)
        if method == "PATCH":
            one["spec"]["replicas"] = body["spec"]["replicas"]
        return 200, {"metadata": one["metadata"], "spec": {"replicas": one["spec"]["replicas"]}}

    def _evict(self, method: str, *, ns: str, name: str, body: Any, query: Any) -> tuple[int, dict[str, Any]]:
        self._find("pods", ns, name)
        if name in self.protected:
            raise RefusalError(429, "TooManyRequests")
        del self.objects["pods", ns, name]
        return 201, {"kind": "Status", "status": "Success"}


def patch(one: dict[str, Any], body: Any) -> None:
    """Apply a merge patch, or a JSON patch whose operations replace."""
    for operation in body if isinstance(body, list) else []:
        *path, last = operation["path"].strip("/").split("/")
        into = one
        for part in path:
            into = into[part]
        into[last] = operation["value"]
    if isinstance(body, dict):
        merge(one, body)


def merge(into: dict[str, Any], patch: dict[str, Any]) -> None:
    for key, value in patch.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = value


def status_of(code: int, reason: str) -> dict[str, Any]:
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code}
