"""A runbook's text in pieces: prose as HTML, and the executable blocks between it by their ids."""

from dataclasses import dataclass

import nh3
from markdown_it import MarkdownIt

from runbooks.domain.documents import EXECUTABLE, split_document


@dataclass(frozen=True)
class Piece:
    """Prose, or the place of an executable block."""

    html: str = ""
    block_id: str = ""


def pieces_of(source: str) -> list[Piece]:
    """Return the document in order. Raw HTML is shown as text; what remains is sanitized once more."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    body = split_document(source).body
    lines = body.splitlines(keepends=True)
    pieces: list[Piece] = []
    start = 0
    for token in markdown.parse(body):
        words = token.info.split()
        if token.type != "fence" or token.map is None or not words or words[0] not in EXECUTABLE:
            continue
        pieces.append(_prose(markdown, "".join(lines[start : token.map[0]])))
        pieces.append(Piece(block_id=words[1].removeprefix("id=") if len(words) > 1 else ""))
        start = token.map[1]
    pieces.append(_prose(markdown, "".join(lines[start:])))
    return [piece for piece in pieces if piece.html or piece.block_id]


def _prose(markdown: MarkdownIt, text: str) -> Piece:
    return Piece(html=nh3.clean(markdown.render(text)).strip())
