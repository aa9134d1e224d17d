"""What is matched, from the manifest to the table, measured on the image files by NumPy alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image as Pillow
from run_manifests import tiny

from stimgen.images.sources import load_source
from stimgen.runs.runner import run
from stimgen.runs.store import RunFolder

SOURCES = [{"id": name, "image": f"skimage:{name}"} for name in ("brick", "grass")]
MEASURES = {"mean": np.mean, "contrast": np.std, "histogram": lambda plane: np.sort(plane, axis=None)}
OF = {"mean": "luminance", "contrast": "luminance", "histogram": "histogram"}
WEIGHTS = np.array([0.2126, 0.7152, 0.0722])
LEVEL = 1 / 255


def ran(folder, **changes):
    manifest = tiny(folder, **{"sources": SOURCES, "layer_sets": None, "seeds": [1]} | changes)
    result = run(manifest)
    assert not result.failures
    table = pd.read_csv(result.folder / "stimuli.csv").set_index("stimulus_id")
    loaded = [load_source(one, manifest.image, name=manifest.name).pixels for one in manifest.sources]
    return result, table, loaded


def file(result, stimulus_id):
    return np.asarray(Pillow.open(RunFolder(result.folder).png(stimulus_id))) / 255


def planes(image, channels="rgb"):
    image = image.astype(np.float64)
    if image.ndim == 2:
        return [image]
    return [image @ WEIGHTS] if channels == "luminance" else list(np.moveaxis(image, 2, 0))


@pytest.mark.parametrize(
    ("color", "matching", "words"),
    [
        ("grey", {"histogram": "source"}, "histogram=source"),
        ("rgb", {"histogram": "set", "channels": "luminance"}, "histogram=set channels=luminance"),
        ("rgb", {"luminance": "source"}, "luminance=source"),
        (
            "grey",
            {"full_spectrum": "set", "histogram": "source", "iterations": 3},
            "full_spectrum=set histogram=source iterations=3",
        ),
    ],
)
def test_residuals_are_those_of_the_files_up_to_rounding(tmp_path, color, matching, words):
    sources = SOURCES
    if color == "rgb":
        boxes = ([0, 0, 200, 200], [300, 100, 250, 250])
        sources = [{"id": f"cup{i}", "image": "skimage:coffee", "crop": box} for i, box in enumerate(boxes)]
    image = {"size_px": 32, "color": color}
    result, table, loaded = ran(tmp_path, image=image, sources=sources, matching=matching)
    channels = matching.get("channels", "rgb")
    assert (table["matching"] == words).all()
    assert table["matched_residual_spectrum"].notna().all() == ("full_spectrum" in matching)
    for stimulus_id, row in table.iterrows():
        own = loaded[[one["id"] for one in sources].index(row["source"])]
        seen = planes(file(result, stimulus_id), channels)
        for name, measure in MEASURES.items():
            to, residual = matching.get(OF[name]), row[f"matched_residual_{name}"]
            if to is None:
                assert np.isnan(residual)
                continue
            references = loaded if to == "set" else [own]
            goals = np.mean([[measure(p) for p in planes(one, channels)] for one in references], axis=0)
            expected = np.mean(np.abs(np.subtract([measure(p) for p in seen], goals)))
            assert residual == pytest.approx(expected, abs=LEVEL / 2)
            if row["clipped_share"] == 0 and "full_spectrum" not in matching:
                assert residual < 1e-6


def test_textures_are_matched_and_a_control_of_the_set_too(tmp_path):
    changes = {
        "layer_sets": {"conv1_1": ["conv1_1"]},
        "controls": ["spectrum_matched_set"],
        "matching": {"histogram": "set"},
    }
    result, table, _ = ran(tmp_path, **changes)
    assert result.made == 4
    assert (table["matched_residual_histogram"] == 0).all()
    assert (table["kind"] == "texture").tolist() == [True, True, False, False]
    assert table["residual_spectrum"].notna().tolist() == [False, False, True, True]
    # One histogram for all, in the files too.
    histograms = [np.sort(file(result, stimulus_id), axis=None) for stimulus_id in table.index]
    assert all(np.array_equal(histograms[0], other) for other in histograms)


@pytest.mark.parametrize("matching", [{}, {"histogram": "source"}, {"luminance": "source"}])
def test_sources_without_colour_stay_without_colour(tmp_path, matching):
    result, table, _ = ran(
        tmp_path,
        image={"size_px": 32, "color": "rgb"},
        layer_sets={"shallow": ["conv1_1", "pool1"]},
        controls=["original", "phase_scrambled", "random_weights"],
        matching=matching,
    )
    assert len(table) == 8
    for stimulus_id in table.index:
        seen = file(result, stimulus_id)
        assert seen.shape == (32, 32, 3)
        assert np.ptp(seen, axis=2).max() == 0


def test_residual_gram_is_that_of_the_file(tmp_path):
    _, table, _ = ran(
        tmp_path,
        image={"size_px": 48, "color": "grey"},
        layer_sets={"shallow": ["conv1_1", "pool1"]},
        controls=[],
        matching={"histogram": "source"},
    )
    for row in table.to_dict("records"):
        worst = max(row[f"gram_relative_{layer}"] for layer in ("conv1_1", "pool1"))
        assert row["residual_gram"] == pytest.approx(worst, rel=1e-4)
