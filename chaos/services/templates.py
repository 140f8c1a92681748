"""Templates of experiments: files with places to be filled in."""

import re
from dataclasses import dataclass
from pathlib import Path

from core.parsing import refuse

LIBRARY = Path(__file__).resolve().parent.parent / "library"
PLACE = re.compile(r"\{([a-z]+)\}")
VALUE = re.compile(r"[A-Za-z0-9@/._-]{1,200}")


@dataclass(frozen=True)
class Template:
    """A template: its name, what it is about, its text, and what must be filled in."""

    name: str
    about: str
    text: str

    @property
    def places(self) -> list[str]:
        """Return what must be filled in, in the order of its first use."""
        return list(dict.fromkeys(PLACE.findall(self.text)))


def templates() -> list[Template]:
    """Return every template by name."""
    found = []
    for path in sorted(LIBRARY.glob("*.yaml")):
        text = path.read_text("utf-8")
        comment = [line.removeprefix("#").strip() for line in text.splitlines() if line.startswith("#")]
        found.append(Template(path.stem, " ".join(comment), text))
    return found


def filled(name: str, values: dict[str, str]) -> str:
    """Return a template with its places filled in; those that nothing is given for stay. Raises InputRefusedError."""
    found = next((one for one in templates() if one.name == name), None)
    if found is None:
        raise refuse("template", found=name, allowed=f"one of {', '.join(one.name for one in templates())}")
    for place, value in values.items():
        if place not in found.places:
            raise refuse("template", found=place, allowed=f"one of {', '.join(found.places)}")
        if not VALUE.fullmatch(value):
            raise refuse(place, found=value, allowed="letters, digits and @ / . _ -")
    return PLACE.sub(lambda match: values.get(match[1], match[0]), found.text)
