from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matched_images import photographs, sets

from stimgen.errors import StimgenError
from stimgen.matching.apply import Reference, Targets, clip_to_display, match, residuals
from stimgen.matching.histogram import match_histogram_exact

WEIGHTS = np.array([0.2126, 0.7152, 0.0722])
ASKED = [
    {},
    {"histogram"},
    {"luminance"},
    {"rotational_spectrum"},
    {"full_spectrum"},
    {"full_spectrum", "histogram"},
    {"rotational_spectrum", "histogram"},
    {"full_spectrum", "luminance"},
    {"rotational_spectrum", "luminance"},
]


def generator():
    return np.random.default_rng(11)


def planes(image, channels="rgb"):
    if image.ndim == 2:
        return [image.astype(np.float64)]
    if channels == "luminance":
        return [sum(image[..., c].astype(np.float64) * WEIGHTS[c] for c in range(3))]
    return [image[..., c].astype(np.float64) for c in range(3)]


def amplitude(plane):
    spectrum = np.abs(np.fft.fft2(plane))
    spectrum[0, 0] = 0
    return spectrum


def targets(images, asked, channels="rgb", iterations=1):
    reference = Reference(images, channels)
    return Targets(**dict.fromkeys(asked, reference), channels=channels, iterations=iterations)


def colour(number=3):
    coffee = photographs("coffee", height=96, width=96)[0]
    return tuple(coffee[24 * i : 24 * i + 40, 20 * i : 20 * i + 30] for i in range(number))


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("kind", ["grey", "rgb"])
def test_histograms_are_exactly_the_references(number, kind):
    images = colour(number) if kind == "rgb" else photographs("gravel", "grass", "brick")[:number]
    image = images[0][::-1, ::-1] ** 2
    matched = match(image, targets(images, {"histogram"}), generator())
    for index, plane in enumerate(planes(matched)):
        goal = np.mean([np.sort(planes(x)[index].ravel()) for x in images], axis=0).astype(np.float32)
        np.testing.assert_array_equal(np.sort(plane.ravel()), goal)
    assert residuals(matched, targets(images, {"histogram"})).histogram == 0
    if number == 1:
        np.testing.assert_array_equal(matched, match_histogram_exact(image, images[0], generator()))


@pytest.mark.parametrize("number", [1, 3])
def test_luminance_alone_becomes_the_targets_and_differences_between_channels_stay(number):
    images = colour(number)
    image = images[0][::-1] ** 2
    matched = match(image, targets(images, {"histogram"}, "luminance"), generator())
    goal = np.mean([np.sort(planes(x, "luminance")[0].ravel()) for x in images], axis=0)
    np.testing.assert_allclose(np.sort(planes(matched, "luminance")[0].ravel()), goal, atol=3e-7)
    for first, second in ((0, 1), (1, 2)):
        np.testing.assert_allclose(
            matched[..., first] - matched[..., second], image[..., first] - image[..., second], atol=3e-7
        )
    contrast = match(image, targets(images, {"luminance"}, "luminance"), generator())
    (own,) = planes(contrast, "luminance")
    assert own.mean() == pytest.approx(np.mean([planes(x, "luminance")[0].mean() for x in images]))
    assert own.std() == pytest.approx(np.mean([planes(x, "luminance")[0].std() for x in images]))


def test_the_spectrum_comes_first_and_the_histogram_last():
    image, *images = photographs("brick", "gravel", "grass")
    asked = targets(tuple(images), {"full_spectrum", "histogram"})
    alone = match(image, targets(tuple(images), {"full_spectrum"}), generator())
    expected = match(alone, targets(tuple(images), {"histogram"}), generator())
    np.testing.assert_array_equal(match(image, asked, generator()), expected)
    assert residuals(expected, asked).histogram == 0
    contrast = match(image, targets(tuple(images), {"full_spectrum", "luminance"}), generator())
    left = residuals(contrast, targets(tuple(images), {"full_spectrum", "luminance"}))
    assert max(left.mean, left.contrast) < 1e-6


@pytest.mark.parametrize("spectrum", ["rotational_spectrum", "full_spectrum"])
def test_iterations_bring_the_spectrum_nearer_and_keep_the_histogram(spectrum):
    # Spectrum and histogram of one image have the same variance; the means of a set have not.
    image, reference = photographs("brick", "grass")
    left = []
    for iterations in (1, 4, 16):
        asked = targets((reference,), {spectrum, "histogram"}, iterations=iterations)
        left.append(residuals(match(image, asked, generator()), asked))
    assert [residual.histogram for residual in left] == [0, 0, 0]
    assert left[0].spectrum > left[1].spectrum > left[2].spectrum > 0


