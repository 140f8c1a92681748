"""Write the category of every check of the pinned Checkov: `.venv-checkov/bin/python tools/checkov/categories.py FILE`.

Its reports leave the category empty without an account, so the table is made once per pinned version.
"""

import gc
import importlib
import json
import pkgutil
import sys
from pathlib import Path
from types import ModuleType

import checkov.dockerfile.checks
import checkov.github_actions.checks
import checkov.kubernetes.checks
import checkov.terraform.checks
from checkov.common.checks.base_check import BaseCheck
from checkov.version import version

PACKAGES = (
    checkov.terraform.checks,
    checkov.kubernetes.checks,
    checkov.dockerfile.checks,
    checkov.github_actions.checks,
)


def load(package: ModuleType) -> None:
    """Import every module below a package, so that its checks exist."""
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)


def categories() -> dict[str, str]:
    """Return the first category of each check by its id."""
    for package in PACKAGES:
        load(package)
    checks = [one for one in gc.get_objects() if isinstance(one, BaseCheck)]
    found = {one.id: one.categories[0].name for one in checks if one.categories}
    for path in Path(str(checkov.__file__)).parent.rglob("graph_checks/**/*.json"):
        metadata = json.loads(path.read_text()).get("metadata") or {}
        if metadata.get("id") and metadata.get("category"):
            found[metadata["id"]] = str(metadata["category"]).upper().replace(" ", "_")
    return found


if __name__ == "__main__":
    table = {"checkov": version, "categories": dict(sorted(categories().items()))}
    Path(sys.argv[1]).write_text(json.dumps(table, indent=0) + "\n")
