"""The SLO packs that come with the site: YAML files beside the code."""

from functools import cache
from pathlib import Path

import yaml

from reliability.domain.packs import Pack

FOLDER = Path(__file__).resolve().parent.parent / "packs"


@cache
def packs() -> dict[str, Pack]:
    """Return every pack by name. A file's first document describes it, the rest is the template."""
    found = {}
    for file in sorted(FOLDER.glob("*.yaml")):
        head, _, template = file.read_text(encoding="utf-8").partition("\n---\n")
        about = yaml.safe_load(head)
        parameters = {key: str(value or "") for key, value in about["parameters"].items()}
        found[file.stem] = Pack(file.stem, about["title"], about["description"], parameters, template)
    return found