@pytest.mark.parametrize("channels", ["rgb", "luminance"])
@pytest.mark.parametrize("spectrum", ["rotational_spectrum", "full_spectrum"])
def test_residuals_are_those_of_numpy(spectrum, channels):
    images = colour()
    image = clip_to_display(images[1] ** 2)[0]
    names = {spectrum, "luminance"}
    left = residuals(image, targets(images, names, channels))
    own = planes(image, channels)
    sets_planes = [[planes(x, channels)[index] for x in images] for index in range(len(own))]
    means = [abs(p.mean() - np.mean([q.mean() for q in g])) for p, g in zip(own, sets_planes, strict=True)]
    spreads = [abs(p.std() - np.mean([q.std() for q in g])) for p, g in zip(own, sets_planes, strict=True)]
    assert left.mean == pytest.approx(np.mean(means))
    assert left.contrast == pytest.approx(np.mean(spreads))
    found = [amplitude(p) for p in own]
    goal = [np.mean([amplitude(q) for q in g], axis=0) for g in sets_planes]
    if spectrum == "rotational_spectrum":
        found, goal = [averaged(plane) for plane in found], [averaged(plane) for plane in goal]
    error = np.sqrt(
        sum(np.sum((a - b) ** 2) for a, b in zip(found, goal, strict=True)) / sum(np.sum(b**2) for b in goal)
    )
    assert left.spectrum == pytest.approx(error, rel=1e-6)
    histogram = residuals(image, targets(images, {"histogram"}, channels)).histogram
    distances = [
        np.mean(np.abs(np.sort(p.ravel()) - np.mean([np.sort(q.ravel()) for q in g], axis=0)))
        for p, g in zip(own, sets_planes, strict=True)
    ]
    assert histogram == pytest.approx(np.mean(distances), rel=1e-5)


def averaged(spectrum):
    """Replace every amplitude by the mean of its ring."""
    height, width = spectrum.shape
    radius = np.hypot(np.fft.fftfreq(height)[:, np.newaxis], np.fft.fftfreq(width)[np.newaxis])
    ring = np.rint(np.round(radius * min(spectrum.shape), 9))
    ring[0, 0] = -1
    result = np.zeros_like(spectrum)
    for number in np.unique(ring[ring >= 0]):
        result[ring == number] = spectrum[ring == number].mean()
    return result


@settings(deadline=None, max_examples=300)
@given(sets(4), st.sampled_from(ASKED), st.sampled_from(["rgb", "luminance"]), st.integers(1, 3))
def test_any_image_is_matched_or_refused_and_never_nan(drawn, names, channels, iterations):
    image, *images = drawn
    asked = targets(tuple(images), names, channels, iterations if len(names) == 2 else 1)
    before = image.copy()
    try:
        matched = match(image, asked, generator())
    except StimgenError:
        return
    np.testing.assert_array_equal(image, before)
    assert (matched.dtype, matched.shape) == (np.float32, image.shape)
    assert np.isfinite(matched).all()
    left = [
        value for value in vars(residuals(clip_to_display(matched)[0], asked)).values() if value is not None
    ]
    assert np.isfinite(left).all()
    assert all(value >= 0 for value in left)
    np.testing.assert_array_equal(matched, match(image, asked, generator()))


def test_values_outside_the_range_are_clipped_and_counted():
    image = np.random.default_rng(1).normal(0.5, 0.5, (9, 7)).astype(np.float32)
    clipped, share = clip_to_display(image)
    np.testing.assert_array_equal(clipped, np.clip(image, 0, 1))
    assert (clipped.dtype, share) == (np.float32, np.mean((image < 0) | (image > 1)))
    assert clip_to_display(np.array([[-1e-7, 1 + 1e-7]]))[1] == 0  # rounding
    with pytest.raises(StimgenError, match="not finite"):
        clip_to_display(np.array([[0.5, np.nan]]))


def test_images_of_other_numbers_of_pixels_get_the_quantiles():
    """As inside a mask; against NumPy's inverse of the empirical distribution."""
    rng = np.random.default_rng(1)
    few, image = rng.random((7, 1), np.float32), rng.random((5, 6), np.float32)
    matched = match(image, targets((few,), {"histogram"}), generator())
    shares = (np.arange(30) + 0.5) / 30
    expected = np.quantile(few, shares, method="inverted_cdf")
    np.testing.assert_array_equal(np.sort(matched, axis=None), expected)
    assert residuals(matched, targets((few,), {"histogram"})).histogram == 0
    # The mean of quantiles, where sources differ in their numbers, is that of their inverses.
    other = rng.random((30, 1), np.float32)
    both = match(image, targets((few, other), {"histogram"}), generator())
    mean = (expected.astype(np.float64) + np.sort(other, axis=None)) / 2
    np.testing.assert_array_equal(np.sort(both, axis=None), mean.astype(np.float32))
