from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from stimgen.errors import InputError
from stimgen.report import labels
from stimgen.report.labels import SMALLEST_FONT_PX, Typeface, find_typeface, fit, lay_out, normalised

OWN = Typeface(None)
ASCII = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60).map(normalised)


def total_ink(image):
    return int((255 - np.asarray(image).astype(int)).sum())


def unbounded_ink(lines, font):
    """Return the ink of lines that are drawn where nothing can cut them off."""
    found = 0
    for line in lines:
        canvas = Pillow.new("L", (3000, 300), "white")
        ImageDraw.Draw(canvas).text((300, 150), line, font=font, fill=0, anchor="ls")
        found += total_ink(canvas)
    return found


@settings(deadline=None, max_examples=60)
@given(
    text=ASCII,
    width=st.integers(16, 200),
    size=st.integers(9, 30),
    align=st.sampled_from(["centre", "right"]),
)
def test_no_ink_is_cut_off_and_no_character_lost(text, width, size, align):
    font = OWN.at(size)
    block = lay_out(text, font, width, break_words=True)
    assert "".join("".join(block.lines).split()) == "".join(text.split())
    assert all(line == line.strip() for line in block.lines)
    if not text:
        assert (block.width, block.height) == (0, 0)
        return
    image = block.image(align)
    assert image.size == (block.width, block.height)
    assert total_ink(image) == unbounded_ink(block.lines, font)
    widest = max(ImageDraw.Draw(image).textlength(character, font) for character in text)
    assert block.width <= max(width, widest + 2)


def test_lines_end_between_words_and_after_underscores():
    font = OWN.at(12)
    block = lay_out("phase_scrambled twice", font, 70, break_words=False)
    assert block.lines == ("phase_", "scrambled", "twice")
    assert lay_out("phase_scrambled", font, 200, break_words=False).lines == ("phase_scrambled",)
    assert lay_out("one\ntwo", font, 200, break_words=False).lines == ("one", "two")
    assert lay_out("scrambled", font, 20, break_words=False) is None


def test_letters_get_smaller_before_words_are_divided_and_all_have_one_size():
    large = fit([("scrambled", 200), ("b", 200)], OWN, 20)
    small = fit([("scrambled", 60), ("b", 60)], OWN, 20)
    divided = fit([("scrambled", 20), ("b", 20)], OWN, 20)
    assert [block.font.size for block in large] == [20, 20]
    assert SMALLEST_FONT_PX < small[0].font.size == small[1].font.size < 20
    assert small[0].lines == ("scrambled",)
    assert [block.font.size for block in divided] == [SMALLEST_FONT_PX] * 2
    assert len(divided[0].lines) > 1


def test_accents_are_composed_and_stay_with_their_letters():
    assert normalised("Gro\u0308\u00dfe") == "Gr\u00f6\u00dfe"
    divided = lay_out("x\u0301" * 20, OWN.at(9), 30, break_words=True)
    assert all(line.startswith("x") for line in divided.lines)


def test_a_character_that_no_font_has_is_named(monkeypatch):
    monkeypatch.setattr(labels, "SYSTEM_FONTS", ("no-such-font.ttf",))
    assert find_typeface(["pool4, 177k"]) == OWN
    with pytest.raises(InputError, match=r"α U\+03B1\.\n.*--font"):
        find_typeface(["pool4 α"])
    with pytest.raises(InputError, match=r"\(invisible\) U\+0007"):
        find_typeface(["a\x07"])


def test_characters_beyond_pillows_own_font_are_found_in_one_of_the_system():
    try:
        ImageFont.truetype("DejaVuSans.ttf", 12)
    except OSError:
        pytest.skip("needs the font DejaVu Sans")
    typeface = find_typeface(["Größe α"])
    assert typeface.name != OWN.name
    font = typeface.at(20)
    alpha, beta = (lay_out(letter, font, 99, break_words=False).image("right") for letter in "αβ")
    assert total_ink(alpha) != total_ink(beta)
    assert min(total_ink(alpha), total_ink(beta)) > 0


def test_a_font_file_is_used_for_all_characters(tmp_path):
    file = tmp_path / "own.ttf"
    file.write_bytes(ImageFont.load_default(10).path.getvalue())
    assert find_typeface(["pool4"], file).name == OWN.name
    with pytest.raises(InputError, match=r"own\.ttf has these characters"):
        find_typeface(["日"], file)


@pytest.mark.parametrize("content", [None, b"not a font"])
def test_a_file_that_is_no_font_is_an_error(tmp_path, content):
    file = tmp_path / "font.ttf"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=r"--font .*font\.ttf.*\n.*TrueType"):
        find_typeface(["a"], file)
