"""SLO packs: OpenSLO templates for what teams promise, filled in with a few words."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

PLACEHOLDER = re.compile(r"\$\{([a-z_]+)\}")


@dataclass(frozen=True)
class Pack:
    """A pack: what it is for, its parameters (with the usual value, empty where one must be given), its documents."""

    name: str
    title: str
    description: str
    parameters: Mapping[str, str]
    template: str

    def filled(self, values: Mapping[str, str]) -> str:
        """Return the documents with parameters filled in. Raises ValueError for one that is missing or unknown."""
        if unknown := sorted(set(values) - set(self.parameters)):
            raise ValueError(f"{', '.join(unknown)}: not a parameter; {', '.join(self.parameters)} is allowed")
        filled = {**self.parameters, **values}
        if missing := [key for key, value in filled.items() if not value]:
            raise ValueError(f"{', '.join(missing)} must be given")
        if odd := [key for key, value in filled.items() if not re.fullmatch(r"[A-Za-z0-9_.:/ -]{1,120}", value)]:
            raise ValueError(f"{', '.join(odd)}: letters, digits and . _ - : / are allowed")
        return PLACEHOLDER.sub(lambda match: filled[match[1]], self.template)
