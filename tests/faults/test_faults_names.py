"""Names that are long, or hold any character that a file system takes; and clocks that go wrong."""

from __future__ import annotations

import csv
import os
import time
import unicodedata

import pytest
from fault_bench import STIMULI, Bench, bytes_of, write_image, write_manifest

from stimgen.runs.load import load_run

pytestmark = pytest.mark.slow

STRANGE = {
    "space and tab": "a b\tc",
    "quotes": 'it\'s "quoted"',
    "newline": "two\nlines",
    "leading dash": "-rf",
    "percent and braces": "100%s {x} $HOME",
    "brackets of a glob": "[abc]*",
    "rich markup": "[bold red]x",
    "umlaut in one character (NFC)": unicodedata.normalize("NFC", "Größe"),
    "umlaut in two characters (NFD)": unicodedata.normalize("NFD", "Größe"),
    "other scripts": "质感 текстура 🧱",
    "bytes that are no UTF-8": os.fsdecode(b"caf\xe9"),
    "comma and semicolon": "a,b;c",
    "255 bytes": "x" * 255,
}


@pytest.mark.parametrize("what", STRANGE)
def test_strange_folder(bench, fault, what):
    fault(
        f"folder with {what}",
        done="check, run, trials, figure in it and with --out to it, read back with load_run",
        expects="exit 0, the bytes of any other folder, and a trial list whose files are there",
    )
    folder = bench.folder / STRANGE[what]
    write_manifest(folder)
    here = Bench(folder, bench.launcher, fault, bench.reference)
    here.see(here.stimgen("check", "manifests/faults.yaml"), 0)
    here.see_same()
    assert here.stimgen("trials", here.results).code == 0
    assert here.stimgen("figure", here.results, "--out", folder / "figure.png").code == 0
    assert (folder / "figure.png").stat().st_size > 0
    out = folder / "again"
    assert bench.stimgen("run", folder / "manifests/faults.yaml", "--out", out).code == 0
    assert bytes_of(out) == bench.reference
    assert load_run(out).table["path"].map(os.path.isfile).all()
    with (out / "trials/rating.csv").open(encoding="utf-8", newline="") as file:
        images = [out / "trials" / row["image_file"] for row in csv.DictReader(file)]
    assert len(set(images)) == STIMULI
    assert all(image.is_file() for image in images)
    fault.saw("check, trials, figure and --out: exit 0")


@pytest.mark.parametrize("what", STRANGE)
def test_strange_sources(bench, fault, what):
    fault(
        f"source whose name has {what}",
        done="the images of a manifest found by a glob",
        expects="exit 0 with an id of letters and digits; exit 2 for a name that no table can hold",
    )
    stem = STRANGE[what][:251]
    images = bench.folder / "manifests" / "images"
    write_image(images / f"{stem}.png", 1)
    write_manifest(bench.folder, sources=[{"image": "images/*.png"}], trials=None)
    if what in ("space and tab", "newline", "bytes that are no UTF-8"):
        bench.see(bench.run(), 2, "no plain text", "rename")
        return
    bench.see(bench.run(), 0, "3 made")
    run = load_run(bench.results)
    (source,) = {record.source.id for record in run.records}
    assert source.isascii()
    fault.saw(f"id {source[:20]}{'…' if len(source) > 20 else ''}")
    bench.see(bench.run(), 0, "Nothing to do")


def test_both_forms_of_unicode(bench, fault):
    fault(
        "two sources with one name in two forms of Unicode",
        done="é.png in NFC and in NFD, found by one glob",
        expects="two sources with ids of their own, or exit 2 that names both",
    )
    for form, seed in (("NFC", 1), ("NFD", 2)):
        name = unicodedata.normalize(form, "caf\u00e9")
        write_image(bench.folder / "manifests" / "images" / f"{name}.png", seed)
    write_manifest(bench.folder, sources=[{"image": "images/*.png"}], trials=None)
    ran = bench.run()
    bench.see(ran, ran.code)
    if ran.code == 0:
        assert len({record.source.id for record in load_run(bench.results).records}) == 2
    else:
        assert ran.code == 2
        assert "taken by" in ran.errors


