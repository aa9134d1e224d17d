"""Every column that is measured on an image, against `oracle.py`, on 40 random images."""

from __future__ import annotations

import math
import string

import numpy as np
import pytest
from measured_networks import LAYERS, small_extractor
from oracle import oracle
from png_bytes import GREY, RGB, png_bytes

from stimgen.images.png import decode_png
from stimgen.measure import DecodedImage, measure, prepare_source
from stimgen.measure.gram import source_grams
from stimgen.runs.columns import STIMULI

NOT_MEASURED = """
    stimulus_id filename source condition kind seed size_px size_deg ppd color bits network weights
    weights_sha256 pooling padding normalised layers components parameters preset loss iterations
    evaluations stop_reason restarts confined_to residual_spectrum residual_histogram residual_gram
    measured_in measured_in_sha256 matching matched_residual_mean matched_residual_contrast
    matched_residual_histogram matched_residual_spectrum clipped_share accepted reject_reason source_linearise
    source_mask source_sha256 png_sha256
"""
"""Columns that say what a stimulus is and how it was made."""

OF_A_RUN = {"seed_correlation", "gram_relative_matched", "gram_relative_held_out"}
"""Columns that need other stimuli, or what was matched; they are tested with the tables of runs."""

SHAPES = [(24, 24), (33, 33), (40, 40), (27, 40), (64, 64), (65, 65), (72, 50), (130, 130)]
EXACT = {"spectral_slope_low_cpi", "spectral_slope_high_cpi", "copied", "gram_floor_extrapolated"}


def random_image(rng, shape, kind):
    """Return an image of a kind, values 0..1."""
    if kind == "constant":
        return np.full(shape, rng.random())
    if kind == "ramp":
        rows, columns = np.indices(shape[:2])
        ramp = rows * rng.random() + columns * rng.random()
        return (ramp / ramp.max() * 0.8 + 0.1).reshape(*shape[:2], *[1] * (len(shape) - 2)) * np.ones(shape)
    noise = rng.random(shape)
    if kind == "two values":
        return np.where(noise < 0.3, 0.2, 0.9)
    if kind == "patch":
        image = np.full(shape, 0.5)
        image[5:20, 3:17] = noise[5:20, 3:17]
        return image
    if kind == "smooth":
        frequency = np.hypot(np.fft.fftfreq(shape[0])[:, np.newaxis], np.fft.fftfreq(shape[1]))
        frequency[0, 0] = 1
        falling = frequency.reshape(*shape[:2], *[1] * (len(shape) - 2)) ** -rng.uniform(0.5, 2)
        image = np.fft.ifft2(np.fft.fft2(noise, axes=(0, 1)) * falling, axes=(0, 1)).real
        return (image - image.min()) / np.ptp(image)
    return noise


def save(path, image, bits=8):
    samples = np.rint((2**bits - 1) * image).astype(f"uint{bits}")
    path.write_bytes(png_bytes(samples, RGB if image.ndim == 3 else GREY, bits))
    return path


@pytest.fixture(scope="module")
def network():
    """The network, and its numbers for the oracle."""
    extractor = small_extractor()
    numbers = iter(zip(extractor.kernels, extractor.biases, strict=True))
    plain = {"input": (4.0, (-1.0, -2.0, -3.0))}
    for layer in extractor.architecture.layers:
        pair = next(numbers) if layer.startswith("conv") else None
        plain[layer] = pair and tuple(tensor.numpy().astype(np.float64) for tensor in pair)
    return extractor, plain


def test_the_oracle_has_every_column_of_stimuli_csv(tmp_path, network):
    path = save(tmp_path / "image.png", np.random.default_rng(0).random((64, 64)))
    known = oracle(path, path, 1.0, network[1], [np.eye(64), np.ones((64, 64))])
    layers = list(network[1])[1:]
    names = set()
    for column in STIMULI:
        fields = {field for _, field, _, _ in string.Formatter().parse(column.name) if field}
        if not column.on_request:  # plenoptic's statistics have a test of their own
            names |= {column.name.format(layer=layer) for layer in layers} if fields else {column.name}
    assert names - set(NOT_MEASURED.split()) - OF_A_RUN == set(known)


@pytest.mark.parametrize("number", range(40))
def test_columns_are_those_of_the_oracle(number, tmp_path, network):
    rng = np.random.default_rng(number)
    extractor, plain = network
    kinds = ["noise", "smooth", "smooth", "two values", "patch", "ramp", "constant"]
    shape = SHAPES[number % len(SHAPES)] + ((3,) if number % 3 == 0 else ())
    other = SHAPES[(number + 1) % len(SHAPES)] + shape[2:] if number % 10 == 9 else shape
    image = random_image(rng, shape, kinds[number % len(kinds)])
    source_image = random_image(rng, other, rng.choice(kinds[:3]))
    if number % 4 == 1 and other == shape:
        image[:22, :22] = source_image[-22:, -22:]
    bits = 16 if number % 5 == 2 else 8
    file, source = (
        save(tmp_path / "image.png", image, bits),
        save(tmp_path / "source.png", source_image, bits),
    )
    side_deg = None if number % 5 == 4 else min(shape[:2]) / 20
    scrambled = [rng.random(other, np.float32) for _ in range(2)]

    pixels = decode_png(source)
    prepared = prepare_source(DecodedImage(pixels), {"copying": True, "portilla_simoncelli": False})
    prepared["gram"] = source_grams(extractor, pixels, LAYERS, scrambled)
    found = measure(DecodedImage(decode_png(file), side_deg), prepared)
    expected = oracle(file, source, side_deg, plain, [x.astype(np.float64) for x in scrambled])

    layers = tuple(LAYERS)
    elsewhere = {f"_{layer}" for layer in plain if layer not in layers}
    expected = {k: v for k, v in expected.items() if not k.endswith(tuple(elsewhere))}
    assert set(found) == set(expected)
    for name, value in found.items():
        if name in EXACT or value is None or expected[name] is None:
            assert value == expected[name], name
        elif name == "preferred_orientation":
            assert math.cos(math.radians(2 * (value - expected[name]))) == pytest.approx(1, abs=1e-6), name
        else:
            # The file is read in float32, and the network computes in it.
            rel = 1e-2 if name.startswith("gram_") else 1e-4
            absolute = 1e-3 if name.startswith("spectral_slope") else 1e-5
            assert value == pytest.approx(expected[name], rel=rel, abs=absolute), name
