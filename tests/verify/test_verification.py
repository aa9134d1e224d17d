"""Every kind of tampering is found, and exactly what was tampered with is named."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import stat
import subprocess
import sys
import zlib
from dataclasses import replace

import numpy as np
import pytest
import yaml
from PIL import Image as Pillow
from run_manifests import tiny, write_manifest
from skimage import data
from typer.testing import CliRunner

from stimgen.cli import app
from stimgen.errors import InputError, StimgenError
from stimgen.images.png import encode_png
from stimgen.runs.record import SEAL, content_sha256
from stimgen.runs.runner import run
from stimgen.runs.store import RunFolder, sha256
from stimgen.verify.finding import RUN, Finding
from stimgen.verify.report import sentences
from stimgen.verify.run import verify_run

IDS = [
    "brick-pool1-s1",
    "brick-pool1-s2",
    "brick-original",
    "brick-phase_scrambled-s1",
    "brick-phase_scrambled-s2",
]
ID = IDS[0]
PNG, RECORD, TABLE, LONG = f"stimuli/{ID}.png", f"records/{ID}.json", "stimuli.csv", "gram_distances.csv"
LIST = {"design": "oddity", "crop_px": 16, "repeats": 3, "min_source_gap": 0}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished run with a source file of its own and a trial list; copy it before changing it."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "manifests").mkdir()
    Pillow.fromarray(data.brick()[:64, :64]).save(folder / "manifests" / "brick.png")
    sources = [{"id": "brick", "image": "brick.png"}]
    result = run(tiny(folder, sources=sources, layer_sets={"pool1": ["conv1_1", "pool1"]}, trials=LIST))
    assert (result.made, len(result.trial_lists)) == (5, 1)
    return folder


@pytest.fixture
def there(made, tmp_path):
    """A copy of the run with its source where it was."""
    shutil.copytree(made, tmp_path / "copy")
    return RunFolder(tmp_path / "copy" / "results" / "tiny")


def stimgen(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="stimgen")


def found(folder, severity="wrong"):
    return by_file(verify_run(folder.path), severity)


def by_file(result, severity="wrong"):
    """Return by file what is wrong with it."""
    files = {}
    for one in result.findings:
        if one.severity == severity:
            files[one.file] = "; ".join([*([files[one.file]] if one.file in files else []), one.problem])
    return files


def edit_record(folder, stimulus_id=ID, *, seal=True, **changes):
    """Forge a record: a seal that is computed anew hides that it was altered."""
    path = folder.record(stimulus_id)
    content = json.loads(path.read_bytes())
    for place, value in changes.items():
        *steps, last = place.split("__")
        part = content
        for step in steps:
            part = part[int(step)] if step.isdigit() else part[step]
        part[last] = value
    if seal:
        content[SEAL] = content_sha256(content)
    path.write_text(json.dumps(content, indent=1) + "\n")


def change_pixel(folder, stimulus_id=ID):
    pixels = np.array(Pillow.open(folder.png(stimulus_id)))
    pixels[3, 4] ^= 1
    folder.png(stimulus_id).write_bytes(encode_png(pixels))
    return sha256(folder.png(stimulus_id).read_bytes())


def edit_lines(path, change):
    lines = path.read_text("utf-8").splitlines(keepends=True)
    path.write_text("".join(change(lines)), "utf-8")


def edit_cell(path, row, column, value):
    cells = list(csv.reader(io.StringIO(path.read_text("utf-8"))))
    cells[row][cells[0].index(column)] = value
    path.write_text("".join(",".join(line) + "\n" for line in cells), "utf-8")


def sealed(**changes):
    """Return a change of the record of ID that is hidden by a new seal."""
    return lambda folder: edit_record(folder, **changes)


def altered(**changes):
    """Return a change of the record of ID that its seal shows."""
    return lambda folder: edit_record(folder, seal=False, **changes)


def lines(file, change):
    return lambda folder: edit_lines(folder.path / file, change)


def cell(file, row, column, value):
    return lambda folder: edit_cell(folder.path / file, row, column, value)


def summary_with(**changes):
    """Return a change of run.json; a value of None leaves the key out."""

    def tamper(folder):
        path = folder.path / "run.json"
        content = json.loads(path.read_bytes()) | changes
        path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))

    return tamper


def without(*keys):
    """Return a change of the record of ID that takes a value out and hides it by a new seal."""

    def tamper(folder):
        content = part = json.loads(folder.record(ID).read_bytes())
        for key in keys[:-1]:
            part = part[key]
        del part[keys[-1]]
        if keys != (SEAL,):
            content[SEAL] = content_sha256(content)
        folder.record(ID).write_text(json.dumps(content))

    return tamper


def line_ends(folder):
    (folder.path / TABLE).write_bytes((folder.path / TABLE).read_bytes().replace(b"\n", b"\r\n"))


def replaced(file, old, new):
    def tamper(folder):
        path = folder.path / file
        path.write_text(path.read_text("utf-8").replace(old, new), "utf-8")

    return tamper


def exchanged(folder):
    """Exchange the PNG files of two stimuli, with the hashes in their records."""
    other = "brick-pool1-s2"
    one, two = folder.png(ID).read_bytes(), folder.png(other).read_bytes()
    folder.png(ID).write_bytes(two)
    folder.png(other).write_bytes(one)
    edit_record(folder, png_sha256=sha256(two))
    edit_record(folder, other, png_sha256=sha256(one))


def copied(source, target, *kinds):
    """Return the copying of files of one stimulus to those of another."""

    def tamper(folder):
        for kind in kinds:
            shutil.copy(getattr(folder, kind)(source), getattr(folder, kind)(target))

    return tamper


def linked(name):
    def tamper(folder):
        path, target = folder.path / name, folder.path.parent / "elsewhere"
        path.rename(target)
        path.symlink_to(target)

    return tamper


def pipe(folder):
    folder.png(ID).unlink()
    os.mkfifo(folder.png(ID))


def chunk(folder):
    """Add a text to the PNG file; no pixel changes."""
    path, body = folder.png(ID), b"tEXtTitle\0mine"
    content = path.read_bytes()
    added = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    path.write_bytes(content[:33] + added + content[33:])


def other_weights(folder):
    networks = json.loads((folder.path / "run.json").read_bytes())["networks"]
    networks[0]["tensors_sha256"] = "0" * 64
    summary_with(networks=networks)(folder)


def mend(folder, result):
    """Follow the hints of the verification."""
    cures = {cure for one in result.findings for cure in one.cures}
    for one in result.findings:
        path = folder.path / one.file
        if "remove" in one.cures and os.path.lexists(path):
            path.rename(folder.path.parent / path.name)
    if "run" in cures:
        done = stimgen("run", folder.path.parents[1] / "manifests" / "tiny.yaml", "--out", folder.path)
        assert done.exit_code == 0, done.output
    elif "tables" in cures:
        assert stimgen("tables", folder.path).exit_code == 0


ALTERED = {RECORD: "was altered after it was written: its record_sha256"}
OTHER, LIST_FILE = "brick-pool1-s2", "trials/oddity.csv"
ANOTHER_MANIFEST = "is not the one that the run was made with"
STRANGE = "not of a stimulus that the manifest asks for"
HASHES = {TABLE: f"row 1 ({ID}), column", "run.json": "stimuli_sha256", LIST_FILE: "_sha256"}
TAMPERING = {
    "pixel": (change_pixel, {PNG: "was altered"}),
    "pixel_and_hash": (lambda folder: edit_record(folder, png_sha256=change_pixel(folder)), HASHES),
    "distance": (
        sealed(statistics__gram_relative_pool1=0.001),
        {RECORD: "on pool1 do not go together", LONG: f"({ID})", TABLE: f"row 1 ({ID}), column gram_"},
    ),
    "layer_weight": (
        sealed(synthesis__layer_weights={"conv1_1": 1.0, "pool1": 2.0}),
        {RECORD: '"pool1": 2.0}, and the manifest says'},
    ),
    "recipe_hash": (sealed(recipe_sha256="0" * 64), {RECORD: "recipe_sha256"}),
    "crop": (sealed(source__crop_box=[1, 0, 63, 63]), {RECORD: "crop"}),
    "weights_hash": (
        sealed(network__tensors_sha256="0" * 64),
        {RECORD: "contradicts itself", TABLE: "column weights_sha256", LONG: "column constrained"},
    ),
    "no_floor": (without("statistics", "gram_floor_pool1"), {RECORD: "gram_floor_pool1 is missing"}),
    "unknown_value": (sealed(statistics__gram_relative_pool9=0.5), {RECORD: "pool9"}),
    "altered_luminance": (altered(statistics__luminance_mean=0.25), ALTERED),
    "no_seal": (without(SEAL), {RECORD: "has no record_sha256"}),
    "damaged_record": (lambda folder: folder.record(ID).write_text("{"), {RECORD: "is damaged"}),
    "cell": (
        cell(TABLE, 3, "luminance_mean", "0.5"),
        {TABLE: f'row 3 ({IDS[2]}), column luminance_mean: "0.5" is there'},
    ),
    "correlation": (
        cell(TABLE, 3, "seed_correlation", "0.25"),
        {TABLE: f"row 3 ({IDS[2]}), column seed_correlation"},
    ),
    "row": (lines(TABLE, lambda found: found[:3] + found[4:]), {TABLE: f"lacks the rows of {IDS[2]}"}),
    "order": (
        lines(TABLE, lambda found: [*found[:2], found[3], found[2], *found[4:]]),
        {TABLE: f"row 2 is of {IDS[2]}, and one of {IDS[1]} belongs there"},
    ),
    "missing_value": (
        without("statistics", "luminance_mean"),
        {RECORD: "lacks measured values: luminance_mean"},
    ),
    "cut_off": (
        lambda folder: (folder.path / TABLE).write_bytes((folder.path / TABLE).read_bytes()[:-1]),
        {TABLE: "line ends"},
    ),
    "line_ends": (line_ends, {TABLE: "line ends"}),
    "long_cell": (
        cell(LONG, 8, "gram_relative", "0.5"),
        {LONG: f"row 8 ({IDS[1]}), column gram_relative"},
    ),
    "long_row": (lines(LONG, lambda found: found[:-1]), {LONG: f"has too few rows of {IDS[4]}"}),
    "long_order": (
        lines("spectra.csv", lambda found: [found[0], *reversed(found[1:])]),
        {"spectra.csv": f"row 1 is of {IDS[4]}, and one of {ID} belongs there"},
    ),
    "dictionary": (
        replaced("stimuli.json", "Side of the square image", "Side"),
        {"stimuli.json": "data dictionary"},
    ),
    "no_png": (lambda folder: folder.png(ID).unlink(), {PNG: "is missing"}),
    "no_record": (lambda folder: folder.record(ID).unlink(), {RECORD: "is missing"}),
    "no_table": (lambda folder: (folder.path / "spectra.csv").unlink(), {"spectra.csv": "is missing"}),
    "exchanged": (exchanged, HASHES),
    "renamed": (copied(OTHER, ID, "record", "png"), {RECORD: f"is the record of {OTHER}"}),
    "extra_png": (copied(ID, "brick-pool1-s3", "png"), {"stimuli/brick-pool1-s3.png": STRANGE}),
    "link": (linked(PNG), {PNG: "is a symbolic link"}),
    "pipe": (pipe, {PNG: "is not a regular file"}),
    "linked_folder": (linked("stimuli"), {"stimuli": "is a symbolic link"}),
    "manifest_given": (
        lambda folder: (folder.path / "manifest.yaml").write_text("stimgen: 1\n"),
        {"manifest.yaml": ANOTHER_MANIFEST},
    ),
    "trial": (
        cell(LIST_FILE, 2, "left_sha256", "sha256:" + "0" * 64),
        {LIST_FILE: "row 2, column left_sha256"},
    ),
    "list_deleted": (lambda folder: (folder.path / LIST_FILE).unlink(), {LIST_FILE: "is missing"}),
    "list_added": (
        lambda folder: (folder.trials / "mine.csv").write_text("a,b\n1,2\n"),
        {"trials/mine.csv": "is no trial list"},
    ),
    "chunk": (chunk, {PNG: "was altered"}),
    "negative_counts": (summary_with(made=-1, kept=6), {"run.json": "says made: -1"}),
    "counts": (summary_with(rejected=3), {"run.json": "rejected: 3, and it is 0"}),
    "other_weights": (other_weights, {"run.json": "does not name the weights of vgg16"}),
}


def test_an_untouched_run_is_right(there):
    there.figures.mkdir()
    (there.figures / "condition-by-source.png").write_bytes(b"a figure is not of the run")
    result = verify_run(there.path)
    assert result.findings == ()
    assert result.right
    assert (result.planned, result.verified) == (5, 5)


@pytest.mark.parametrize("name", TAMPERING)
def test_tampering_is_found_and_the_file_is_named(there, name):
    tamper, expected = TAMPERING[name]
    tamper(there)
    result = verify_run(there.path)
    wrong = by_file(result)
    assert wrong.keys() == expected.keys()
    for file, words in expected.items():
        assert words in wrong[file]
    assert not result.right
    mend(there, result)
    assert verify_run(there.path).right
    # A hash of the set is said only where every stimulus is right and there are no others.
    assert (result.stimuli_sha256 is None) == any(
        file in ("stimuli", RECORD) or file.startswith("stimuli/") for file in expected
    )


def with_gamma(png):
    return (
        png[:33] + b"\0\0\0\4gAMA\0\0\xb1\x8f" + zlib.crc32(b"gAMA\0\0\xb1\x8f").to_bytes(4, "big") + png[33:]
    )


FORGED_PNGS = {
    "no picture": (lambda png: b"hello", "cannot be read as a stimulus"),
    "another size": (lambda png: encode_png(np.zeros((16, 16), np.uint8)), "is 16 × 16 px"),
    "colour": (lambda png: encode_png(np.zeros((32, 32, 3), np.uint8)), "is rgb, and the record says grey"),
    "gamma": (with_gamma, "has gAMA beside its pixels"),
}


@pytest.mark.parametrize("name", FORGED_PNGS)
def test_png_that_is_no_stimulus_is_found_whatever_its_record_says(there, name):
    """The record has its hash and a new seal, and the tables follow from the record."""
    forge, words = FORGED_PNGS[name]
    content = forge(there.png("brick-original").read_bytes())
    there.png("brick-original").write_bytes(content)
    edit_record(there, "brick-original", png_sha256=sha256(content))
    stimgen("tables", there.path)
    assert words in found(there)["stimuli/brick-original.png"]


def test_an_edited_manifest_is_named_and_so_is_what_it_no_longer_fits(there):
    path = there.path / "manifest.resolved.yaml"
    resolved = yaml.safe_load(path.read_text("utf-8"))
    resolved["layer_sets"]["pool1"]["layer_weights"]["pool1"] = 2.0
    path.write_text(yaml.safe_dump(resolved, sort_keys=False), "utf-8")
    assert found(there).keys() == {
        "manifest.resolved.yaml",
        *(f"records/brick-pool1-s{n}.json" for n in (1, 2)),
    }


def test_a_source_that_was_altered_is_a_warning(there):
    source = there.path.parents[1] / "manifests" / "brick.png"
    Pillow.fromarray(data.brick()[:64, 1:65]).save(source)
    result = verify_run(there.path)
    (warning,) = result.findings
    assert (warning.severity, warning.file) == ("warning", "../../manifests/brick.png")
    assert sha256(source.read_bytes()) in warning.problem
    assert result.right


def test_a_run_is_verified_where_its_sources_and_weights_are_not(made, tmp_path):
    shutil.copytree(made / "results" / "tiny", tmp_path / "archive")
    result = verify_run(tmp_path / "archive")
    assert result.right
    assert result.stimuli_sha256 == verify_run(made / "results" / "tiny").stimuli_sha256
    (finding,) = result.findings
    assert (finding.severity, "not at hand" in finding.problem) == ("unchecked", True)


WIDE = {
    "image": {"size_px": 32, "color": "rgb"},
    "sources": [{"id": "coffee", "image": "skimage:coffee"}, {"image": "skimage:rocket", "crop": "random"}],
    "layer_sets": {
        "few": {"layers": ["conv1_1", "pool1"], "components": 4, "layer_weights": {"pool1": 0.5}},
        "max": {"layers": ["pool1"], "network": {"pooling": "max"}},
    },
    "seeds": [7],
    "controls": [
        "original",
        "pixel_shuffled",
        "noise",
        "spectrum_matched_set",
        {"name": "block_shuffled", "block_px": 8},
        {"name": "random_weights", "id": "untrained", "layer_set": "max"},
    ],
    "matching": {"histogram": "set", "full_spectrum": "source", "iterations": 2},
}


def test_a_manifest_with_a_bit_of_everything_is_right(tmp_path):
    measure = {"network": "manifest", "layers": ["conv1_2"], "copying": False}
    folder = RunFolder(run(tiny(tmp_path, **WIDE, measure=measure)).folder)
    result = verify_run(folder.path)
    assert result.findings == ()
    assert (result.planned, result.verified) == (16, 16)
    changed = folder.read_record("rocket-few-s7")
    edit_record(folder, "rocket-few-s7", source__sha256="0" * 64)
    wrong = by_file(verify_run(folder.path))
    assert wrong.keys() == {f"records/{changed.stimulus_id}.json", TABLE}
    assert "names the source rocket differently from other records" in wrong["records/rocket-few-s7.json"]


@pytest.mark.parametrize("key", ["versions", "manifest_sha256"])
def test_a_summary_that_lacks_something_is_mended_by_a_run(there, key):
    summary_with(**{key: None})(there)
    result = verify_run(there.path)
    (finding,) = result.findings
    assert (finding.severity, finding.problem.startswith(f"lacks {key}:")) == ("incomplete", True)
    mend(there, result)
    assert verify_run(there.path).findings == ()


def test_what_a_stranger_wrote_steers_neither_a_shell_nor_a_terminal(there):
    there.png(ID).unlink()
    there.record(ID).unlink()
    escapes = "\x1b[2J\x1b[Hall right"
    (there.path / "failures.csv").write_text(f'stimulus_id,error,cure\n{ID},"{escapes}\nall right",\n')
    stimgen("tables", there.path)
    summary_with(overrides={"network": "vgg16; touch PWNED", "seeds": [1, 2], "x": "$(y)"})(there)
    said = stimgen("verify", there.path).stdout
    assert "\x1b" not in said
    assert "could not be made: \\x1b[2J\\x1b[Hall right all right" in said
    assert "PWNED" not in said
    assert "$(" not in said
    assert f"stimgen run MANIFEST --seeds 1,2 --out {there.path}" in said


def test_a_run_that_would_replace_what_is_right_is_not_advised_without_saying_so(there):
    source = there.path.parents[1] / "manifests" / "brick.png"
    Pillow.fromarray(data.brick()[:64, 1:65]).save(source)
    assert "To mend it" not in stimgen("verify", there.path).stdout
    change_pixel(there)
    *_, cure, again = stimgen("verify", there.path).stdout.splitlines()
    assert cure.startswith("  put back ")
    assert cure.endswith("brick.png: of what is another file now, everything is made anew")
    assert again.startswith("  stimgen run MANIFEST --out ")


def test_many_findings_of_one_kind_are_told_in_a_few_lines(there):
    for name in IDS:
        change_pixel(there, name)
    lines = stimgen("verify", there.path).stdout.splitlines()
    assert sum(line.startswith("WRONG") for line in lines) == 5
    more = [Finding("wrong", f"stimuli/{n}.png", f"was altered: {n}", RUN) for n in range(500)]
    result = replace(verify_run(there.path), findings=tuple(more))
    told = [line for line in sentences(result) if line.startswith("WRONG")]
    assert told[:3] == [f"WRONG  stimuli/{n}.png: was altered: {n}" for n in range(3)]
    names = "stimuli/3.png, stimuli/4.png, stimuli/5.png"
    assert told[3:] == [f"WRONG  {names} and 494 more: likewise (--json tells each)"]


@pytest.mark.parametrize("content", ["{", '{"made": "x", "networks": 3}'])
def test_a_damaged_summary_is_named(there, content):
    (there.path / "run.json").write_text(content)
    assert found(there).keys() == {"run.json"}


def test_verification_writes_nothing_and_works_in_a_read_only_folder(there):
    before = {path: path.stat().st_mtime_ns for path in [there.path, *there.path.rglob("*")]}
    for path in before:
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    try:
        assert stimgen("verify", there.path).exit_code == 0
    finally:
        for path in before:
            path.chmod(path.stat().st_mode | stat.S_IWUSR)
    assert {path: path.stat().st_mtime_ns for path in [there.path, *there.path.rglob("*")]} == before


def test_verification_does_without_torch(there):
    script = (
        "import sys\nfrom pathlib import Path\nfrom stimgen.verify.run import verify_run\n"
        "assert verify_run(Path(sys.argv[1])).right\nassert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script, there.path], check=True)


def test_a_run_at_work_is_waited_for(there):
    with there.locked(), pytest.raises(StimgenError, match="A stimgen run is at work"):
        verify_run(there.path)
    assert verify_run(there.path).right


def test_what_is_no_run_is_refused(tmp_path, there):
    with pytest.raises(InputError, match="holds no stimgen run"):
        verify_run(tmp_path)
    with pytest.raises(InputError, match="is no folder"):
        verify_run(tmp_path / "nope")
    (there.path / "manifest.resolved.yaml").write_text("stimgen: 1\nname: [\n")
    with pytest.raises(InputError, match="cannot be read, so nothing can be compared"):
        verify_run(there.path)


def test_what_others_leave_in_the_folder_is_a_warning(there):
    (there.path / "notes.txt").write_text("mine")
    (there.stimuli / ".DS_Store").write_bytes(b"\0")
    assert found(there, "warning") == dict.fromkeys(
        ["notes.txt", "stimuli/.DS_Store"], "is no part of the run"
    )
    assert verify_run(there.path).right


def test_a_command_made_trial_list_is_looked_at_too(there):
    out = there.trials / "mine.csv"
    arguments = ["--design", "rating", "--set", "min_source_gap=0", "--out", out]
    assert stimgen("trials", there.path, *arguments).exit_code == 0
    assert verify_run(there.path).findings == ()
    edit_cell(out, 1, "stimulus_id" if "image_id" not in out.read_text() else "image_id", "brick-nope")
    (problem,) = found(there).values()
    assert problem == "row 1: shows brick-nope, which is not in the run"


class TestUnfinished:
    """A run that was ended is not complete, and nothing is wrong with it."""

    def test_a_run_that_was_interrupted(self, there):
        """As an interrupt leaves it: tables and summary are of what is there."""
        for name in IDS[1:3]:
            there.png(name).unlink()
            there.record(name).unlink()
        shutil.rmtree(there.trials)
        stimgen("tables", there.path)
        assert found(there) == {}
        assert found(there, "incomplete").keys() == {"stimuli"}
        assert "lacks 2 stimuli, which are not made yet" in found(there, "incomplete")["stimuli"]

    def test_a_run_that_was_killed(self, there, tmp_path):
        """As a kill leaves it: tables of what was there before, and a file that was being written."""
        keep = {name: there.record(name).read_bytes() for name in IDS[2:4]}
        for name in IDS[2:]:
            there.record(name).unlink()
        pngs = {name: there.png(name).read_bytes() for name in IDS[2:]}
        for name in IDS[2:]:
            there.png(name).unlink()
        shutil.rmtree(there.trials)
        stimgen("tables", there.path)
        for name, content in keep.items():
            there.record(name).write_bytes(content)
            there.png(name).write_bytes(pngs[name])
        there.png(IDS[4]).write_bytes(pngs[IDS[4]])  # its record was next
        (there.stimuli / ".tmp-abc").write_bytes(b"half")
        assert found(there) == {}
        incomplete = found(there, "incomplete")
        assert incomplete.keys() == {"stimuli", "stimuli/.tmp-abc", "run.json", *TABLES_OF_CONTROLS}
        assert stimgen("verify", there.path).exit_code == 3

        edit_cell(there.path / TABLE, 2, "luminance_mean", "0.5")
        assert found(there).keys() == {TABLE}

    def test_what_could_not_be_made_is_named(self, there):
        there.png(ID).unlink()
        there.record(ID).unlink()
        (there.path / "failures.csv").write_text(f"stimulus_id,error,cure\n{ID},No memory.,Buy some.\n")
        stimgen("tables", there.path)
        assert found(there) == {}
        assert found(there, "incomplete")[PNG] == "could not be made: No memory. Buy some."


TABLES_OF_CONTROLS = ("stimuli.csv", "gram_distances.csv", "spectra.csv")


def test_the_command_says_what_it_found(there):
    clean = stimgen("verify", there.path)
    assert clean.exit_code == 0
    sentence, fingerprint = clean.stdout.splitlines()
    assert sentence.startswith("5 stimuli: every file is the one its record describes")
    assert fingerprint.startswith("sha256sum stimuli/*.png | sha256sum: ")
    change_pixel(there)
    wrong = stimgen("verify", there.path)
    assert wrong.exit_code == 3
    assert wrong.stdout.startswith(f"WRONG  {PNG}: was altered")
    assert "4 of 5 stimuli are what their records describe, and 1 thing is wrong" in wrong.stdout
    result = json.loads(stimgen("verify", there.path, "--json").stdout)
    assert (result["right"], result["verified"], result["stimuli_sha256"]) == (False, 4, None)
    assert [one["file"] for one in result["findings"] if one["severity"] == "wrong"] == [PNG]


@pytest.mark.slow
def test_a_run_that_is_killed_at_any_time_is_incomplete_and_then_complete(tmp_path):
    """A real kill, several times in one run: nothing is ever called wrong."""
    path = write_manifest(tmp_path, seeds={"count": 12}, controls=["original"])
    folder = RunFolder(tmp_path / "results" / "tiny")
    command = [sys.executable, "-m", "stimgen", "run", str(path)]
    for lines in (1, 3, 8):
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
            for _ in range(lines):
                assert running.stderr.readline()
            running.kill()
        result = verify_run(folder.path)
        assert by_file(result) == {}
        assert by_file(result, "incomplete")
        assert not result.right
    assert stimgen("run", path).exit_code == 0
    assert verify_run(folder.path).findings == ()


class TestRecompute:
    def test_a_forgery_that_is_consistent_is_found(self, there):
        """PNG file, hash in the record, tables, trial lists and summary agree, and the numbers are old."""
        edit_record(there, png_sha256=change_pixel(there))
        assert stimgen("tables", there.path).exit_code == 0
        assert verify_run(there.path).findings == ()
        result = stimgen("verify", there.path, "--recompute")
        assert result.exit_code == 3
        lines = [line for line in result.stdout.splitlines() if line.startswith("WRONG")]
        assert {line.split()[1] for line in lines} == {f"{RECORD}:"}
        assert any("luminance_mean" in line for line in lines)
        assert "4 of 5 stimuli are what their records describe" in result.stdout
        assert "sha256sum" not in result.stdout
        assert json.loads(stimgen("verify", there.path, "--recompute", "--json").stdout)["verified"] == 4

    def test_a_distance_that_was_made_smaller_is_found_with_both_numbers(self, there):
        """Where the record does not contradict itself, and the tables are written from it."""
        measured = there.read_record(ID).statistics
        forged = {f"gram_{name}_pool1": measured[f"gram_{name}_pool1"] for name in ("loss", "relative")}
        forged = {name: value / (4 if "loss" in name else 2) for name, value in forged.items()}
        edit_record(there, **{f"statistics__{name}": value for name, value in forged.items()})
        assert measured["gram_normalised_pool1"] is None
        assert stimgen("tables", there.path).exit_code == 0
        assert found(there) == {}
        result = stimgen("verify", there.path, "--recompute")
        assert result.exit_code == 3
        lines = [line for line in result.stdout.splitlines() if line.startswith("WRONG")]
        assert len(lines) == 2
        for line, (name, value) in zip(lines, forged.items(), strict=True):
            assert line.startswith(f"WRONG  {RECORD}: {name} is {value}, and on the file it is ")
            assert float(line.split()[-1]) == pytest.approx(measured[name], rel=1e-3)

    def test_what_is_missing_for_it_is_said(self, made, tmp_path):
        shutil.copytree(made / "results" / "tiny", tmp_path / "archive")
        result = stimgen("verify", tmp_path / "archive", "--recompute")
        assert result.exit_code == 4
        assert "stimuli of brick not measured: There is no file" in result.stdout
        assert "Not everything could be measured again" in result.stderr
