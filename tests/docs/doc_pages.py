"""The pages of the documentation: fenced blocks with the comments before them, links and headings."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
_COMMENT = re.compile(r"<!-- (.+?) -->")


@dataclass(frozen=True)
class Block:
    """A fenced block; `marks` are the comments right before it, such as {"file": "manifests/mine.yaml"}."""

    page: str
    line: int
    language: str
    text: str
    marks: dict[str, str] = field(hash=False)

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> list[Block]:
    found = []
    marks: dict[str, str] = {}
    for token in MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8")):
        if token.type == "html_block":
            for comment in _COMMENT.findall(token.content):
                key, _, value = comment.partition(": ")
                marks[key] = value
        elif token.type == "fence":
            name = page.relative_to(ROOT).as_posix()
            found.append(Block(name, token.map[0] + 2, token.info, token.content, marks))
            marks = {}
        else:
            marks = {}
    return found


def block_marked(page: str, mark: str, value: str = "") -> str:
    """Return the text of the one block of a page with a mark."""
    (text,) = (block.text for block in blocks(ROOT / page) if block.marks.get(mark) == value)
    return text


def inline(page: Path, kind: str) -> list[str]:
    """Return the targets of all links and images of a page ("links"), or its code ("code_inline")."""
    found = []
    for token in MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8")):
        for child in token.children or ():
            if child.type == kind == "code_inline":
                found.append(child.content)
            elif kind == "links" and child.type in ("link_open", "image"):
                found.append(str(child.attrs["href" if child.type == "link_open" else "src"]))
    return found


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    tokens = MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8"))
    headings = [tokens[i + 1].content for i, token in enumerate(tokens) if token.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
