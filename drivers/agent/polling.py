"""Ask the site for orders, do them, and tell what came of them."""

import json
import logging
import secrets
import ssl
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drivers.agent.host import OrderRefusedError, answer_question, described_host
from drivers.agent.journal import Journal
from drivers.agent.signing import NONCE_BYTES, WrongSignatureError, opened

ASK_SECONDS = 5.0
QUICK_SECONDS = 0.3
QUIET_SECONDS = 2.0
QUICK_FOR_SECONDS = 30.0
MOST_BYTES = 1_000_000

logger = logging.getLogger("assay-agent")


@dataclass(frozen=True)
class Configuration:
    """What an agent is told when it is installed. `allow` narrows what it does, whatever the site orders."""

    site: str
    name: str
    token: str
    key: str
    state: Path
    allow: list[str] = field(default_factory=lambda: ["*"])
    dead_man_seconds: float = 15.0
    ca_file: str = ""


def read_configuration(path: Path) -> Configuration:
    """Read the file that `manage.py agent add` printed. Raises ValueError when something is missing or unknown."""
    data = json.loads(path.read_text("utf-8"))
    try:
        return Configuration(**{**data, "state": Path(data.get("state", "/var/lib/assay-agent"))})
    except TypeError as error:
        raise ValueError(f"{path}: {error}") from None


class Agent:
    """Polls until it is ended. Whatever cannot be understood changes nothing."""

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self.journal = Journal(configuration.state)
        self._results: list[dict[str, Any]] = []
        self._quick_until = 0.0
        context = None
        if configuration.site.startswith("https:"):
            context = ssl.create_default_context(cafile=configuration.ca_file or None)
        handlers = [urllib.request.HTTPSHandler(context=context)] if context else []
        # No proxies and no redirects: orders come from the site that the configuration names, or not at all.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect(), *handlers)

    def run(self) -> None:
        """Poll for ever."""
        # What an agent that was killed has left is taken back first; its watchdogs may have been killed with it.
        for path, entry in list(self.journal.faults()):
            self.journal.undo(path, entry, "the agent was started anew")
        while True:
            worked = self.poll_once()
            busy = worked or any(self.journal.faults()) or time.monotonic() < self._quick_until
            time.sleep(QUICK_SECONDS if busy else QUIET_SECONDS)

    def poll_once(self) -> bool:
        """Ask once and do what is ordered; returns whether there was something. What goes wrong is logged."""
        nonce = secrets.token_hex(NONCE_BYTES)
        sent = self._results[:50]
        try:
            orders = opened(self._ask(nonce, sent), key=self.configuration.key, nonce=nonce)
        except (OSError, ValueError, WrongSignatureError) as error:
            logger.warning("no orders: %s: %s", type(error).__name__, error)
            return False
        self._results = self._results[len(sent) :]
        try:
            self.journal.heard()
        except OSError as error:
            # The watchdogs take it for silence and undo, which is right on a host that can write nothing down.
            logger.warning("not written down: %s", error)
        for order in orders:
            self._results.append({"order": order["id"], "answer": self._do(order)})
        if orders:
            self._quick_until = time.monotonic() + QUICK_FOR_SECONDS
        return bool(orders)

    def _ask(self, nonce: str, results: list[dict[str, Any]]) -> Any:
        faults = [path.stem for path, _ in self.journal.faults()]
        body = {"nonce": nonce, "results": results, "faults": faults, "host": described_host()}
        request = urllib.request.Request(  # noqa: S310 the site's own address, from the configuration
            f"{self.configuration.site.rstrip('/')}/api/v1/agents/poll/",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Agent {self.configuration.token}"},
        )
        with self._opener.open(request, timeout=ASK_SECONDS) as answer:
            return json.loads(answer.read(MOST_BYTES))

    def _do(self, order: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"value": self._done(order)}
        except OrderRefusedError as error:
            return {"refused": str(error)[:1000]}
        except Exception as error:  # noqa: BLE001 whatever an order breaks, the agent goes on
            return {"refused": f"{type(error).__name__}: {error}"[:1000]}

    def _done(self, order: dict[str, Any]) -> dict[str, Any]:
        question, more, key = order["question"], order["more"], order["more"].get("fault", "")
        name, arguments = order["action"], order["arguments"]
        if question == "inject":
            entry = {
                "action": name,
                "arguments": arguments,
                "foreseen": more["foreseen"],
                "ttl_seconds": more["ttl_seconds"],
            }
            self.journal.intend(key, entry, dead_man_seconds=self.configuration.dead_man_seconds)
        done = answer_question(question, name, arguments, more, allow=self.configuration.allow)
        if question == "undo" and done["ok"]:
            self.journal.forget(key)
        return done


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None
