from __future__ import annotations

import pytest

from stimgen.errors import InputError
from stimgen.report.finished import read_run


def test_names_are_in_the_order_of_the_manifest(tiny):
    assert tiny.name == "tiny"
    assert tiny.conditions == ("pool1", "pool2", "original", "scrambled")
    assert tiny.sources == ("brick", "grass")
    assert tiny.seeds == ("1", "2")
    assert tiny.originals == {"original"}
    assert tiny.units == {"ppd": "px/deg"}
    assert len(tiny.rows) == 14


def test_names_that_only_the_table_has_come_last(folder):
    manifest = folder / "manifest.resolved.yaml"
    manifest.write_text(manifest.read_text("utf-8").replace("  pool1: {}\n", ""), "utf-8")
    assert read_run(folder).conditions == ("pool2", "original", "scrambled", "pool1")


def test_a_run_without_a_data_dictionary_has_no_units(folder):
    (folder / "stimuli.json").unlink()
    assert read_run(folder).units == {}


def test_what_is_no_folder_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"There is no folder .*nowhere"):
        read_run(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["stimuli.csv", "manifest.resolved.yaml"])
def test_a_missing_file_is_an_error_with_a_cure(folder, name):
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"There is no {name} in .*\n.*stimgen run"):
        read_run(folder)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("stimuli.csv", b"", "no rows"),
        ("stimuli.csv", b"stimulus_id,filename\n", "no rows"),
        ("stimuli.csv", b"stimulus_id,filename\na,b\n", "no column source"),
        ("stimuli.csv", b"\xff\xfe", "cannot be read"),
        ("stimuli.json", b"[1]", "not a data dictionary"),
        ("stimuli.json", b"{", "not a data dictionary"),
        ("manifest.resolved.yaml", b"- 1", "not a resolved manifest"),
        ("manifest.resolved.yaml", b"{", "not a resolved manifest"),
        (
            "manifest.resolved.yaml",
            b"name: x\nlayer_sets: {}\nseeds: [1]\nsources: [brick]\n",
            "not a resolved",
        ),
    ],
)
def test_a_damaged_file_is_an_error_with_a_cure(folder, name, content, message):
    (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{message}(.|\n)*stimgen run"):
        read_run(folder)
