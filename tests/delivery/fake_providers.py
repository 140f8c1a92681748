"""Slack, a Teams workflow and a Twilio-compatible API on the loopback interface, faithful in what this site uses.

Twilio: basic authorization; 201 with a `sid`; 400 with code 21211 for a number that is none; 401 with code 20003; the
list of messages filtered by `To`. Slack: always 200, and `ok: false` with a code where something is wrong.
"""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

ACCOUNT, TOKEN, SLACK_TOKEN = "AC" + "0" * 32, "t" * 32, "xoxb-good"


@dataclass
class Provider:
    """What arrived; `break_next` holds statuses to answer with first; `cut_next` answers nothing after taking it."""

    url: str = ""
    messages: list[dict[str, str]] = field(default_factory=list)
    calls: list[dict[str, str]] = field(default_factory=list)
    slack: list[dict[str, Any]] = field(default_factory=list)
    cards: list[dict[str, Any]] = field(default_factory=list)
    relayed: list[bytes] = field(default_factory=list)
    break_next: list[int] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    provider: Provider

    def do_GET(self) -> None:
        if not self._may():
            return
        to = parse_qs(urlsplit(self.path).query).get("To", [""])[0]
        found = [one for one in self.provider.messages if one["to"] == to]
        self._answer(200, {"messages": found, "page_size": 100})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        path = urlsplit(self.path).path
        if self.provider.break_next:
            self._answer(self.provider.break_next.pop(0), {"message": "Try later"}, {"Retry-After": "7"})
        elif path == "/api/chat.postMessage":
            self._slack(json.loads(body))
        elif path == "/workflow":
            self.provider.cards.append(json.loads(body))
            self._answer(202, {})
        elif path.startswith("/2010-04-01/"):
            self._twilio(path, {k: v[0] for k, v in parse_qs(body.decode()).items()})
        else:
            self.provider.relayed.append(body)
            self._answer(200, {})

    def _slack(self, body: dict[str, Any]) -> None:
        if self.headers["Authorization"] != f"Bearer {SLACK_TOKEN}":
            self._answer(200, {"ok": False, "error": "invalid_auth"})
            return
        self.provider.slack.append(body)
        self._answer(200, {"ok": True, "channel": body["channel"], "ts": "1.2"})

    def _twilio(self, path: str, form: dict[str, str]) -> None:
        if not self._may():
            return
        if not form["To"].startswith("+") or not form["To"][1:].isdigit():
            said = {
                "code": 21211,
                "message": f"The 'To' number {form['To']} is not a valid phone number.",
                "status": 400,
            }
            self._answer(400, said)
            return
        if path.endswith("/Calls.json"):
            self.provider.calls.append(form)
            self._answer(201, {"sid": "CA1", "status": "queued"})
            return
        sid = f"SM{len(self.provider.messages)}"
        self.provider.messages.append({"sid": sid, "to": form["To"], "from": form["From"], "body": form["Body"]})
        self._answer(201, {"sid": sid, "status": "queued", "to": form["To"], "body": form["Body"]})

    def _may(self) -> bool:
        expected = "Basic " + base64.b64encode(f"{ACCOUNT}:{TOKEN}".encode()).decode()
        if self.headers["Authorization"] == expected and f"/Accounts/{ACCOUNT}/" in self.path:
            return True
        self._answer(401, {"code": 20003, "message": "Authenticate", "status": 401})
        return False

    def _answer(self, status: int, document: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def running_provider() -> Iterator[Provider]:
    provider = Provider()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"provider": provider}))
    provider.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
