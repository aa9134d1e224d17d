"""Names that are long, or hold any character that a file system takes; and clocks that go wrong."""

from __future__ import annotations

import csv
import os
import time
from dataclasses import replace

import pytest
from fault_bench import STIMULI, write_image, write_manifest

from stimgen.runs.load import load_run

STRANGE = {
    "markup": '-rf [bold red]*x,"100%s" {y} $HOME; it\'s',
    "newline": "two\nlines",
    "other scripts": "质感 текстура 🧱",
    "no UTF-8": os.fsdecode(b"caf\xe9"),
    "255 bytes": "x" * 255,
}
BACKWARDS = """
import sys, time, datetime as module
from stimgen.runs import make, results
start = time.time()
calls = 0
def backwards():
    global calls
    calls += 1
    return start - 3600.0 * calls
time.time = backwards
class Backwards(module.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(backwards(), tz)
for loaded in list(sys.modules.values()):
    if getattr(loaded, "__name__", "").startswith("stimgen") and hasattr(loaded, "datetime"):
        loaded.datetime = Backwards
"""


@pytest.mark.parametrize("name", STRANGE.values(), ids=STRANGE)
def test_run_in_a_folder_with_a_strange_name(bench, name):
    strange = replace(bench, folder=bench.folder / name)
    write_manifest(strange.folder)
    strange.check_same()
    strange.check(strange.stimgen("trials", strange.results), 0)
    strange.check(strange.stimgen("figure", strange.results, "--out", strange.folder / "figure.png"), 0)
    assert load_run(strange.results).table["path"].map(os.path.isfile).all()
    with (strange.results / "trials" / "rating.csv").open(encoding="utf-8", newline="") as file:
        images = {strange.results / "trials" / row["image_file"] for row in csv.DictReader(file)}
    assert len(images) == STIMULI
    assert all(image.is_file() for image in images)


@pytest.mark.parametrize("name", STRANGE.values(), ids=STRANGE)
def test_source_with_a_strange_name(bench, name):
    write_image(bench.folder / "manifests" / "images" / f"{name[:251]}.png", 1)
    write_manifest(bench.folder, sources=[{"image": "images/*.png"}], trials=None, seeds=[1])
    if name in (STRANGE["newline"], STRANGE["no UTF-8"]):
        bench.check(bench.run(), 2, "no plain text", "rename")
        return
    bench.check(bench.run(), 0, "2 made")
    (source,) = {record.source.id for record in load_run(bench.results).records}
    assert source.isascii()


@pytest.mark.parametrize("length", [64, 65])
def test_longest_ids(bench, length):
    write_manifest(
        bench.folder,
        name="n" * 64,
        sources=[{"id": letter * length, "image": "one.png"} for letter in "ab"],
        layer_sets={"c" * 64: ["conv1_1"]},
        seeds=[2**32 - 1],
        trials={"design": "rating", "id": "t" * 64, "min_source_gap": 0},
    )
    if length == 65:
        bench.check(bench.run(), 2, "faults.yaml:", "64")
        assert not bench.results.parent.exists()
        return
    bench.check(bench.run(), 0, "4 made")
    run = load_run(bench.folder / "results" / ("n" * 64))
    assert max(len(os.fsencode(path.name)) for path in run.folder.rglob("*")) <= 255


def test_name_of_the_run_folder_too_long(bench):
    bench.check(bench.run("--out", "ä" * 128), 2, "--out", "256")
    assert sorted(path.name for path in bench.folder.iterdir()) == ["manifests"]


def test_paths_of_the_run_folder_too_long(bench):
    length = 4080 - len(str(bench.folder))
    above = bench.folder
    while length > 200:
        above /= "d" * 99
        length -= 100
    above.mkdir(parents=True)
    out = above / ("e" * (length - 1))
    assert len(str(out)) == 4080
    bench.check(bench.run("--out", out), 2, "--out", "one-conv1_1-s1")
    assert list(above.iterdir()) == []


def test_clock_that_goes_back(bench):
    bench.check(bench.run(before=BACKWARDS), 0, "6 made")
    made = [record.made for record in load_run(bench.results).records]
    assert all(0 <= stimulus.seconds < 60 for stimulus in made)
    assert len({stimulus.finished for stimulus in made}) == len(made), "the clock did not go back"
    bench.check_same()


def test_files_from_the_past_and_the_future(bench):
    bench.check_same()
    for number, path in enumerate(sorted(bench.results.rglob("*"))):
        date = time.time() + (-30 if number % 2 else 10) * 365 * 86400
        os.utime(path, (date, date))
    (bench.results / "stimuli" / "two-conv1_1-s1.png").unlink()
    bench.check(bench.run(), 0, "1 matched again, 5 kept")
    bench.check_same()
