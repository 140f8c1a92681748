"""Faults of this host as files: written before they are injected, kept until somebody has taken them back."""

import json
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from core.detached import start_detached
from drivers.agent.host import answer_question

HEARD = "heard"
KEY = re.compile(r"[a-z0-9_]{1,60}")
EVERYTHING = ["*"]
LOOK_SECONDS = 0.25
TRY_AGAIN_SECONDS = 2.0


class Journal:
    """The folder of an agent: one file for each fault, and when the site was heard last.

    Times are of the monotonic clock, which every process of a host shares and nobody can set.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "faults").mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)

    def heard(self) -> None:
        """Write down that the site has answered."""
        _write(self.folder / HEARD, {"at": time.monotonic()})

    def silent_for(self) -> float:
        """Return for how many seconds the site has not answered; endless when it never has since the boot."""
        try:
            at = float(json.loads((self.folder / HEARD).read_text("utf-8"))["at"])
        except (FileNotFoundError, ValueError, KeyError):
            return float("inf")
        silent = time.monotonic() - at
        return silent if silent >= 0 else float("inf")

    def faults(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Yield the faults that are or may be there."""
        for path in sorted((self.folder / "faults").glob("*.json")):
            try:
                yield path, json.loads(path.read_text("utf-8"))
            except (FileNotFoundError, ValueError):
                continue

    def intend(self, key: str, entry: dict[str, Any], *, dead_man_seconds: float) -> int:
        """Write a fault down and start its watchdog, whose process id is returned.

        Raises ValueError for a key that is no file name.
        """
        if not KEY.fullmatch(key):
            raise ValueError(f"{key!r} is no name of a fault")
        path = self.folder / "faults" / f"{key}.json"
        entry = {**entry, "expires": time.monotonic() + entry["ttl_seconds"], "dead_man_seconds": dead_man_seconds}
        _write(path, entry)
        return start_detached([*this_program(), "watchdog", str(self.folder), path.name], folder=Path("/"))

    def forget(self, key: str) -> None:
        """Take a fault's file away after it was undone; its watchdog ends by itself when it finds it gone."""
        if KEY.fullmatch(key):
            (self.folder / "faults" / f"{key}.json").unlink(missing_ok=True)

    def undo(self, path: Path, entry: dict[str, Any], reason: str) -> bool:
        """Take a fault back and look whether it is gone; then forget it, and keep a line about why."""
        ask = {"output": entry["foreseen"]}
        done = answer_question("undo", entry["action"], entry["arguments"], ask, allow=EVERYTHING)
        active = answer_question("is_active", entry["action"], entry["arguments"], ask, allow=EVERYTHING)["active"]
        if done["ok"] and not active:
            path.unlink(missing_ok=True)
            # A full disk keeps the line from being written, not the fault from being forgotten.
            with suppress(OSError), (self.folder / "undone.log").open("a", encoding="utf-8") as log:
                log.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {path.stem} {entry['action']}: {reason}\n")
            return True
        return False


def watch(folder: Path, name: str) -> None:
    """Take one fault back when its time is up, or when the site has not been heard for too long."""
    journal, path = Journal(folder), folder / "faults" / name
    while True:
        try:
            entry = json.loads(path.read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            return
        reason = ""
        if time.monotonic() >= entry["expires"]:
            reason = "its time was up"
        elif journal.silent_for() > entry["dead_man_seconds"]:
            reason = f"the site was not heard for {entry['dead_man_seconds']:g} s"
        if reason and journal.undo(path, entry, reason):
            return
        time.sleep(TRY_AGAIN_SECONDS if reason else LOOK_SECONDS)


def this_program() -> list[str]:
    """Return the command that starts this program from its one file, which says in the environment where it is."""
    return [sys.executable, os.environ["ASSAY_AGENT_FILE"]]


def _write(path: Path, value: dict[str, Any]) -> None:
    """Write a file so that it is there whole or as it was, even when the host loses power."""
    draft = path.with_suffix(f".{os.getpid()}.draft")
    try:
        with draft.open("w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o600)
            json.dump(value, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
