from __future__ import annotations

import numpy as np
import pytest
from control_images import photograph

from stimgen.controls import CONTROLS, Materials
from stimgen.matching.apply import Reference

NAMES = ("brick", "gravel", "grass")


def made(source, source_set, **options):
    control = CONTROLS["spectrum_matched_set"]
    materials = Materials("cpu", lambda: None, Reference(tuple(source_set)))
    return control.make(source, np.random.default_rng(0), materials, options)


def spectrum(image):
    transform = np.fft.fft2(image.astype(np.float64), axes=(0, 1))
    transform[0, 0] = 0
    return transform


def grey():
    return [photograph(name, 48, 48) * np.float32(0.5) + np.float32(0.25) for name in NAMES]


def colour():
    coffee = photograph("coffee", 200, 200) * np.float32(0.3) + np.float32(0.35)
    return [coffee[60 * i : 60 * i + 40, 70 * i : 70 * i + 40] for i in range(3)]


@pytest.mark.parametrize("images", [grey(), colour()], ids=["grey", "rgb"])
def test_amplitudes_mean_and_contrast_are_those_of_the_set(images):
    goal = np.mean([np.abs(spectrum(image)) for image in images], axis=0)
    means, spreads = (
        np.mean([statistic(image.astype(np.float64), axis=(0, 1)) for image in images], axis=0)
        for statistic in (np.mean, np.std)
    )
    for source in images:
        result = made(source, images, spectrum="full")
        own = spectrum(result.image)
        # One factor for each channel, and the phases of the source.
        factor = np.sqrt(np.sum(np.abs(own) ** 2, axis=(0, 1)) / np.sum(goal**2, axis=(0, 1)))
        np.testing.assert_allclose(np.abs(own), factor * goal, atol=2e-4)
        assert np.all(factor > 1)
        kept = np.abs(spectrum(source)) > 0.1
        assert np.abs(np.angle(own[kept] / spectrum(source)[kept])).max() < 1e-2
        np.testing.assert_allclose(result.image.mean(axis=(0, 1), dtype=np.float64), means, atol=1e-6)
        np.testing.assert_allclose(result.image.std(axis=(0, 1), dtype=np.float64), spreads, atol=1e-6)
        assert set(result.residuals) == {"spectrum", "mean", "contrast"}


@pytest.mark.parametrize("kind", ["full", "rotational"])
def test_the_residuals_are_measured_on_the_clipped_image(kind):
    images = [photograph(name, 48, 48) for name in NAMES]
    goal = np.mean([np.abs(spectrum(image)) for image in images], axis=0)
    result = made(images[0], images, spectrum=kind)
    shown = np.clip(result.image, 0, 1).astype(np.float64)
    error = np.sqrt(np.sum((np.abs(spectrum(shown)) - goal) ** 2) / np.sum(goal**2))
    assert result.residuals["spectrum"] == pytest.approx(error, rel=1e-6)
    assert result.residuals["mean"] == pytest.approx(abs(shown.mean() - np.mean(images)), abs=1e-7)


def test_the_rotational_average_keeps_orientations():
    images = grey()
    full, rotational = (made(images[0], images, spectrum=kind) for kind in ("full", "rotational"))
    before = np.abs(spectrum(images[0]))
    # The ratio of two frequencies on one circle stays.
    for result, kept in ((full, False), (rotational, True)):
        after = np.abs(spectrum(result.image))
        assert (after[0, 3] / after[3, 0] == pytest.approx(before[0, 3] / before[3, 0], rel=1e-3)) == kept
    # Its amplitudes at single frequencies are not those of the set.
    assert full.residuals["spectrum"] < 0.2 < 0.4 < rotational.residuals["spectrum"]
