"""Sources with masks, from the manifest to tables and the Methods, against NumPy on the files."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image as Pillow
from run_manifests import stimgen, write_manifest
from same_runs import differences
from scipy.stats import wasserstein_distance
from skimage import data

from stimgen.images.sources import load_source
from stimgen.manifest.load import load_manifest
from stimgen.report.methods import methods
from stimgen.report.reported import read_runs
from stimgen.runs.recipe import outlook
from stimgen.runs.runner import run
from stimgen.runs.store import RunFolder
from stimgen.verify.recompute import recompute_statistics
from stimgen.verify.run import verify_run

SOURCES = [
    {"id": "brick", "image": "brick.png", "mask": "disc.png"},
    {"id": "cup", "image": "cup.png", "mask": "alpha"},
]
CHANGES = {
    "sources": SOURCES,
    "layer_sets": {"pool1": ["conv1_1", "pool1"]},
    "seeds": [1],
    "synthesis": {"preset": "multiscale", "smallest_px": 16, "evaluations": [40, 40]},
    "controls": ["original", "noise", "pixel_shuffled", "random_weights"],
}
INSIDE = {"original", "pixel_shuffled"}


def disc():
    rows, columns = np.indices((96, 96)) - 47.5
    return np.hypot(rows, columns) < 40


def with_sources(folder, outside=0):
    """Save the images, which have any value outside their masks; return the manifests' folder."""
    images, inside = folder / "manifests", disc()
    images.mkdir(exist_ok=True)
    brick = np.where(inside, data.brick()[:96, :96], outside).astype(np.uint8)
    cup = np.where(inside[..., np.newaxis], data.coffee()[:96, :96], outside)
    Pillow.fromarray(brick).save(images / "brick.png")
    Pillow.fromarray(np.dstack([cup, 255 * inside]).astype(np.uint8)).save(images / "cup.png")
    Pillow.fromarray((255 * inside).astype(np.uint8)).save(images / "disc.png")
    return images


def masked(folder, outside=0, **changes):
    with_sources(folder, outside)
    return load_manifest(write_manifest(folder, **CHANGES | changes))


def file(folder, name):
    return np.asarray(Pillow.open(folder.png(name))) / 255


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    manifest = masked(tmp_path_factory.mktemp("masked"), matching={"histogram": "source"})
    result = run(manifest)
    assert result.failures == ()
    table = pd.read_csv(result.folder / "stimuli.csv", index_col="stimulus_id")
    sources = {spec.id: load_source(spec, manifest.image, name="tiny") for spec in manifest.sources}
    return RunFolder(result.folder), manifest, table, sources


def test_pixels_outside_change_nothing(made, tmp_path):
    folder, *_ = made
    result = run(masked(tmp_path, outside=255, matching={"histogram": "source"}))
    found = {path.name: path.read_bytes() for path in (result.folder / "stimuli").iterdir()}
    assert found == {path.name: path.read_bytes() for path in folder.stimuli.iterdir()}


def test_statistics_are_of_what_is_inside(made):
    folder, _, table, sources = made
    for name, row in table.iterrows():
        source, pixels = sources[row["source"]], file(folder, name)
        inside = source.inside if row["condition"] in INSIDE else np.ones_like(source.inside)
        values, goal = pixels[inside], np.sort(source.pixels[source.inside].astype(np.float64))
        assert row["luminance_mean"] == pytest.approx(values.mean(), abs=1e-7)
        assert row["luminance_sd"] == pytest.approx(values.std(), abs=1e-6)
        assert row["luminance_max"] == pytest.approx(values.max(), abs=1e-7)
        assert row["histogram_w1"] == pytest.approx(wasserstein_distance(values, goal), abs=1e-7)
        # Matched exactly: half a level, and for other numbers of pixels the steps between quantiles.
        assert row["histogram_w1"] < 2 / 255
        # What is outside has the mean of the inside.
        outside = pixels[~inside]
        assert not outside.size or (outside == np.rint(255 * goal.mean()) / 255).all()
        defined = row["condition"] not in INSIDE
        for column in (
            "orientation_circular_variance",
            "weibull_beta",
            "border_contrast",
            "octave_contrast_4",
        ):
            assert np.isfinite(row[column]) == defined, (name, column)
        for column in ("amplitude_error", "radial_error_db", "gram_floor_pool1", "gram_normalised_pool1"):
            assert np.isnan(row[column]), column
    originals = table[table["condition"] == "original"]
    assert (originals[["gram_relative_conv1_1", "gram_relative_pool1"]] < 0.01).all(axis=None)
    textures = table[table["condition"] == "pool1"]
    assert (textures["gram_relative_pool1"] < 0.2).all()
    assert (textures["source_mask"].str[:7].tolist()) == ["sha256:", "alpha"]


def test_spectra_are_those_of_whole_images(made):
    folder, _, table, _ = made
    spectra = pd.read_csv(folder.path / "spectra.csv")
    whole = set(table.index[~table["condition"].isin(INSIDE)])
    assert set(spectra["stimulus_id"]) == whole
    assert spectra["power"].notna().all()
    assert spectra["power_source"].isna().all()