@pytest.mark.parametrize(
    ("where", "changes"),
    [
        ("the manifest", {"name": "n" * 65}),
        ("a source", {"sources": [{"id": "s" * 65, "image": "one.png"}]}),
        ("a layer set", {"layer_sets": {"c" * 65: ["conv1_1"]}}),
        ("a trial list", {"trials": {"design": "rating", "id": "t" * 65}}),
    ],
)
def test_long_id(bench, fault, where, changes):
    fault(
        f"name of {where} with 65 characters",
        done="stimgen check and run",
        expects="exit 2 with the place in the manifest and the limit, before anything is made",
    )
    write_manifest(bench.folder, **changes)
    ran = bench.stimgen("check", "manifests/faults.yaml")
    bench.see(ran, 2, "faults.yaml:", "64")
    assert bench.run().code == 2
    assert not (bench.folder / "results").exists()


def test_longest_ids(bench, fault):
    fault(
        "the longest ids that are allowed",
        done="64 characters for name, source, layer set and trial list, and the largest seed",
        expects="exit 0: all file names fit into 255 bytes",
    )
    sources = [{"id": letter * 64, "image": "one.png"} for letter in "ab"]
    trials = {"design": "rating", "id": "t" * 64, "min_source_gap": 0}
    write_manifest(
        bench.folder,
        name="n" * 64,
        sources=sources,
        layer_sets={"c" * 64: ["conv1_1"]},
        seeds=[2**32 - 1],
        trials=trials,
        controls=["original"],
    )
    bench.see(bench.run(), 0, "4 made")
    run = load_run(bench.folder / "results" / ("n" * 64))
    longest = max(len(os.fsencode(path.name)) for path in run.folder.rglob("*"))
    fault.saw(f"longest file name: {longest} bytes")
    assert longest <= 255


def test_name_of_the_run_folder_too_long(bench, fault):
    fault(
        "name of the run folder with 256 bytes",
        done="stimgen run --out x…x (128 characters of two bytes)",
        expects="exit 2 with the path and the cure, before anything is made",
    )
    bench.see(bench.run("--out", "ä" * 128), 2, "--out", "256")
    assert sorted(path.name for path in bench.folder.iterdir()) == ["manifests", "stderr", "stdout"]


def test_path_too_long(bench, fault):
    fault(
        "run folder whose files' paths have more than 4096 bytes",
        done="stimgen check and run in a folder of 4080 bytes",
        expects="exit 2 with the path and the cure, before anything is made",
    )
    length = 4080 - len("/results/faults") - len(str(bench.folder))
    above = bench.folder
    while length > 200:
        above /= "d" * 99
        length -= 100
    above /= "e" * (length - 1)
    manifests = above / "m"
    manifests.mkdir(parents=True)
    out = above / "results/faults"
    assert len(str(out)) == 4080
    bench.see(bench.run("--out", out), 2, "--out", "one-conv1_1-s1")
    assert not out.parent.exists()
    for image in ("one.png", "two.png"):
        write_image(manifests / image, 1)
    text = (bench.folder / "manifests" / "faults.yaml").read_text()
    (manifests / "f.yaml").write_text(text)
    bench.see(bench.stimgen("check", manifests / "f.yaml"), 2, "one-conv1_1-s1")


BACKWARDS = """
import time, datetime as module
from stimgen.runs import runner
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
import sys
for loaded in list(sys.modules.values()):
    if getattr(loaded, "__name__", "").startswith("stimgen") and hasattr(loaded, "datetime"):
        loaded.datetime = Backwards
"""


def test_clock_backwards(bench, fault):
    fault(
        "clock goes back",
        done="one hour back each time that the clock is read, during a run",
        expects="exit 0, the same bytes; the seconds of each stimulus are those that passed",
    )
    ran = bench.run(before=BACKWARDS)
    bench.see(ran, 0, "6 made")
    seconds = [record.made.seconds for record in load_run(bench.results).records]
    assert all(0 <= one < 60 for one in seconds)
    finished = [record.made.finished for record in load_run(bench.results).records]
    assert len(set(finished)) == len(finished), "the clock did not go back"
    fault.saw(f"made in {max(seconds):.0f} s at most")
    bench.see_same()


@pytest.mark.parametrize("years", [-30, 10])
def test_times_of_files(bench, fault, years):
    when = "future" if years > 0 else "past"
    fault(
        f"files from the {when}",
        done=f"all files of a finished run dated {abs(years)} years into the {when}, one image removed",
        expects="one made, five kept: no date counts",
    )
    bench.see_same()
    date = time.time() + years * 365 * 86400
    for path in bench.results.rglob("*"):
        os.utime(path, (date, date))
    (bench.results / "stimuli" / "two-conv1_1-s1.png").unlink()
    bench.see(bench.run(), 0, "1 made, 5 kept")
    bench.see_same()
