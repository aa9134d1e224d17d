from __future__ import annotations

import numpy as np
import pytest
from measured_images import grating
from scipy import signal

from stimgen.images.read import read_image
from stimgen.measure import STATISTICS, DecodedImage

THRESHOLDS = [2.98873239e-02, 6.13561269e-03, 1.59229199e-03, 4.63650433e-04, 1.31772218e-04, 3.64672775e-05]


def measured(image, side_deg):
    found = STATISTICS["contrast_energy"].measure(DecodedImage(image, side_deg), None)
    return found["contrast_energy"], found["spatial_coherence"]


def correlate(plane, kernel):
    """Two-dimensional, borders prolonged; the centre of an even kernel is the first of the middle two."""
    before = [(side - 1) // 2 for side in kernel.shape]
    after = [side // 2 for side in kernel.shape]
    padded = np.pad(plane, list(zip(before, after, strict=True)), mode="edge")
    return signal.correlate(padded, kernel, mode="valid", method="direct" if kernel.size < 200 else "fft")


def program(plane, sigmas):
    """Local contrast as the authors' program computes it, coarse filters first."""
    contrast = np.zeros(plane.shape)
    for sigma in sigmas:
        x = np.arange(-3 * sigma, 3 * sigma + 1.0)
        gauss = np.exp(-(x**2) / (2 * sigma**2)) / (np.sqrt(2 * np.pi) * sigma)
        kernel = (x**2 / sigma**4 - 1 / sigma**2) * gauss
        kernel -= kernel.sum() / len(x)
        kernel /= np.sum(0.5 * x * x * kernel)
        energy = np.sqrt(
            correlate(plane, kernel[np.newaxis]) ** 2 + correlate(plane, kernel[:, np.newaxis]) ** 2
        )
        y = np.arange(3 * sigma) - (3 * sigma - 1) / 2
        weights = np.exp(-(y[:, np.newaxis] ** 2 + y**2) / (2 * sigma**2))
        weights /= weights.sum()
        mean = correlate(energy, weights)
        variation = np.sqrt(np.maximum(correlate(energy**2, weights) - mean**2, 0)) / mean
        highest = energy.max()
        response = energy * highest / (energy + highest * variation)
        above = response - np.interp(sigma, [1, 2, 4, 8, 16, 32], THRESHOLDS)
        contrast[above > 1e-7] = above[above > 1e-7]
    return contrast


@pytest.mark.parametrize(("name", "shape"), [("brick", (128, 128)), ("coffee", (97, 120))])
@pytest.mark.parametrize("ppd", [20, 50])
def test_values_of_the_program(name, shape, ppd):
    image = read_image(f"skimage:{name}").pixels[100 : 100 + shape[0], 100 : 100 + shape[1]]
    plane = image.astype(np.float64)
    plane = plane @ [0.2126, 0.7152, 0.0722] if plane.ndim == 3 else plane
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    degrees = np.hypot(rows - (shape[0] - 1) / 2, columns - (shape[1] - 1) / 2) / ppd
    energy = program(plane, [24, 12, 6, 3])[degrees < 1.5].mean()
    wide = program(plane, [32, 16, 8, 4])[degrees < 5]
    assert measured(image, min(shape) / ppd) == pytest.approx((energy, wide.mean() / wide.std(ddof=1)))


def test_energy_rises_with_contrast_and_coherence_with_its_spread():
    wave = grating(128, 8)
    single = np.full((128, 128), 0.5)
    single[40:60, 40:60] = wave[40:60, 40:60]
    assert measured(wave, 3.0)[0] > measured(0.25 + wave / 2, 3.0)[0] > 0
    assert measured(wave, 3.0)[1] > measured(single, 3.0)[1]


def test_without_visual_angle_or_contrast():
    assert measured(np.eye(32), None) == (None, None)
    assert measured(np.full((32, 32), 0.4), 1.0) == (0, None)
