"""Labels of a figure: a font that has their characters, a size at which they fit, lines, and ink."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from stimgen.errors import InputError

SMALLEST_FONT_PX = 9
"""Letters that are smaller cannot be read: text gets more lines instead."""
SYSTEM_FONTS = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "LiberationSans-Regular.ttf",
    "arial.ttf",
    "Arial.ttf",
    "Arial Unicode.ttf",
)
"""Where characters are looked for that Pillow's own font lacks, which has little more than ASCII."""
BREAK_AFTER = "_-/"
NO_CHARACTER = "\U0010ffff"
"""Is assigned to nothing, so that every font draws it as it draws what it lacks."""

Font = ImageFont.FreeTypeFont


@dataclass(frozen=True)
class Typeface:
    """A font without a size; `path` is None for the one that comes with Pillow."""

    path: str | None

    def at(self, size_px: float) -> Font:
        """Return the font in one size."""
        return _load(self.path, size_px)

    @property
    def name(self) -> str:
        """Family and style."""
        return " ".join(part for part in self.at(SMALLEST_FONT_PX).getname() if part)

    @property
    def family(self) -> str:
        """Family, as a style sheet names it."""
        return self.at(SMALLEST_FONT_PX).getname()[0] or "sans-serif"

    @property
    def content(self) -> bytes:
        """The font file."""
        font = self.at(SMALLEST_FONT_PX)
        if self.path is None:
            return font.font_bytes
        assert isinstance(font.path, str)  # where a name was found
        return Path(font.path).read_bytes()


