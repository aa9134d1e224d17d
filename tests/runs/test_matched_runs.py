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
RESIDUALS = [f"matched_residual_{name}" for name in ("mean", "contrast", "histogram", "spectrum")]
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


def amplitude(plane):
    spectrum = np.abs(np.fft.fft2(plane))
    spectrum[0, 0] = 0
    return spectrum


def average(spectrum):
    """Every amplitude of a square spectrum replaced by the mean of its ring."""
    frequencies = np.fft.fftfreq(len(spectrum)) * len(spectrum)
    ring = np.rint(np.hypot(frequencies[:, np.newaxis], frequencies))
    result = np.zeros_like(spectrum)
    for number in range(1, int(ring.max()) + 1):
        result[ring == number] = spectrum[ring == number].mean()
    return result


def spectrum_error(image, references, channels, measure):
    own, goal = [], []
    for index, plane in enumerate(planes(image, channels)):
        own.append(measure(amplitude(plane)))
        goal.append(np.mean([measure(amplitude(planes(one, channels)[index])) for one in references], axis=0))
    return np.sqrt(np.sum(np.subtract(own, goal) ** 2) / np.sum(np.square(goal)))


@pytest.mark.parametrize(
    ("color", "matching", "words"),
    [
        (
            "grey",
            {"full_spectrum": "set", "histogram": "source", "iterations": 3},
            "full_spectrum=set histogram=source iterations=3",
        ),
        ("grey", {"histogram": "source"}, "histogram=source"),
        ("rgb", {"histogram": "source"}, "histogram=source"),
        (
            "grey",
            {"rotational_spectrum": "source", "luminance": "set"},
            "rotational_spectrum=source luminance=set",
        ),
        (
            "rgb",
            {"rotational_spectrum": "set", "channels": "luminance"},
            "rotational_spectrum=set channels=luminance",
        ),
        (
            "rgb",
            {"luminance": "source", "channels": "luminance"},
            "luminance=source channels=luminance",
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
    for stimulus_id, row in table.iterrows():
        seen = file(result, stimulus_id)
        own = loaded[[one["id"] for one in sources].index(row["source"])]
        reference = {
            name: loaded if to == "set" else [own] for name, to in matching.items() if to in ("set", "source")
        }
        expected = dict.fromkeys(RESIDUALS)
        if "luminance" in reference:
            for name, statistic in (("mean", np.mean), ("contrast", np.std)):
                of_images = [[statistic(p) for p in planes(one, channels)] for one in reference["luminance"]]
                goals = np.mean(of_images, axis=0)
                found = [statistic(p) for p in planes(seen, channels)]
                expected[f"matched_residual_{name}"] = np.mean(np.abs(np.subtract(found, goals)))
        if "histogram" in reference:
            values = [
                [np.sort(p, axis=None) for p in planes(one, channels)] for one in reference["histogram"]
            ]
            found = [np.sort(p, axis=None) for p in planes(seen, channels)]
            expected["matched_residual_histogram"] = np.mean(np.abs(found - np.mean(values, axis=0)))
        for name, measure in (("full_spectrum", np.array), ("rotational_spectrum", average)):
            if name in reference:
                error = spectrum_error(seen, reference[name], channels, measure)
                expected["matched_residual_spectrum"] = error
        for column, value in expected.items():
            if value is None:
                assert np.isnan(row[column])
            else:
                # Rounding adds noise with a SD of 0.3 levels.
                assert row[column] == pytest.approx(value, abs=0.02 if "spectrum" in column else LEVEL / 2)
        if row["clipped_share"] == 0 and list(reference) in (["luminance"], ["histogram"]):
            assert np.nanmax(row[RESIDUALS].astype(float)) < 1e-6


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


def test_a_constant_image_fails_with_a_cure_and_takes_nothing_down(tmp_path, control):
    control("flat", lambda source, rng: np.full_like(source, 0.5))
    changes = {"controls": ["flat", "original"], "matching": {"full_spectrum": "source"}}
    manifest = tiny(tmp_path, layer_sets=None, seeds=[1], **changes)
    result = run(manifest)
    (failure,) = result.failures
    assert (result.made, failure.stimulus_id) == (1, "brick-flat")
    assert "constant image" in failure.error
    assert "leave out the matching of spectra" in failure.cure
