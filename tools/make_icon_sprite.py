"""Make the icon sprite from the names in static/vendor/tabler-icons/icons.txt.

Usage: python tools/make_icon_sprite.py PATH/TO/tabler-icons/icons
(the `icons` folder of the npm package @tabler/icons, unpacked)
"""

import re
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "static" / "vendor" / "tabler-icons"
BOUNDING_BOX = re.compile(r'<path stroke="none" d="M0 0h24v24H0z" fill="none"\s*/>')
BODY = re.compile(r"<svg[^>]*>(.*)</svg>", re.DOTALL)


def symbol(name: str, source: Path) -> str:
    """Return one icon as a `<symbol>`; strokes take their colour and width from where it is used."""
    match = BODY.search((source / "outline" / f"{name}.svg").read_text())
    if match is None:
        raise SystemExit(f"{name}: not an SVG file")
    body = re.sub(r"\s*\n\s*", "", BOUNDING_BOX.sub("", match[1])).strip()
    return f'<symbol id="{name}" viewBox="0 0 24 24">{body}</symbol>'


def main() -> None:
    """Write the sprite; a name without a file ends the run before anything is written."""
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    source = Path(sys.argv[1])
    names = sorted(set((FOLDER / "icons.txt").read_text().split()))
    missing = [name for name in names if not (source / "outline" / f"{name}.svg").exists()]
    if missing:
        raise SystemExit(f"no such icon: {', '.join(missing)}")
    lines = ['<svg xmlns="http://www.w3.org/2000/svg">', *(symbol(name, source) for name in names), "</svg>", ""]
    (FOLDER / "sprite.svg").write_text("\n".join(lines))
    (FOLDER / "icons.txt").write_text("\n".join(names) + "\n")
    print(f"{len(names)} icons")


if __name__ == "__main__":
    main()
