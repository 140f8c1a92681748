"""A site of a test's own, driven by its commands."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Site:
    """A site with a state folder of its own."""

    state: Path
    database_url: str = ""
    more: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if name not in {"SECRET_KEY", "BROKER_URL"}}
        return {
            **clean,
            "ASSAY_STATE_DIR": str(self.state),
            "DATABASE_URL": self.database_url,
            "ASSAY_LOG_LEVEL": "ERROR",
            **self.more,
        }

    def command(self, *arguments: object) -> list[str]:
        return [sys.executable, "manage.py", *map(str, arguments)]

    def ask(self, *arguments: object, expect: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(*arguments),
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == expect, f"{arguments} exited {done.returncode}: {done.stdout} {done.stderr}"
        return done

    def json(self, *arguments: object, expect: int = 0) -> Any:
        return json.loads(self.ask(*arguments, "--format", "json", expect=expect).stdout)
