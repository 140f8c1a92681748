"""Talk to the fault proxies of this host, found by the control files that they write."""

import json
import re
from pathlib import Path
from typing import Any

from django.conf import settings

from core.http import OutboundRefusedError, guarded_session
from drivers.data import Target
from drivers.services.processes import GoneError, living

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
LOOPBACK = "127.0.0.1/32"
ASK_SECONDS = 5.0


class ProxyError(RuntimeError):
    """The proxy is not there, or it refused."""


def proxies_folder() -> Path:
    """Return where proxies of this site write their control files."""
    folder: Path = settings.STATE_DIR / "proxies"
    return folder


def proxy_names() -> list[str]:
    """Return the proxies that have a control file."""
    return sorted(path.stem for path in proxies_folder().glob("*.json"))


def find_proxy(name: str) -> dict[str, Any]:
    """Return a proxy's control file. Raises ProxyError when there is none."""
    if not NAME.fullmatch(name):
        raise ProxyError(f"{name!r} is no name of a proxy")
    try:
        found = json.loads((proxies_folder() / f"{name}.json").read_text("utf-8"))
    except FileNotFoundError:
        raise ProxyError(f"no proxy {name!r} runs here; running: {', '.join(proxy_names()) or 'none'}") from None
    except (OSError, ValueError) as error:
        raise ProxyError(f"the control file of {name} cannot be read: {error}") from None
    return dict(found)


def proxy_is_gone(name: str, identity: dict[str, Any]) -> bool:
    """Say whether the process that a fault was put into has ended: its faults ended with it."""
    try:
        living(Target("process", name, identity))
    except GoneError:
        return True
    return False


def ask_proxy(control: dict[str, Any], method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Ask a proxy's admin port. Raises ProxyError with its reason."""
    try:
        with guarded_session(allow=[LOOPBACK], timeout_seconds=ASK_SECONDS) as session:
            answer = session.request(
                method,
                f"http://{control['admin']}{path}",
                json=body,
                headers={"Authorization": f"Bearer {control['token']}"},
            )
            said: dict[str, Any] = answer.json()
    except (OutboundRefusedError, OSError, ValueError) as error:
        raise ProxyError(f"proxy {control.get('name')} does not answer: {error}") from None
    if answer.status_code != 200:
        raise ProxyError(f"proxy {control['name']}: {said.get('error', answer.status_code)}")
    return said
