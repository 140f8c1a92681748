"""A runbook's text in pieces: prose as HTML, commands to copy, and the executable blocks between them by their ids."""

from dataclasses import dataclass

import nh3
from markdown_it import MarkdownIt

from runbooks.domain.documents import EXECUTABLE, split_document

COMMANDS = frozenset({"sh", "bash", "shell", "zsh", "console"})


@dataclass(frozen=True)
class Piece:
    """Prose, a command that a person copies (`position` counts them), or the place of an executable block."""

    html: str = ""
    block_id: str = ""
    code: str = ""
    position: int = 0


def pieces_of(source: str) -> list[Piece]:
    """Return the document in order. Raw HTML is shown as text; what remains is sanitized once more."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    body = split_document(source.replace("\r\n", "\n")).body
    lines = body.splitlines(keepends=True)
    pieces: list[Piece] = []
    start = commands = 0
    for token in markdown.parse(body):
        words = token.info.split()
        if token.type != "fence" or token.map is None or not words:
            continue
        if words[0] in EXECUTABLE:
            piece = Piece(block_id=words[1].removeprefix("id=") if len(words) > 1 else "")
        elif words[0] in COMMANDS and token.level == 0:
            piece = Piece(code=token.content.rstrip("\n"), position=commands)
            commands += 1
        else:
            continue
        pieces.append(_prose(markdown, "".join(lines[start : token.map[0]])))
        pieces.append(piece)
        start = token.map[1]
    pieces.append(_prose(markdown, "".join(lines[start:])))
    return [piece for piece in pieces if piece.html or piece.block_id or piece.code]


def _prose(markdown: MarkdownIt, text: str) -> Piece:
    return Piece(html=nh3.clean(markdown.render(text)).strip())
