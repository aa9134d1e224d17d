from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image as Pillow
from run_manifests import IDS, tiny
from scipy import stats
from skimage.measure import shannon_entropy

from stimgen.images.sources import load_source
from stimgen.runs.runner import run


def radius(side):
    return np.hypot(np.fft.fftfreq(side)[:, np.newaxis], np.fft.fftfreq(side))


@pytest.mark.parametrize("stimulus_id", [IDS[0], "brick-original", "brick-phase_scrambled-s1"])
def test_the_record_holds_the_statistics_of_the_file_on_disk(finished, tmp_path, stimulus_id):
    manifest = tiny(tmp_path)
    source = load_source(manifest.sources[0], manifest.image, name=manifest.name).pixels.astype(float)
    levels = np.asarray(Pillow.open(finished.png(stimulus_id)))
    values = levels / 255.0
    record = finished.read_record(stimulus_id)
    found = record.statistics

    assert found["entropy"] == pytest.approx(shannon_entropy(levels, base=2))
    distance = stats.wasserstein_distance(values.ravel(), source.ravel())
    assert found["histogram_w1"] == pytest.approx(distance, abs=1e-6)

    X, S = (np.abs(np.fft.fft2(image)) for image in (values, source))
    X[0, 0] = S[0, 0] = 0
    assert found["amplitude_error"] == pytest.approx(np.linalg.norm(X - S) / np.linalg.norm(S), rel=1e-4)
    assert sum(found[f"orientation_{angle}"] for angle in (0, 45, 90, 135)) == pytest.approx(1)
    rings = [np.rint(radius(32) * 32) == k for k in range(1, 17)]
    for recorded, amplitude in ((record.power, X), (record.power_source, S)):
        expected = [np.mean(amplitude[ring] ** 2) / 1024**2 for ring in rings]
        assert recorded == pytest.approx(expected, rel=1e-4)
        assert all(float(f"{power:.6g}") == power for power in recorded)

    expected = np.corrcoef(levels.ravel(), source.ravel())[0, 1]
    assert found["copying_32"] == pytest.approx(expected, abs=1e-7)  # pixels are float32
    assert found["copying_64"] is found["copying_128"] is None  # the stimulus has 32 px
    for end in ("low", "high"):
        per_degree = found[f"spectral_slope_{end}_cpi"] / record.image.size_deg
        assert found[f"spectral_slope_{end}_cpd"] == per_degree


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
