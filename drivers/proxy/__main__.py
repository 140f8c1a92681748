"""`python -m drivers.proxy --listen PORT --upstream HOST:PORT --control FILE [--http]`."""

import argparse
import asyncio
import json
import os
import secrets
import signal
import time
from pathlib import Path
from typing import Any

from drivers.proxy.admin import Admin
from drivers.proxy.faults import Faults
from drivers.proxy.relay import MAX_HEAD, Relay, Upstream

LOOPBACK = "127.0.0.1"


def write_control(path: Path, content: dict[str, Any]) -> None:
    """Write how to reach the admin port, for this user's eyes only, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        json.dump(content, file)
    draft.replace(path)


async def serve(options: argparse.Namespace) -> None:
    """Carry connections until SIGTERM or SIGINT."""
    host, _, port = options.upstream.rpartition(":")
    relay = Relay(Faults(), Upstream(host, int(port)), http=options.http)
    token = secrets.token_urlsafe(24)
    front = await asyncio.start_server(relay.carry, options.host, options.listen, limit=MAX_HEAD)
    listening = front.sockets[0].getsockname()[1]
    about = {
        "name": options.control.stem,
        "pid": os.getpid(),
        "listen": f"{options.host}:{listening}",
        "upstream": options.upstream,
        "http": options.http,
    }
    admin = await asyncio.start_server(Admin(relay, token, about, time.monotonic).answer, LOOPBACK, 0)
    about["admin"] = f"{LOOPBACK}:{admin.sockets[0].getsockname()[1]}"
    write_control(options.control, {**about, "token": token})
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    front.close()
    admin.close()
    options.control.unlink(missing_ok=True)


def main() -> None:
    """Read the options and serve."""
    parser = argparse.ArgumentParser(prog="python -m drivers.proxy", description="A TCP and HTTP fault proxy.")
    parser.add_argument("--host", default=LOOPBACK, help="address to listen on")
    parser.add_argument("--listen", type=int, required=True, help="port to listen on; 0 chooses a free one")
    parser.add_argument("--upstream", required=True, help="HOST:PORT of the server behind")
    parser.add_argument("--control", type=Path, required=True, help="file that will say how to reach the admin port")
    parser.add_argument("--http", action="store_true", help="read HTTP/1 requests, for error rates")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
