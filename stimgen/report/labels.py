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
    """A font without a size.

    Attributes
    ----------
    files
        Font files; a character is drawn with the first that has it.
    is_named
        Whether the user named the only file.
    """

    files: tuple[str, ...]
    is_named: bool

    @property
    def name(self) -> str:
        """Family of the first file."""
        return str(font_manager.get_font(self.files[0]).family_name)

    def at(self, size_pt: float) -> FontProperties:
        """Return the font in one size."""
        families = [font_manager.get_font(file).family_name for file in self.files]
        # The last family is what a viewer of an SVG file shows that has none of these.
        file = self.files[0] if self.is_named else None
        return FontProperties(family=[*families, "sans-serif"], fname=file, size=size_pt)

    def lacks(self, texts: Iterable[str]) -> list[str]:
        """Return the characters of some texts that are in none of the files."""
        known = {code for file in self.files for code in font_manager.get_font(file).get_charmap()}
        characters = {character for text in texts for character in text if not character.isspace()}
        return sorted(character for character in characters if ord(character) not in known)


@dataclass(frozen=True)
class Block:
    """A text in lines. All sizes are whole numbers of the unit in which the size of its letters is given.

    Attributes
    ----------
    lines
        The lines; none for an empty text.
    width, height
        Size of the box that holds all ink.
    ascent, line_height
        From the box's upper edge to the first baseline, and from one baseline to the next.
    """

    lines: tuple[str, ...] = ()
    width: int = 0
    height: int = 0
    ascent: int = 0
    line_height: int = 0


def find_font(texts: Iterable[str], file: Path | None = None) -> Font:
    """Return a font that has all characters of some texts.

    Parameters
    ----------
    texts
        What is to be written, as `normalised`.
    file
        A font file; by default those of `FAMILIES` that are installed.

    Raises
    ------
    InputError
        If the file is no font, or no font has the characters.
    """
    if file is None:
        font = _installed_font()
    else:
        try:
            font = Font((str(file),), is_named=True)
            font_manager.get_font(font.files[0])
        except (OSError, RuntimeError) as error:
            raise InputError(
                f"--font {file}: {' '.join(str(error).split())}.",
                "Name a TrueType or OpenType file (.ttf, .otf).",
            ) from None
    if lacking := font.lacks(texts):
        shown = [(c if c.isprintable() else "(invisible)", ord(c)) for c in lacking[:5]]
        which = ", ".join(f"{character} U+{code:04X}" for character, code in shown)
        raise InputError(
            f"No font {'at hand' if file is None else file} has these characters of the labels: {which}.",
            "Name a font file that has them with --font, or use other characters.",
        )
    return font


@cache
def _installed_font() -> Font:
    files: dict[str, None] = {}
    for family in FAMILIES:
        installed = [entry for entry in font_manager.fontManager.ttflist if entry.name == family]
        if installed:
            files[font_manager.findfont(FontProperties(family=family))] = None
    return Font(tuple(files), is_named=False)


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

    Lines break at line breaks, between words, and after "_", "-" and "/".

    Parameters
    ----------
    texts
        The texts, as `normalised`.
    font
        Their font.
    size
        Size of the letters, in the unit of `width`.
    width
        Largest width of a line.
    divide
        Whether to divide words that are wider, so that a block is wider than `width` only if a single
        character is.
    """
    blocks = []
    for text in texts:
        lines = _lines(text, font, width / size, divide=divide)
        if lines is None:
            return None
        blocks.append(_block(lines, font, size))
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
                end = _longest_start(piece, font, width)
                lines.append(piece[:end])
                piece = piece[end:]
            line += piece
        lines.append(line.rstrip())
    return lines


def _block(lines: Sequence[str], font: Font, size: int) -> Block:
    if not lines:
        return Block()
    measured = [_measure(line, font) for line in lines]
    ascent = math.ceil(size * max(ASCENT, *(above for _, above, _ in measured)))
    line_height = ascent + math.ceil(size * max(DESCENT, *(below for _, _, below in measured)))
    width = math.ceil(size * max(width for width, _, _ in measured))
    return Block(tuple(lines), width, line_height * len(lines), ascent, line_height)


def _longest_start(word: str, font: Font, width: float) -> int:
    """Return how many characters of a word fit, at least one; accents stay with their letters."""
    ends = [end for end in range(1, len(word)) if not unicodedata.combining(word[end])] + [len(word)]
    return max((end for end in ends if _width(word[:end], font) <= width), default=ends[0])


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
    properties = font.at(size)
    advance, _, _ = text_to_path.get_text_width_height_descent(line, properties, ismath=False)
    ink = Outline(*text_to_path.get_text_path(properties, line, ismath=False)).get_extents()
    if not ink.width:  # no ink
        return SLACK * advance / size, 0.0, 0.0
    half = max(advance / 2 - ink.x0, ink.x1 - advance / 2, advance / 2)
    return SLACK * 2 * half / size, ink.y1 / size, -ink.y0 / size
