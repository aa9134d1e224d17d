"""The fault table: what was done, what was expected, and what the program said and left on disk."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

HEADERS = ("fault", "what was done", "expected", "seen")
START, END = "<!-- fault table -->", "<!-- end of fault table -->"


@dataclass
class Fault:
    """A row of the table; `seen` comes from the program and the disk."""

    replace: dict[str, str]
    name: str = ""
    done: str = ""
    expects: str = ""
    seen: list[str] = field(default_factory=list)

    def __call__(self, name: str, *, done: str, expects: str) -> Fault:
        self.name, self.done, self.expects = name, done, expects
        return self

    def saw(self, what: object) -> None:
        """Add what was seen, with this machine's folders left out."""
        text = str(what)
        for path, short in self.replace.items():
            text = text.replace(path, short)
        self.seen.append(text)

    @property
    def row(self) -> tuple[str, str, str, str]:
        """Its cells."""
        seen = "; ".join(self.seen)
        # What differs from one run of the tests to the next.
        seen = re.sub(r"127\.0\.0\.1:\d+", "localhost", seen)
        seen = re.sub(r"\b[0-9a-f]{16,}\b", lambda match: f"{match[0][:8]}…", seen)
        seen = re.sub(r"\.tmp-\w+", ".tmp-…", seen)
        return self.name, self.done, self.expects, " ".join(seen.split())


def as_text(rows: Sequence[tuple[str, str, str, str]], width: int = 110) -> str:
    """Return the table for a terminal."""
    table = Table(*HEADERS, title=f"Fault table: {len(rows)} faults", show_lines=True)
    for column, share in zip(table.columns, (2, 3, 3, 4), strict=True):
        column.ratio, column.overflow = share, "fold"
    table.expand = True
    for row in rows:
        table.add_row(*(cell.replace("[", r"\[") for cell in row))
    console = Console(width=width, no_color=True)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def as_markdown(rows: Sequence[tuple[str, str, str, str]]) -> str:
    """Return the table for a page."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", r"\|").replace("<", "&lt;") for cell in cells) + " |"

    return "\n".join([line(HEADERS), "|---" * len(HEADERS) + "|", *map(line, rows)]) + "\n"


def into_page(page: str, table: str) -> str:
    """Return a page with the table between its two marker comments; the table alone for a page without."""
    before, start, rest = page.partition(START)
    _, end, after = rest.partition(END)
    return f"{before}{START}\n{table}{END}{after}" if start and end else table
