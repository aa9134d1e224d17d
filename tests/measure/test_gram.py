from __future__ import annotations

import itertools

import numpy as np
import pytest
from measured_networks import LAYERS, numpy_gram, small_extractor

from stimgen.images.pixels import luminance
from stimgen.images.read import read_image
from stimgen.measure import DecodedImage
from stimgen.measure.gram import gram_columns, normalised, source_grams
from stimgen.networks.extractor import build_extractor
from stimgen.networks.weights import find_weights

VGG_LAYERS = ["conv1_1", "pool1", "pool2", "pool3", "pool4"]


@pytest.fixture(scope="module")
def extractor():
    return small_extractor()


@pytest.fixture(scope="module")
def vgg16():
    return build_extractor(find_weights("vgg16", "imagenet"), padding="mirrored", deepest="pool4")


def relative(difference, target):
    return np.sqrt((difference**2).sum() / (target**2).sum())


@pytest.mark.parametrize("with_crops", [False, True], ids=["quarters", "crops"])
@pytest.mark.parametrize("shape", [(16, 16), (17, 15, 3)], ids=["even, grey", "odd, rgb"])
def test_columns_follow_the_formulas_in_float64(extractor, shape, with_crops):
    rng = np.random.default_rng(2)
    ramp = np.linspace(0.3, 1, shape[1], dtype=np.float32).reshape(1, -1, *[1] * (len(shape) - 2))
    source = rng.random(shape, np.float32) * ramp
    scrambled = [rng.random(shape, np.float32) for _ in range(3)]
    near = np.clip(source + 0.05 * rng.standard_normal(shape, np.float32), 0, 1)
    far = rng.random(shape, np.float32) ** 3
    if with_crops:
        crops, factor = [rng.random(shape, np.float32) for _ in range(4)], 1
    else:
        (rows, lower), (columns, right) = (((side + 1) // 2, side // 2) for side in shape[:2])
        crops = [source[y : y + rows, x : x + columns] for y in (0, lower) for x in (0, right)]
        factor = np.sqrt(np.prod(crops[0].shape) / np.prod(shape))
    grams = source_grams(extractor, source, LAYERS, scrambled, crops if with_crops else ())

    for image in (near, far):
        found = gram_columns(DecodedImage(image), grams)
        layers = [name.removeprefix("gram_loss_") for name in found if name.startswith("gram_loss_")]
        assert layers == LAYERS
        assert found["gram_floor_extrapolated"] is not with_crops
        for layer in LAYERS:
            target = numpy_gram(extractor, source, layer)
            difference = numpy_gram(extractor, image, layer) - target
            of_crops = [numpy_gram(extractor, crop, layer) for crop in crops]
            pairs = [factor * relative(a - b, target) for a, b in itertools.combinations(of_crops, 2)]
            above = [relative(numpy_gram(extractor, other, layer) - target, target) for other in scrambled]
            loss = np.sum(difference**2) / (4 * len(target) ** 2)
            distance = relative(difference, target)
            assert found[f"gram_loss_{layer}"] == pytest.approx(loss, rel=1e-3)
            assert found[f"gram_relative_{layer}"] == pytest.approx(distance, rel=1e-3)
            assert found[f"gram_floor_{layer}"] == pytest.approx(np.mean(pairs), rel=1e-3)
            assert found[f"gram_floor_sd_{layer}"] == pytest.approx(np.std(pairs, ddof=1), rel=1e-3)
            assert found[f"gram_ceiling_{layer}"] == pytest.approx(np.mean(above), rel=1e-3)
            assert found[f"gram_ceiling_sd_{layer}"] == pytest.approx(np.std(above, ddof=1), rel=1e-3)
            assert found[f"gram_normalised_{layer}"] == pytest.approx(distance / np.mean(pairs), rel=1e-3)


@pytest.mark.parametrize("channels", [(), (3,)])
def test_a_mask_weights_the_positions_of_each_layer(extractor, channels):
    """G = Σ w F Fᵀ / Σ w in float64; whole images are compared with it, and images inside the mask."""
    rng = np.random.default_rng(3)
    rows, columns = np.indices((16, 16)) - 7.5
    inside = np.hypot(rows, columns) < 6.2
    source, image = rng.random((2, 16, 16, *channels), np.float32) * rng.random(
        (16, *[1] * len(channels)), np.float32
    )
    grams = source_grams(extractor, source, LAYERS, (), inside=inside)
    for mask in (None, inside):
        found = gram_columns(DecodedImage(image, inside=mask), grams)
        for layer in LAYERS:
            target = numpy_gram(extractor, source, layer, inside)
            difference = numpy_gram(extractor, image, layer, mask) - target
            assert found[f"gram_relative_{layer}"] == pytest.approx(relative(difference, target), rel=1e-4)
            for name in ("floor", "floor_sd", "ceiling", "ceiling_sd", "normalised"):
                assert found[f"gram_{name}_{layer}"] is None
        assert found["gram_floor_extrapolated"] is None
    same = gram_columns(DecodedImage(source, inside=inside), grams)
    assert all(same[f"gram_relative_{layer}"] < 1e-6 for layer in LAYERS)


def test_a_line_in_the_middle_of_an_odd_side_counts(extractor):
    source = np.random.default_rng(3).random((17, 17), np.float32)
    source[8] = 1.0
    without = np.delete(np.delete(source, 8, axis=0), 8, axis=1)
    floors = [source_grams(extractor, image, ["conv1_1"], [image] * 2).scales for image in (source, without)]
    with_line, rest = (scale["conv1_1"].floor for scale in floors)
    assert with_line != pytest.approx(rest, rel=0.02)


def test_a_quarter_that_is_too_small_for_a_layer_gives_no_floor(extractor):
    source = np.random.default_rng(0).random((4, 6), np.float32)
    found = gram_columns(DecodedImage(source), source_grams(extractor, source, LAYERS, [source] * 2))
    assert [found[f"gram_relative_{layer}"] for layer in LAYERS] == pytest.approx([0, 0, 0], abs=1e-6)
    assert found["gram_floor_pool2"] is found["gram_floor_sd_pool2"] is found["gram_normalised_pool2"] is None
    assert found["gram_floor_pool1"] is not None


def test_without_a_source_there_are_no_columns():
    assert gram_columns(DecodedImage(np.zeros((8, 8))), None) == {}


def test_a_source_whose_quarters_are_equal_has_no_unit():
    assert [normalised(0.5, floor) for floor in (0.25, 1.0, 0.0, None)] == [2.0, 0.5, None, None]


def noise(rng, side, exponent):
    """Part of a periodic field of Gaussian noise, flat up to 1/16 cycles per pixel and 1/f^exponent above."""
    frequency = np.hypot(np.fft.fftfreq(2 * side)[:, np.newaxis], np.fft.fftfreq(2 * side))
    amplitude = np.maximum(frequency, 1 / 16) ** -exponent
    field = np.fft.ifft2(np.fft.fft2(rng.standard_normal((2 * side, 2 * side))) * amplitude).real
    gain = 0.15 / np.sqrt(np.mean(amplitude**2))
    return np.clip(0.5 + gain * field[:side, :side], 0, 1).astype(np.float32)


def compared_with_truth(extractor, layers, samples):
    """Yield, per layer, the mean floor over the mean distance, and how often that is within a floor's SD."""
    scales = [source_grams(extractor, sample, layers, [sample] * 2) for sample in samples]
    for layer in layers:
        grams = [one.targets[layer][0].double().numpy() for one in scales]
        size = np.mean([np.linalg.norm(gram) for gram in grams])
        true = np.mean([np.linalg.norm(a - b) for a, b in itertools.combinations(grams, 2)]) / size
        floors = np.array([one.scales[layer].floor for one in scales])
        sds = np.array([one.scales[layer].floor_sd for one in scales])
        yield floors.mean() / true, np.mean(np.abs(floors - true) < sds)


@pytest.mark.parametrize(
    ("side", "exponent", "padding", "error"),
    [
        (64, 0.0, "zeros", 0.15),
        (64, 1.5, "zeros", 0.15),
        (65, 1.5, "zeros", 0.15),
        (128, 1.0, "zeros", 0.15),
        (64, 0.0, "mirrored", 0.2),  # crops have twice the share of border positions, which see fewer pixels
        (128, 1.0, "mirrored", 0.15),
    ],
)
def test_the_floor_of_stationary_noise_is_the_distance_between_two_samples(side, exponent, padding, error):
    rng = np.random.default_rng(7)
    samples = [noise(rng, side, exponent) for _ in range(120)]
    for ratio, within in compared_with_truth(small_extractor(padding), LAYERS, samples):
        assert ratio == pytest.approx(1, abs=error)
        assert within > 0.68


@pytest.mark.slow
def test_the_floor_of_stationary_noise_in_vgg16(vgg16):
    rng = np.random.default_rng(7)
    samples = [noise(rng, 128, 1.0) for _ in range(30)]
    for ratio, within in compared_with_truth(vgg16, VGG_LAYERS, samples):
        assert ratio == pytest.approx(1, abs=0.2)
        assert within > 0.55


@pytest.mark.slow
@pytest.mark.parametrize(("name", "lowest"), [("brick", 0.3), ("gravel", 0.6), ("grass", 0.55)])
def test_photographs_differ_from_place_to_place(vgg16, name, lowest):
    """The floor from quarters is below that from crops as large as the source, as docs/method.md says."""
    photograph = luminance(read_image(f"skimage:{name}").pixels).astype(np.float32)
    crops = [photograph[y : y + 256, x : x + 256] for y in (0, 256) for x in (0, 256)]
    measured = source_grams(vgg16, crops[0], VGG_LAYERS, [crops[0]] * 2, crops).scales
    extrapolated = [source_grams(vgg16, crop, VGG_LAYERS, [crop] * 2).scales for crop in crops]
    for layer in VGG_LAYERS:
        ratio = np.mean([scales[layer].floor for scales in extrapolated]) / measured[layer].floor
        assert lowest < ratio < 1
