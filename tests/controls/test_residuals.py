from __future__ import annotations

import numpy as np
import pytest
from control_images import photograph, sources
from hypothesis import given, settings
from scipy import stats

from stimgen.controls.residuals import histogram_residual, spectrum_residual


@settings(deadline=None)
@given(sources())
def test_an_image_has_no_distance_to_itself(source):
    assert spectrum_residual(source, source) == 0
    assert histogram_residual(source, source) == 0


@pytest.mark.parametrize("name", ["brick", "coffee"])
def test_histogram_residual_is_scipys_distance(name):
    source = photograph(name, 30, 41)
    image = source[::-1] ** 2 + 0.1
    channels = [(image, source)] if source.ndim == 2 else [(image[..., c], source[..., c]) for c in range(3)]
    expected = np.mean([stats.wasserstein_distance(x.ravel(), y.ravel()) for x, y in channels])
    assert histogram_residual(image, source) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("size", [(32, 32), (31, 40)])
def test_spectrum_residual_of_known_images(size):
    source = photograph("brick", *size)
    mean = source.mean()
    # Neither the mean nor a shift changes amplitudes; half the contrast halves them.
    assert spectrum_residual(source + 0.2, source) < 1e-6
    assert spectrum_residual(np.roll(source, (3, 5), axis=(0, 1)), source) < 1e-6
    assert spectrum_residual(mean + (source - mean) / 2, source) == pytest.approx(0.5, rel=1e-5)
    assert spectrum_residual(np.full(size, mean), source) == pytest.approx(1, rel=1e-6)


def test_a_constant_source_has_nothing_to_differ_from():
    source = np.full((15, 16, 3), 0.3, np.float32)
    assert spectrum_residual(np.random.default_rng(0).random(source.shape), source) == 0
