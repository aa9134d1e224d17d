"""Labels of a figure: fonts that have their characters, and lines that fit a width."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from matplotlib import font_manager
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path as Outline
from matplotlib.textpath import text_to_path

from stimgen.errors import InputError

FAMILIES = ("Arial", "Liberation Sans", "DejaVu Sans", "Noto Sans", "Arial Unicode MS")
"""Fonts in the order in which a character is looked for. The second has the widths of the first; the third
comes with matplotlib."""
ASCENT, DESCENT = 0.93, 0.24
"""Room above and below the baseline of a line, as shares of the size of its letters; more if ink needs it."""
SLACK = 1.02
"""Factor by which lines are measured wider than they are: drawing to pixels rounds places of letters."""


@dataclass(frozen=True)
class Font:
    """A font without a size: files, of which the first that has a character draws it."""

    files: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """Family of each file."""
        return [str(font_manager.get_font(file).family_name) for file in self.files]

    def at(self, size_pt: float) -> FontProperties:
        """Return the font in one size."""
        # The last family is what a viewer of an SVG file shows that has none of these.
        file = self.files[0] if len(self.files) == 1 else None
        return FontProperties(family=[*self.names, "sans-serif"], fname=file, size=size_pt)


@dataclass(frozen=True)
class Block:
    """A text in lines, and the size of the box that holds all ink.

    `ascent` is the distance from its upper edge to the first baseline, `line_height` to the next baseline.
    """

    lines: tuple[str, ...] = ()
    width: int = 0
    height: int = 0
    ascent: int = 0
    line_height: int = 0


def find_font(texts: Iterable[str], file: Path | None = None) -> Font:
    """Return a font that has all characters of some texts: a file, or installed `FAMILIES`."""
    try:
        font = _installed_font() if file is None else Font((str(file),))
        known = {code for name in font.files for code in font_manager.get_font(name).get_charmap()}
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"--font {file}: {' '.join(str(error).split())}.",
            "Name a TrueType or OpenType file (.ttf, .otf).",
        ) from None
    characters = {character for text in texts for character in text if not character.isspace()}
    if lacking := sorted(character for character in characters if ord(character) not in known):
        shown = [(c if c.isprintable() else "(invisible)", ord(c)) for c in lacking[:5]]
        which = ", ".join(f"{character} U+{code:04X}" for character, code in shown)
        raise InputError(
            f"No font {'at hand' if file is None else file} has these characters of the labels: {which}.",
            "Name a font file that has them with --font, or use other characters.",
        )
    return font


@cache
def _installed_font() -> Font:
    installed = {entry.name for entry in font_manager.fontManager.ttflist}
    families = [family for family in FAMILIES if family in installed]
    return Font(tuple(font_manager.findfont(FontProperties(family=family)) for family in families))


def normalised(text: str) -> str:
    """Return a text with accents composed and single spaces; line breaks stay.

    Examples
    --------
    >>> normalised("pool4,   177k ")
    'pool4, 177k'
    """
    lines = unicodedata.normalize("NFC", text).strip().split("\n")
    return "\n".join(" ".join(line.split()) for line in lines)


def fit(texts: Sequence[str], font: Font, size: int, width: int, *, divide: bool) -> list[Block] | None:
    """Return texts in lines of at most `width`, or None if a word of any is wider.

    Lines break at line breaks, between words, and after "_", "-" and "/". `size` is that of the letters, in
    the unit of `width`. With `divide`, words that are wider are divided.
    """
    blocks = []
    for text in texts:
        lines = _lines(text, font, width / size, divide=divide)
        if lines is None:
            return None
        measured = [_measure(line, font) for line in lines] or [(0.0, 0.0, 0.0)]
        ascent = math.ceil(size * max(ASCENT, *(above for _, above, _ in measured)))
        line_height = ascent + math.ceil(size * max(DESCENT, *(below for _, _, below in measured)))
        widest = math.ceil(size * max(width for width, _, _ in measured))
        blocks.append(Block(tuple(lines), widest, line_height * len(lines), ascent, line_height))
    return blocks


def _lines(text: str, font: Font, width: float, *, divide: bool) -> list[str] | None:
    lines: list[str] = []
    for paragraph in text.split("\n") if text else ():
        line = ""
        for piece in re.findall(r"[^ _/-]*[ _/-]|[^ _/-]+", paragraph):
            if line and _width(line + piece, font) > width:
                lines.append(line.rstrip())
                line = ""
            while _width(line + piece, font) > width and len(piece) > 1:
                if not divide:
                    return None
                # Accents stay with their letters.
                ends = [end for end in range(1, len(piece)) if not unicodedata.combining(piece[end])]
                fitting = [end for end in ends if _width(piece[:end], font) <= width]
                end = max(fitting, default=min(ends, default=len(piece)))
                lines.append(piece[:end])
                piece = piece[end:]
            line += piece
        lines.append(line.rstrip())
    return lines


def _width(line: str, font: Font) -> float:
    return _measure(line.rstrip(), font)[0]


@cache
def _measure(line: str, font: Font) -> tuple[float, float, float]:
    """Return the width of a line, and its ink above and below the baseline, for letters of size 1.

    The width is that of the box that holds all ink and has its middle where the line's advance has it.
    """
    if not line:
        return 0.0, 0.0, 0.0
    size = text_to_path.FONT_SCALE
    advance, _, _ = text_to_path.get_text_width_height_descent(line, font.at(size), ismath=False)
    vertices, codes = text_to_path.get_text_path(font.at(size), line, ismath=False)
    ink = Outline(vertices, codes).get_extents()
    if not math.isfinite(ink.width) or not ink.width:
        return SLACK * advance / size, 0.0, 0.0
    half = max(advance / 2 - ink.x0, ink.x1 - advance / 2, advance / 2)
    return SLACK * 2 * half / size, ink.y1 / size, -ink.y0 / size
