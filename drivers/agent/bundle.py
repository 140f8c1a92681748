"""Build the agent: one file with the actions of a host and the libraries that they need, for hosts like this one."""

import importlib.metadata
import io
import sys
import sysconfig
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = ("psutil", "pydantic", "pydantic-core", "annotated-types", "typing-extensions", "typing-inspection")
MODULES = (
    "core/detached.py",
    "drivers/data.py",
    "drivers/actions/gpu.py",
    "drivers/actions/latency.py",
    "drivers/actions/network.py",
    "drivers/actions/pressure.py",
    "drivers/actions/processes.py",
    "drivers/actions/trainers.py",
    "drivers/agent/__init__.py",
    "drivers/agent/__main__.py",
    "drivers/agent/host.py",
    "drivers/agent/journal.py",
    "drivers/agent/polling.py",
    "drivers/agent/signing.py",
    "drivers/services/commands.py",
    "drivers/services/faults.py",
    "drivers/services/processes.py",
)
# Their own say what the site needs of them; the agent has neither.
EMPTY = ("core/__init__.py", "drivers/__init__.py", "drivers/actions/__init__.py", "drivers/services/__init__.py")
MAIN = '''"""Unpack what is compiled, once for each version of this file, and start the agent."""
import hashlib, os, pathlib, runpy, shutil, sys, tempfile, zipfile
if sys.version_info[:2] != {version}:
    sys.exit("this agent was built for Python {version[0]}.{version[1]}")
file = pathlib.Path(sys.argv[0]).resolve()
digest = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
root = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
folder = root / f"assay-agent-{{digest}}"
if not folder.is_dir():
    root.mkdir(parents=True, exist_ok=True)
    draft = pathlib.Path(tempfile.mkdtemp(dir=root))
    with zipfile.ZipFile(file) as archive:
        archive.extractall(draft, [name for name in archive.namelist() if name != "__main__.py"])
    try:
        draft.rename(folder)
    except OSError:
        shutil.rmtree(draft)
os.environ["ASSAY_AGENT_FILE"] = str(file)
sys.path[0] = str(folder)
runpy.run_module("drivers.agent", run_name="__main__", alter_sys=True)
'''


def build_agent(path: Path) -> int:
    """Write the agent to one executable file; returns its size in bytes."""
    content = io.BytesIO()
    content.write(b"#!/usr/bin/env python3\n")
    with zipfile.ZipFile(content, "a", zipfile.ZIP_DEFLATED) as archive:
        _add(archive, "__main__.py", MAIN.format(version=tuple(sys.version_info[:2])).encode())
        for name in MODULES:
            _add(archive, name, (ROOT / name).read_bytes())
        for name in EMPTY:
            _add(archive, name, b"")
        for library in LIBRARIES:
            for file in importlib.metadata.files(library) or []:
                place = Path(str(file.locate()))
                if file.suffix != ".pyc" and ".." not in file.parts and ".dist-info" not in str(file):
                    _add(archive, str(file), place.read_bytes())
    path.write_bytes(content.getvalue())
    path.chmod(0o755)
    return len(content.getvalue())


def platform_of_bundle() -> str:
    """Return for which hosts a bundle built here is."""
    return f"{sysconfig.get_platform()}, Python {sys.version_info[0]}.{sys.version_info[1]}"


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    # A fixed date: the same sources give the same file, so that its digest can be compared.
    archive.writestr(zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