@dataclass(frozen=True)
class Block:
    """A text in lines, measured by its ink.

    Attributes
    ----------
    lines
        The lines; none for an empty text.
    font
        The font with its size.
    width, height
        Size of the box that holds all ink, px.
    ascent, line_px
        From the box's upper edge to the first baseline, and from one baseline to the next, px.
    """

    lines: tuple[str, ...]
    font: Font
    width: int
    height: int
    ascent: int
    line_px: int

    def image(self, align: str) -> Pillow.Image:
        """Return the text in black on white, (height, width), 8-bit grey; `align` is centre or right."""
        image = Pillow.new("L", (self.width, self.height), "white")
        draw = ImageDraw.Draw(image)
        for number, line in enumerate(self.lines):
            left, _, right, _ = _ink(line, self.font)
            free = self.width - (right - left)
            x = (free if align == "right" else free // 2) - left
            draw.text((x, self.ascent + number * self.line_px), line, font=self.font, fill=0, anchor="ls")
        return image


def find_typeface(
    texts: Iterable[str], file: Path | None = None, *, preferred: Sequence[str] = ()
) -> Typeface:
    """Return a font that has all characters of some texts.

    Parameters
    ----------
    texts
        What is to be written, as `normalised`.
    file
        A font file; by default Pillow's own font and, for characters that it lacks, the first of
        `SYSTEM_FONTS` that has them.
    preferred
        Names of fonts that are tried before these.

    Raises
    ------
    InputError
        If the file is no font, or no font has the characters.
    """
    characters = {character for text in texts for character in text if not character.isspace()}
    if file is not None:
        try:
            typeface = Typeface(str(file))
            typeface.at(SMALLEST_FONT_PX)
        except OSError as error:
            raise InputError(
                f"--font {file}: {error}.", "Name a TrueType or OpenType file (.ttf, .otf)."
            ) from None
        candidates = [typeface]
    else:
        names = (*preferred, None, *SYSTEM_FONTS)
        candidates = [Typeface(name) for name in names]
    lacking: list[str] = []
    for candidate in candidates:
        try:
            font = candidate.at(2 * SMALLEST_FONT_PX)
        except OSError:  # not on this machine
            continue
        lacks = sorted(character for character in characters if not _has(font, character))
        if not lacks:
            return candidate
        lacking = min(lacking or lacks, lacks, key=len)
    which = ", ".join(f"{_shown(character)} U+{ord(character):04X}" for character in lacking[:5])
    raise InputError(
        f"No font {'at hand' if file is None else file} has these characters of the labels: {which}.",
        "Name a font file that has them with --font, or use other characters.",
    )


def normalised(text: str) -> str:
    """Return a text with accents composed and single spaces; line breaks stay.

    Examples
    --------
    >>> normalised("pool4,   177k ")
    'pool4, 177k'
    """
    lines = unicodedata.normalize("NFC", text).strip().split("\n")
    return "\n".join(" ".join(line.split()) for line in lines)


def lay_out(text: str, font: Font, width: int, *, break_words: bool) -> Block | None:
    """Return a text in lines of at most `width` px.

    Lines break at line breaks, between words, and after "_", "-" and "/". If a word is wider, the answer is
    None, or with `break_words` a block with the word divided; it is wider than `width` only if a single
    character is.
    """
    lines: list[str] = []
    for paragraph in text.split("\n") if text else ():
        line = ""
        for piece in _pieces(paragraph):
            if line and _width((line + piece).rstrip(), font) > width:
                lines.append(line.rstrip())
                line = ""
            while _width((line + piece).rstrip(), font) > width and len(piece) > 1:
                if not break_words:
                    return None
                end = _most_that_fits(piece, font, width)
                lines.append(piece[:end])
                piece = piece[end:]
            line += piece
        lines.append(line.rstrip())
    return _measured(tuple(lines), font)


def fit(texts: Sequence[tuple[str, int]], typeface: Typeface, largest_px: int) -> list[Block]:
    """Return texts in lines, all in the same size: the largest in which no word is too wide.

    Parameters
    ----------
    texts
        Texts, each with the width that it may take, px.
    typeface
        Their font.
    largest_px
        Size to start from, px. Below `SMALLEST_FONT_PX` words are divided instead.
    """
    for size in range(max(largest_px, SMALLEST_FONT_PX), SMALLEST_FONT_PX - 1, -1):
        last = size == SMALLEST_FONT_PX
        blocks = [lay_out(text, typeface.at(size), width, break_words=last) for text, width in texts]
        fitting = [block for block in blocks if block is not None]
        if len(fitting) == len(texts):
            return fitting
    raise AssertionError("with divided words every text fits")


@cache
def _load(path: str | None, size_px: float) -> Font:
    font = ImageFont.load_default(size_px) if path is None else ImageFont.truetype(path, size_px)
    assert isinstance(font, ImageFont.FreeTypeFont)  # Pillow's bitmap font has one size
    return font


def _has(font: Font, character: str) -> bool:
    mask, missing = font.getmask(character), font.getmask(NO_CHARACTER)
    return (mask.size, bytes(mask)) != (missing.size, bytes(missing)) and mask.getbbox() is not None


def _shown(character: str) -> str:
    return character if character.isprintable() else "(invisible)"


def _ink(line: str, font: Font) -> tuple[int, int, int, int]:
    """Return the box of a line around its start on the baseline: ink, and what it advances."""
    left, top, right, bottom = font.getbbox(line, anchor="ls")
    return min(0, int(left)), int(top), max(int(right), round(font.getlength(line) + 0.5)), int(bottom)


def _width(line: str, font: Font) -> int:
    left, _, right, _ = _ink(line, font)
    return right - left


def _measured(lines: tuple[str, ...], font: Font) -> Block:
    if not lines:
        return Block((), font, 0, 0, 0, 0)
    ascent, descent = font.getmetrics()
    boxes = [_ink(line, font) for line in lines]
    above = max(ascent, *(-top for _, top, _, _ in boxes))
    below = max(descent, *(bottom for _, _, _, bottom in boxes))
    line_px = above + below
    width = max(right - left for left, _, right, _ in boxes)
    return Block(lines, font, width, line_px * len(lines), above, line_px)


def _pieces(paragraph: str) -> list[str]:
    """Return a paragraph cut wherever a line may end; the pieces together are the paragraph."""
    pieces, start = [], 0
    for place, character in enumerate(paragraph, start=1):
        if character == " " or character in BREAK_AFTER:
            pieces.append(paragraph[start:place])
            start = place
    return [*pieces, paragraph[start:]]


def _most_that_fits(word: str, font: Font, width: int) -> int:
    """Return how many characters of a word fit, at least one; accents stay with their letters."""
    ends = [
        end for end in range(1, len(word) + 1) if end == len(word) or not unicodedata.combining(word[end])
    ]
    fitting = [end for end in ends if _width(word[:end], font) <= width]
    return max(fitting, default=ends[0])
