"""Stimuli in 16-bit PNG files, from the manifest to tables, figures and lists, read by imagecodecs."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pandas as pd
import pytest
from PIL import Image as Pillow
from run_manifests import stimgen, tiny, write_manifest
from same_runs import comparable

from stimgen.images.sources import load_source
from stimgen.report.methods import methods
from stimgen.report.reported import read_runs
from stimgen.runs.results import Shard
from stimgen.runs.runner import run
from stimgen.runs.store import RunFolder
from stimgen.verify.rebuild import rebuild_tables
from stimgen.verify.recompute import recompute_statistics
from stimgen.verify.run import verify_run

CUPS = [
    {"id": f"cup{i}", "image": "skimage:coffee", "crop": box}
    for i, box in enumerate(([0, 0, 200, 200], [300, 100, 250, 250]))
]
LIST = {"design": "rating", "min_source_gap": 0}
CHANGES = {
    "grey": {
        "image": {"size_px": 32, "ppd": 41, "bits": 16},
        "matching": {"histogram": "source"},
        "seeds": [1],
        "trials": LIST,
    },
    "rgb": {
        "image": {"size_px": 32, "ppd": 41, "bits": 16, "color": "rgb"},
        "sources": CUPS,
        "matching": {"histogram": "set"},
        "seeds": [1],
        "trials": LIST,
    },
}


@pytest.fixture(scope="module", params=CHANGES)
def made(request, tmp_path_factory):
    """A run of 16-bit stimuli: its folder, its manifest and its table."""
    folder = tmp_path_factory.mktemp(request.param)
    manifest = tiny(folder, **CHANGES[request.param])
    result = run(manifest)
    assert result.failures == ()
    table = pd.read_csv(result.folder / "stimuli.csv", index_col="stimulus_id")
    return RunFolder(result.folder), manifest, table


def samples(folder, name):
    return imagecodecs.png_decode(folder.png(name).read_bytes())


def test_matched_histograms_are_exact_on_the_files_and_statistics_those_of_their_values(made):
    folder, manifest, table = made
    sources = {one.id: load_source(one, manifest.image, name="tiny").pixels for one in manifest.sources}
    ordered = {name: np.sort(pixels.reshape(32 * 32, -1), axis=0) for name, pixels in sources.items()}
    assert (table["bits"] == 16).all()
    assert (table["matched_residual_histogram"] == 0).all()
    for name, row in table.iterrows():
        found = samples(folder, name)
        assert found.dtype == np.uint16
        goal = np.mean(list(ordered.values()), axis=0) if len(sources) > 1 else ordered[row["source"]]
        expected = np.rint(goal.astype(np.float32).astype(np.float64) * 65535)
        np.testing.assert_array_equal(np.sort(found.reshape(32 * 32, -1), axis=0), expected)
        values = found / 65535
        luminance = values @ [0.2126, 0.7152, 0.0722] if values.ndim == 3 else values
        # Less than half an 8-bit level, 2e-3, by far.
        assert row["luminance_mean"] == pytest.approx(luminance.mean(), abs=1e-7)
        assert row["luminance_max"] == pytest.approx(luminance.max(), abs=1e-7)


def test_run_is_right_also_measured_again_and_its_lists_name_its_files(made):
    folder, manifest, table = made
    result = recompute_statistics(verify_run(folder.path))
    assert (result.right, result.recomputed, result.findings) == (True, len(table), ())
    assert run(manifest).made == 0
    shown = pd.read_csv(folder.trials / "rating.csv")
    assert {f"sha256:{one.removeprefix('sha256:')}" for one in shown["image_sha256"]} <= set(
        table["png_sha256"]
    )


def test_shards_make_the_same(made, tmp_path):
    folder, manifest, _ = made
    again = tiny(tmp_path, **CHANGES[manifest.image.color])
    for number in (1, 2):
        run(again, shard=Shard(number, 2))
    rebuild_tables(tmp_path / "results" / "tiny")
    assert run(again).made == 0
    assert comparable(tmp_path / "results" / "tiny") == comparable(folder.path)


def test_pictures_in_figure_and_report_are_rounded_to_8_bits(made, tmp_path):
    folder, manifest, _ = made
    source = manifest.sources[0].id
    options = ["--columns", "seed", "--rows", "condition", "--select", f"source={source}"]
    drawn = stimgen("figure", folder.path, *options, "--out", tmp_path / "figure.png")
    assert drawn.exit_code == 0, drawn.output
    sheet = np.asarray(Pillow.open(tmp_path / "figure.png").convert("RGB"))
    expected = np.rint(samples(folder, f"{source}-pool1-s1") / 257).astype(np.uint8)
    expected = expected if expected.ndim == 3 else np.repeat(expected[..., np.newaxis], 3, axis=2)
    windows = np.lib.stride_tricks.sliding_window_view(sheet, (32, 32, 3))[:, :, 0]
    assert (windows == expected).all(axis=(2, 3, 4)).sum() == 1
    assert stimgen("report", folder.path, "--out", tmp_path / "report.html").exit_code == 0
    assert "16-bit images of 32 × 32 px" in methods(*read_runs([folder.path])).paragraphs[0]


def test_files_measure_as_in_the_table(made, tmp_path):
    folder, _, table = made
    names = list(table.index[:2])
    done = stimgen("stats", *map(folder.png, names), "--out", tmp_path / "stats.csv")
    assert done.exit_code == 0, done.output
    measured = pd.read_csv(tmp_path / "stats.csv")
    for column in ("luminance_mean", "spectral_slope_high_cpi", "entropy"):
        np.testing.assert_array_equal(measured[column], table.loc[names, column])


def test_other_bits_make_other_files_of_the_same_images(tmp_path):
    first = run(tiny(tmp_path, layer_sets=None, controls=["original"]))
    record = RunFolder(first.folder).read_record("brick-original")
    image = {"size_px": 32, "ppd": 41, "bits": 16}
    path = write_manifest(tmp_path, layer_sets=None, controls=["original"], image=image)
    done = stimgen("check", path)
    assert "32 × 32 px, grey, 16 bits" in done.stdout
    assert "to match again 1, to synthesise 0 " in done.stdout
    assert "ImageStim shows 16-bit files with few levels" in done.stdout
    assert stimgen("run", path).exit_code == 0
    again = RunFolder(first.folder).read_record("brick-original")
    assert (record.image.bits, again.image.bits) == (8, 16)
    assert samples(RunFolder(first.folder), "brick-original").dtype == np.uint16
