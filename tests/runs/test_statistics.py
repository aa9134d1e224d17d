from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from run_manifests import IDS, tiny
from scipy import stats
from skimage.measure import shannon_entropy
from stimgen.runs.statistics import measure, source_statistics

from stimgen.images.png import decode_png, encode_png, quantise
from stimgen.images.sources import load_source
from stimgen.measure.copying import copied
from stimgen.runs import job
from stimgen.runs.runner import run


def radius(side):
    return np.hypot(np.fft.fftfreq(side)[:, np.newaxis], np.fft.fftfreq(side))


@pytest.mark.parametrize("stimulus_id", IDS)
def test_the_record_says_what_the_file_on_disk_has(finished, tmp_path, stimulus_id):
    manifest = tiny(tmp_path)
    source = load_source(manifest.sources[0], manifest.image, name=manifest.name).pixels.astype(float)
    levels = np.asarray(Pillow.open(finished.png(stimulus_id)))
    values = levels / 255.0
    record = finished.read_record(stimulus_id)

    assert record.luminance.entropy == pytest.approx(shannon_entropy(levels, base=2))
    distance = stats.wasserstein_distance(values.ravel(), source.ravel())
    assert record.luminance.histogram_w1 == pytest.approx(distance, abs=1e-6)

    X, S = (np.abs(np.fft.fft2(image)) for image in (values, source))
    X[0, 0] = S[0, 0] = 0
    spectrum = record.spectrum
    assert spectrum.amplitude_error == pytest.approx(np.linalg.norm(X - S) / np.linalg.norm(S), rel=1e-4)
    above = radius(32) > 0.25
    assert spectrum.high_frequency_share == pytest.approx(np.sum(X[above] ** 2) / np.sum(X**2), rel=1e-4)
    shares = [getattr(spectrum, f"orientation_{angle}") for angle in (0, 45, 90, 135)]
    assert sum(shares) == pytest.approx(1)
    rings = [np.rint(radius(32) * 32) == k for k in range(1, 17)]
    for recorded, amplitude in ((spectrum.power, X), (spectrum.power_source, S)):
        expected = [np.mean(amplitude[ring] ** 2) / 1024**2 for ring in rings]
        assert recorded == pytest.approx(expected, rel=1e-4)
        assert all(float(f"{power:.6g}") == power for power in recorded)


def test_parts_are_compared_with_the_source(finished, tmp_path):
    manifest = tiny(tmp_path)
    source = load_source(manifest.sources[0], manifest.image, name=manifest.name).pixels
    for stimulus_id in IDS:
        levels = np.asarray(Pillow.open(finished.png(stimulus_id)))
        part, *larger = finished.read_record(stimulus_id).copying
        expected = np.corrcoef(levels.ravel(), source.ravel())[0, 1]
        assert part.similarity == pytest.approx(expected, abs=1e-7)  # pixels are float32
        assert all(one.similarity is None for one in larger)  # the stimulus has 32 px


def test_the_original_differs_by_its_rounding_alone(finished):
    record = finished.read_record("brick-original")
    assert 0 < record.luminance.histogram_w1 < 0.5 / 255
    assert 0 < record.spectrum.amplitude_error < 0.02


@settings(deadline=None, max_examples=40)
@given(
    st.integers(16, 40),
    st.sampled_from([(), (3,)]),
    st.sampled_from(["noise", "two values", "constant", "black"]),
    st.sampled_from(["noise", "constant", "black"]),
    st.integers(0, 99),
)
def test_any_file_has_a_record(side, channels, kind, source_kind, seed):
    noise = np.random.default_rng(seed).random((2, side, side, *channels), np.float32)

    def image(which, pixels):
        return {
            "noise": pixels,
            "two values": np.rint(pixels),
            "constant": np.full_like(pixels, 0.3),
            "black": np.zeros_like(pixels),
        }[which]

    source = image(source_kind, noise[1])
    seen = decode_png(encode_png(quantise(image(kind, noise[0]))))
    measured = measure(seen, source_statistics(source))
    varies, source_varies = kind in ("noise", "two values"), source_kind == "noise"

    assert (measured.luminance.entropy > 0) == varies
    assert math.isfinite(measured.luminance.histogram_w1)
    assert (measured.slope.alpha is not None) == varies
    assert (measured.spectrum.amplitude_error is not None) == source_varies
    assert (measured.spectrum.radial_error_db is not None) == (varies and source_varies)
    assert (measured.spectrum.orientation_45 is not None) == varies
    assert (measured.spectrum.high_frequency_share is not None) == varies
    assert any(measured.spectrum.power) == varies
    assert [part.crop_px for part in measured.copying] == [32, 64, 128]
    for part in measured.copying:
        comparable = part.crop_px <= side and varies and source_varies
        assert (part.similarity is not None) == comparable
        assert part.baseline is None  # no room for two parts
    assert len(measured.spectrum.power) == len(measured.spectrum.power_source) == side // 2


def test_a_source_is_measured_once(tmp_path, monkeypatch):
    measured = []
    monkeypatch.setattr(
        job,
        "source_statistics",
        lambda pixels, **asked: measured.append(pixels) or source_statistics(pixels, **asked),
    )
    assert run(tiny(tmp_path, layer_sets={"conv1_1": ["conv1_1"]})).made == 5
    assert len(measured) == 1


def test_copies_are_not_looked_for_where_the_manifest_says_so(tmp_path):
    result = run(tiny(tmp_path, layer_sets={"conv1_1": ["conv1_1"]}, measure={"copying": False}))
    table = pd.read_csv(result.folder / "stimuli.csv")
    assert not [column for column in table if column.startswith("copying")]
    assert table["copied"].isna().all()


@pytest.mark.slow
def test_a_synthesis_is_no_copy_and_the_source_is_one(tmp_path):
    layers = ["conv1_1", "pool1", "pool2", "pool3", "pool4"]
    manifest = tiny(
        tmp_path,
        image={"size_px": 256},
        sources=[{"id": "gravel", "image": "skimage:gravel"}],
        layer_sets={"pool4": layers},
        seeds=[1],
        synthesis={"preset": "multiscale", "evaluations": [60, 40]},
        controls=["original"],
    )
    table = pd.read_csv(run(manifest, device="cpu").folder / "stimuli.csv", index_col="stimulus_id")
    assert table["copied"].to_dict() == {"gravel-pool4-s1": False, "gravel-original": True}

    source = load_source(manifest.sources[0], manifest.image, name=manifest.name).pixels
    shifted = decode_png(encode_png(quantise(np.roll(source, (101, 37), (0, 1)))))
    parts = measure(shifted, source_statistics(source)).copying
    assert copied((part.similarity, part.baseline) for part in parts)