def test_run_is_right_and_says_what_counted(made, tmp_path):
    folder, manifest, table, _ = made
    result = recompute_statistics(verify_run(folder.path))
    assert (result.right, result.recomputed, result.findings) == (True, len(table), ())
    assert outlook(manifest, folder).steps == {"keep": len(table)}
    assert run(manifest).kept == len(table)
    assert (
        "Of brick and cup, only the pixels inside a mask counted"
        in methods(*read_runs([folder.path])).paragraphs[0]
    )
    assert stimgen("report", folder.path, "--out", tmp_path / "report.html").exit_code == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"matching": {"histogram": "source"}, "image": {"size_px": 32, "ppd": 41, "bits": 16}},
        {"matching": {"histogram": "source"}, "measure": {"layers": ["pool2"], "copying": False}},
        {"matching": {"histogram": "source"}, "image": {"size_px": 32, "ppd": 20}},
    ],
    ids=["16 bits", "a measured layer", "a size in degrees"],
)
def test_a_change_after_the_synthesis_gives_the_bytes_of_a_new_run(made, tmp_path, changes, request):
    folder, _, table, _ = made
    there = shutil.copytree(folder.path, tmp_path / "there")
    manifest = masked(tmp_path, **changes)
    fresh = run(manifest, out=tmp_path / "fresh")
    request.getfixturevalue("nothing_is_made")
    result = run(manifest, out=there)
    assert (result.made, result.matched + result.measured) == (0, len(table))
    assert differences(there, fresh.folder) == []
    found = recompute_statistics(verify_run(there))
    assert (found.right, found.recomputed, found.findings) == (True, len(table), ())


def test_another_mask_makes_the_stimuli_again(tmp_path):
    small = {"layer_sets": None, "controls": ["original"]}
    result = run(masked(tmp_path, **small))
    mask = tmp_path / "manifests" / "disc.png"
    Pillow.fromarray(np.where(np.indices((96, 96))[0] < 40, 255, 0).astype(np.uint8)).save(mask)
    (warning,) = verify_run(result.folder).findings
    assert (warning.file, warning.severity) == ("disc.png", "warning")
    measured = recompute_statistics(verify_run(result.folder))
    assert any("or its mask is another file now" in one.problem for one in measured.findings)
    assert not any(one.bad for one in measured.findings)
    again = run(load_manifest(tmp_path / "manifests" / "tiny.yaml"))
    assert (again.made, again.kept) == (1, 1)
    resolved = yaml.safe_load((again.folder / "manifest.resolved.yaml").read_text())
    assert [one["mask"] for one in resolved["sources"]] == ["../../manifests/disc.png", "alpha"]


@pytest.mark.parametrize("matching", [{"histogram": "set"}, {"luminance": "set"}])
def test_what_is_inside_is_matched_to_the_set(tmp_path, matching):
    manifest = masked(tmp_path, layer_sets=None, controls=["original"], matching=matching)
    result = run(manifest)
    folder, table = RunFolder(result.folder), pd.read_csv(result.folder / "stimuli.csv")
    loaded = [load_source(spec, manifest.image, name="tiny") for spec in manifest.sources]
    inside = loaded[0].inside
    values = [np.sort(one.pixels[inside].astype(np.float64)) for one in loaded]
    if "histogram" in matching:
        goal = np.rint(255 * np.mean(values, axis=0).astype(np.float32))
        for name in table["stimulus_id"]:
            np.testing.assert_array_equal(np.sort(np.rint(255 * file(folder, name)[inside])), goal)
        assert (table["matched_residual_histogram"] == 0).all()
    else:
        assert table["luminance_mean"].tolist() == pytest.approx(
            [np.mean([v.mean() for v in values])] * 2, abs=2e-3
        )
        assert table["luminance_sd"].tolist() == pytest.approx(
            [np.mean([v.std() for v in values])] * 2, abs=2e-3
        )


def test_check_refuses_what_needs_whole_sources(tmp_path):
    with_sources(tmp_path)
    controls = ["phase_scrambled", "block_shuffled", "other_crop", "spectrum_matched_set"]
    whole = {
        "controls": controls,
        "matching": {"full_spectrum": "source"},
        "accept": {"gram_normalised_max": 0.5},
        "image": {"size_px": 96},
    }
    said = stimgen("check", write_manifest(tmp_path, **CHANGES | whole)).stderr
    for name in controls:
        assert f"{name} needs whole sources; leave it out, or the mask of brick, cup" in said
    assert "only whole sources have a spectrum" in said
    assert "with a mask there is no normalised distance" in said


def test_check_names_masks_that_are_not_there_or_of_another_size(tmp_path):
    images = with_sources(tmp_path)
    Pillow.new("L", (96, 50), 255).save(images / "low.png")
    sources = [SOURCES[0] | {"mask": "gone.png"}, {"image": "cup.png", "id": "cup", "mask": "low.png"}]
    path = write_manifest(tmp_path, **CHANGES | {"sources": sources})
    said = stimgen("check", path).stderr
    assert 'there is no mask "gone.png"' in said
    assert "the mask and cup.png have 96 × 50 px and 96 × 96 px" in said
