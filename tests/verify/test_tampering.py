"""Every kind of tampering is found, exactly what was tampered with is named, and the hints mend it."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
import yaml
from PIL import Image as Pillow
from run_manifests import tiny
from skimage import data
from tampering import (
    ID,
    IDS,
    LONG,
    PNG,
    RECORD,
    TABLE,
    by_file,
    cell,
    change_pixel,
    edit_record,
    edit_summary,
    found,
    replaced,
    rows,
    sealed,
    stimgen,
    summary_with,
    with_chunk,
)

from stimgen.images.png import encode_png
from stimgen.runs.record import SEAL
from stimgen.runs.runner import run
from stimgen.runs.store import RunFolder, sha256
from stimgen.verify.run import verify_run


def exchanged(folder):
    """Exchange the PNG files of two stimuli, with the hashes in their records."""
    contents = {name: folder.png(name).read_bytes() for name in (ID, OTHER)}
    for name, other in ((ID, OTHER), (OTHER, ID)):
        folder.png(name).write_bytes(contents[other])
        edit_record(folder, name, png_sha256=sha256(contents[other]))


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


def deleted(name):
    return lambda folder: (folder.path / name).unlink()


def pipe(folder):
    folder.png(ID).unlink()
    os.mkfifo(folder.png(ID))


def other_weights(folder):
    networks = json.loads((folder.path / "run.json").read_bytes())["networks"]
    networks[0]["tensors_sha256"] = "0" * 64
    edit_summary(folder, networks=networks)


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


IMAGE = f"optimised/{ID}.safetensors"
OTHER, LIST_FILE = "brick-pool1-s2", "trials/oddity.csv"
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
    "recipe_hash": (
        sealed(recipe_sha256__optimised="0" * 64),
        {RECORD: "its recipe_sha256 (optimised) is not that"},
    ),
    "other_recipe_hash": (
        sealed(recipe_sha256__matching="0" * 64, recipe_sha256__statistics="0" * 64),
        {RECORD: "its recipe_sha256 (matching, statistics) is not that"},
    ),
    "image": (lambda folder: folder.image(ID).write_bytes(b""), {IMAGE: "was altered: its SHA-256"}),
    "image_of_another": (copied(OTHER, ID, "image"), {IMAGE: "was altered: its SHA-256"}),
    "image_and_hash": (
        lambda folder: (
            folder.image(ID).write_bytes(b"me"),
            edit_record(folder, optimised_sha256=sha256(b"me")),
        ),
        {IMAGE: "cannot be read"},
    ),
    "image_link": (linked(IMAGE), {IMAGE: "is a symbolic link"}),
    "crop": (sealed(source__crop_box=[1, 0, 63, 63]), {RECORD: "crop"}),
    "weights_hash": (
        sealed(network__tensors_sha256="0" * 64),
        {RECORD: "contradicts itself", TABLE: "column weights_sha256", LONG: "column constrained"},
    ),
    "no_floor": (
        sealed(drop="statistics__gram_floor_pool1"),
        {RECORD: "lacks measured values: gram_floor_pool1"},
    ),
    "unknown_value": (sealed(statistics__gram_relative_pool9=0.5), {RECORD: "pool9"}),
    "missing_value": (
        sealed(drop="statistics__luminance_mean"),
        {RECORD: "lacks measured values: luminance_mean"},
    ),
    "altered_luminance": (
        sealed(seal=False, statistics__luminance_mean=0.25),
        {RECORD: "was altered after it was written: its record_sha256"},
    ),
    "no_seal": (sealed(seal=False, drop=SEAL), {RECORD: "has no record_sha256"}),
    "damaged_record": (lambda folder: folder.record(ID).write_text("{"), {RECORD: "is damaged"}),
    "cell": (
        cell(TABLE, 3, "luminance_mean", "0.5"),
        {TABLE: f'row 3 ({IDS[2]}), column luminance_mean: "0.5" is there'},
    ),
    "correlation": (
        cell(TABLE, 3, "seed_correlation", "0.25"),
        {TABLE: f"row 3 ({IDS[2]}), column seed_correlation"},
    ),
    "row": (rows(TABLE, lambda lines: lines[:3] + lines[4:]), {TABLE: f"lacks the rows of {IDS[2]}"}),
    "order": (
        rows(TABLE, lambda lines: [*lines[:2], lines[3], lines[2], *lines[4:]]),
        {TABLE: f"row 2 is of {IDS[2]}, and one of {IDS[1]} belongs there"},
    ),
    "cut_off": (rows(TABLE, lambda lines: [*lines[:-1], lines[-1][:-1]]), {TABLE: "line ends"}),
    "line_ends": (replaced(TABLE, b"\n", b"\r\n"), {TABLE: "line ends"}),
    "a_blank_line": (rows(LONG, lambda lines: ["\n"]), {LONG: "another header"}),
    "long_cell": (
        cell(LONG, 8, "gram_relative", "0.5"),
        {LONG: f"row 8 ({IDS[1]}), column gram_relative"},
    ),
    "long_row": (rows(LONG, lambda lines: lines[:-1]), {LONG: f"has too few rows of {IDS[4]}"}),
    "long_order": (
        rows("spectra.csv", lambda lines: [lines[0], *reversed(lines[1:])]),
        {"spectra.csv": f"row 1 is of {IDS[4]}, and one of {ID} belongs there"},
    ),
    "dictionary": (
        replaced("stimuli.json", b"Side of the square image", b"Side"),
        {"stimuli.json": "data dictionary"},
    ),
    "no_png": (deleted(PNG), {PNG: "is missing"}),
    "no_record": (deleted(RECORD), {RECORD: "is missing"}),
    "no_table": (deleted("spectra.csv"), {"spectra.csv": "is missing"}),
    "exchanged": (exchanged, HASHES),
    "renamed": (copied(OTHER, ID, "record", "png"), {RECORD: f"is the record of {OTHER}"}),
    "extra_png": (
        copied(ID, "brick-pool1-s3", "png"),
        {"stimuli/brick-pool1-s3.png": "not of a stimulus that the manifest asks for"},
    ),
    "link": (linked(PNG), {PNG: "is a symbolic link"}),
    "pipe": (pipe, {PNG: "is not a regular file"}),
    "linked_folder": (linked("stimuli"), {"stimuli": "is a symbolic link"}),
    "manifest_given": (
        lambda folder: (folder.path / "manifest.yaml").write_text("stimgen: 1\n"),
        {"manifest.yaml": "is not the one that the run was made with"},
    ),
    "trial": (
        cell(LIST_FILE, 2, "left_sha256", "sha256:" + "0" * 64),
        {LIST_FILE: "row 2, column left_sha256"},
    ),
    "list_deleted": (deleted(LIST_FILE), {LIST_FILE: "is missing"}),
    "list_added": (
        lambda folder: (folder.trials / "mine.csv").write_text("a,b\n1,2\n"),
        {"trials/mine.csv": "is no trial list"},
    ),
    "negative_counts": (summary_with(made=-1, kept=6), {"run.json": "says made: -1"}),
    "counts": (summary_with(rejected=3), {"run.json": "rejected: 3, and it is 0"}),
    "other_weights": (other_weights, {"run.json": "does not name the weights of vgg16"}),
}


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
        file in ("stimuli", RECORD) or file.startswith(("stimuli/", "optimised/")) for file in expected
    )


@pytest.mark.parametrize(
    ("forge", "words"),
    [
        (lambda png: b"hello", "cannot be read as a stimulus"),
        (lambda png: encode_png(np.zeros((16, 16), np.uint8)), "is 16 × 16 px"),
        (lambda png: encode_png(np.zeros((32, 32, 3), np.uint8)), "is rgb, and the record says grey"),
        (lambda png: encode_png(np.zeros((32, 32), np.uint16)), "has 16 bits, and the record says 8"),
        (lambda png: with_chunk(png, b"gAMA", b"\0\0\xb1\x8f"), "has gAMA beside its pixels"),
    ],
    ids=["no picture", "another size", "colour", "bits", "gamma"],
)
def test_png_that_is_no_stimulus_is_found_whatever_its_record_says(there, forge, words):
    """The record has its hash and a new seal, and the tables follow from the record."""
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
    records = {f"records/brick-pool1-s{n}.json" for n in (1, 2)}
    assert found(there).keys() == {"manifest.resolved.yaml"} | records


def test_a_source_that_was_altered_is_a_warning(there):
    source = there.path.parents[1] / "manifests" / "brick.png"
    Pillow.fromarray(data.brick()[:64, 1:65]).save(source)
    result = verify_run(there.path)
    (warning,) = result.findings
    assert (warning.severity, warning.file) == ("warning", "../../manifests/brick.png")
    assert sha256(source.read_bytes()) in warning.problem
    assert result.right
    # A run would make everything anew; nobody is advised to, unless told what it would replace.
    assert "To mend it" not in stimgen("verify", there.path).stdout
    change_pixel(there)
    *_, cure, again = stimgen("verify", there.path).stdout.splitlines()
    assert cure.startswith("  put back ")
    assert cure.endswith("brick.png: of what is another file now, everything is made anew")
    assert again.startswith("  stimgen run MANIFEST --out ")


@pytest.mark.parametrize("key", ["versions", "manifest_sha256"])
def test_a_summary_that_lacks_something_is_mended_by_a_run(there, key):
    edit_summary(there, **{key: None})
    result = verify_run(there.path)
    (finding,) = result.findings
    assert (finding.severity, finding.problem.startswith(f"lacks {key}:")) == ("incomplete", True)
    mend(there, result)
    assert verify_run(there.path).findings == ()


@pytest.mark.parametrize("content", ["{", '{"made": "x", "networks": 3}'])
def test_a_damaged_summary_is_named(there, content):
    (there.path / "run.json").write_text(content)
    assert found(there).keys() == {"run.json"}


def test_a_command_made_trial_list_is_looked_at_too(there):
    out = there.trials / "mine.csv"
    arguments = ["--design", "rating", "--set", "min_source_gap=0", "--out", out]
    assert stimgen("trials", there.path, *arguments).exit_code == 0
    assert verify_run(there.path).findings == ()
    cell("trials/mine.csv", 1, "image_id", "brick-nope")(there)
    assert found(there) == {"trials/mine.csv": "row 1: shows brick-nope, which is not in the run"}


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
    edit_record(folder, "rocket-few-s7", source__sha256="0" * 64)
    wrong = found(folder)
    assert wrong.keys() == {"records/rocket-few-s7.json", TABLE}
    assert "names the source rocket differently from other records" in wrong["records/rocket-few-s7.json"]
