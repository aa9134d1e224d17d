"""Texts that a spreadsheet, pandas, PsychoPy or a terminal would evaluate."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from stimgen.cli.errors import say
from stimgen.decoding.dataset import find_images
from stimgen.errors import InputError, printable
from stimgen.manifest.schema import AcceptSpec
from stimgen.runs.csv_files import harmless, table_of, to_csv
from stimgen.runs.store import RunFolder
from stimgen.runs.tables import Failure, write_tables

EVALUATED = [
    "=1+1", "@x", "+1", "-x", " =1", "\t=1", '"=1"', "'=1", "[1, 2]", "(1, 2)", "{1}", "#N/A", "<NA>", "$x",
    "None", "nan", "NA", "null", "True", "Infinity", "-inf", "1e5", "1,5", ".5", "0x10", "007", "1/2", "1:30",
    "2015-01-01", "50%", "1_000", "10000000000000000",
]  # fmt: skip
HARMLESS = ["conv1_1 pool1", "histogram=source", "./w.pth", "a=1", "no progress", "42", "-1", "1980s", "e5"]


def test_text_that_a_spreadsheet_would_evaluate_gets_an_apostrophe() -> None:
    assert [harmless(text) for text in EVALUATED] == [f"'{text}" for text in EVALUATED]
    assert [harmless(text) for text in HARMLESS] == HARMLESS


@given(
    st.lists(
        st.sampled_from([*EVALUATED, *HARMLESS])
        | st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)
        | st.text("=+-@[](){}'\"#$%0123456789.eE,:/ aN", min_size=1, max_size=6),
        min_size=1,
        max_size=5,
    )
)
@settings(deadline=None, max_examples=100)
@example(["=1", "None"])
@example(["'", "''", '"'])
def test_pandas_reads_the_same_texts_back(texts: list[str]) -> None:
    table = pd.DataFrame({"n": range(len(texts)), "text": texts})
    read = pd.read_csv(io.StringIO(to_csv(table)), dtype={"n": "int64"})
    assert [str(cell).removeprefix("'") for cell in read["text"]] == texts
    assert table["text"].tolist() == texts
    for cell in (harmless(text) for text in texts):
        assert not cell.strip().startswith(("=", "+", "@", "[", "(", "{"))
        if not cell.lstrip("-").isdigit():
            with pytest.raises(ValueError, match="could not convert"):
                float(cell)


def test_control_characters_and_undecodable_bytes_are_escaped() -> None:
    assert harmless("a\x1b[31m\0\x9b") == r"a\x1b[31m\x00\x9b"
    assert harmless(os.fsdecode(b"\xff.png")) == r"\udcff.png"
    to_csv(table_of([{"file": os.fsdecode(b"\xff.png")}])).encode()


@pytest.mark.parametrize("text", ["=1+1", "None", "\x1b[31m", "a\n=1"])
def test_messages_in_the_table_of_failures_are_escaped(text: str, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.prepare()
    write_tables(folder, [], [Failure("brick-a-s1", text, f"{text} and more")], AcceptSpec())
    cells = pd.read_csv(tmp_path / "failures.csv").loc[0]
    assert cells["error"] == harmless(" ".join(text.replace(",", ";").split()))
    assert not str(cells["cure"]).startswith(("=", "["))


def test_messages_have_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    lost = os.fsdecode(b"caf\xe9")
    say(f"no file \x1b]0;title\x07 {lost}\nline\ttab é")
    assert capsys.readouterr().err == "no file \\x1b]0;title\\x07 caf\\udce9\nline\ttab é\n"
    assert printable("plain") == "plain"


@pytest.mark.parametrize("name", [b"a\x1b[31m.png", b"\xff.png"])
@pytest.mark.parametrize("part", ["file", "class"])
def test_names_of_images_and_classes_must_be_plain_text(name: bytes, part: str, tmp_path: Path) -> None:
    strange = os.fsdecode(name)
    for label in ("a", strange if part == "class" else "b"):
        (tmp_path / label).mkdir()
        file = strange if part == "file" else "image.png"
        Image.new("L", (8, 8)).save(tmp_path / label / file)
    with pytest.raises(InputError, match="is no plain text") as caught:
        find_images(tmp_path)
    assert str(caught.value).replace("\n", "").isprintable()
