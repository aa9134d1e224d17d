"""Textures that have a histogram, luminance or spectrum and the Gram matrices together."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stimgen.images.pixels import luminance
from stimgen.images.read import read_image
from stimgen.images.sources import shrink
from stimgen.matching.apply import Reference, Targets, match, residuals
from stimgen.matching.surface import surface_of
from stimgen.networks.extractor import build_extractor
from stimgen.networks.weights import find_weights
from stimgen.texture.presets import Multiscale
from stimgen.texture.problem import Problem, SourceImage
from stimgen.texture.statistic import weighted_terms
from stimgen.texture.synthesis import matched_distance, synthesise

LAYERS = ("conv1_1", "pool1", "pool2")
PRESET = Multiscale(precision="float32")


@pytest.fixture(scope="module")
def network():
    return build_extractor(
        find_weights("vgg16", "imagenet"), pooling="average", normalise=True, deepest="pool2"
    )


def square(name, size_px):
    pixels = read_image(f"skimage:{name}").pixels
    side = min(pixels.shape[:2])
    return shrink(pixels[:side, :side], size_px)[0]


def shown(image):
    return (np.rint(255 * np.clip(image, 0, 1)) / 255).astype(np.float32)


def power_of_checkerboards(image):
    power = np.abs(np.fft.fft2(luminance(image) - luminance(image).mean())) ** 2
    high = np.abs(np.fft.fftfreq(len(image))) > 0.45
    return power[high].sum() + power[~high][:, high].sum(), power.sum()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "statistic"),
    [
        ("coffee", "histogram"),
        ("gravel", "histogram"),
        ("gravel", "luminance"),
        ("gravel", "rotational_spectrum"),
    ],
)
def test_a_texture_has_both_and_is_hardly_farther_from_its_layers(network, name, statistic):
    source = square(name, 128)
    goal, reference = SourceImage(source), Reference((source,))
    terms = weighted_terms(dict.fromkeys(LAYERS, 1.0))
    made = {}
    for surface in (None, surface_of(statistic, reference, source)):
        problem = Problem(goal, terms, np.random.default_rng(1), surface=surface)
        (made[surface is not None],) = synthesise([problem], network, PRESET)
    targets = Targets(**{statistic: reference})
    matched = shown(match(made[True].image, targets, np.random.default_rng(1)))
    found = residuals(matched, targets)
    assert all(value is None or value < 2e-3 for value in vars(found).values())
    if statistic == "histogram":
        np.testing.assert_array_equal(np.sort(matched, axis=None), np.sort(shown(source), axis=None))
    plain = matched_distance(problem, network, shown(made[False].image))
    assert matched_distance(problem, network, matched) <= 1.1 * plain
    assert (made[False].confined_to, made[True].confined_to) == (None, statistic)
    # Nor does it reach the statistic by checkerboards.
    share, of_source = (high / total for high, total in map(power_of_checkerboards, (matched, source)))
    assert share < of_source + 0.05


def test_the_descent_stays_on_the_surface_in_every_stage_at_full_size():
    weights = find_weights("vgg16", "random:1")
    network = build_extractor(weights, pooling="average", normalise=False, deepest="pool1")
    source = square("brick", 32)
    surface = surface_of("histogram", Reference((source,)), source)
    terms = weighted_terms({"conv1_1": 1.0, "pool1": 1.0})
    preset = Multiscale(smallest_px=16, evaluations=(5, 5), confined_evaluations=3)
    problem = Problem(SourceImage(source), terms, np.random.default_rng(1), surface=surface)
    (made,) = synthesise([problem], network, preset)
    assert len(made.traces[-1].losses) == 3
    values = torch.from_numpy(made.image).flatten().sort().values
    torch.testing.assert_close(values, surface.values.flatten())


def test_a_texture_reaches_values_that_its_source_lacks():
    weights = find_weights("vgg16", "random:1")
    network = build_extractor(weights, pooling="average", normalise=False, deepest="pool1")
    dark, bright = 0.2 * square("brick", 32), 0.8 + 0.2 * square("gravel", 32)
    reference = Reference((bright,))
    for name in ("histogram", "luminance"):
        surface = surface_of(name, reference, dark)
        terms, rng = weighted_terms({"conv1_1": 1.0, "pool1": 1.0}), np.random.default_rng(1)
        problem = Problem(SourceImage(dark), terms, rng, surface=surface)
        (made,) = synthesise([problem], network, Multiscale(smallest_px=16, evaluations=(10, 20)))
        assert all(trace.accepted[1:].mean() > 0.5 for trace in made.traces[-2:])
        found = residuals(made.image, Targets(**{name: reference}))
        assert all(value is None or value < 1 / 255 for value in vars(found).values())
