"""Against shinier, the Python version of the SHINE toolbox by the group that published it."""

from __future__ import annotations

import numpy as np
import pytest
from matched_images import photographs

from stimgen.matching.apply import Reference, Targets, match
from stimgen.matching.spectrum import rings

shinier = pytest.importorskip("shinier")


@pytest.mark.parametrize(
    ("mode", "statistic", "side"),
    [
        (1, "luminance", 48),
        (1, "luminance", 47),
        (3, "rotational_spectrum", 48),  # with an odd side SHINE's frequencies are half a cycle off
        (4, "full_spectrum", 48),
        (4, "full_spectrum", 47),
    ],
)
def test_images_are_those_of_shine_but_for_frequency_zero_and_the_corners(mode, statistic, side, tmp_path):
    images = photographs("brick", "gravel", "grass")
    levels = [np.rint(255 * image[:side, :side]).astype(np.uint8) for image in images]
    options = shinier.Options(
        mode=mode,
        as_gray=True,
        linear_luminance=True,
        dithering=0,
        rescaling=0,
        conserve_memory=False,
        safe_lum_match=False,
        verbose=-1,
        output_folder=tmp_path,
    )
    dataset = shinier.ImageDataset(images=[x.copy() for x in levels], options=options)
    expected = shinier.ImageProcessor(dataset=dataset, options=options, verbose=-1).get_results()
    images = tuple((x / 255).astype(np.float32) for x in levels)
    asked = Targets(**{statistic: Reference(images)})
    for image, shine in zip(images, expected, strict=True):
        matched = 255 * match(image, asked, np.random.default_rng(0)).astype(np.float64)
        if statistic == "rotational_spectrum":
            spectrum = np.fft.rfft2(matched)
            spectrum[rings(image.shape) > 24] = 0
            matched = np.fft.irfft2(spectrum, s=image.shape)
        if statistic != "luminance":
            # SHINE gives all images the mean of the set.
            matched += 255 * np.mean(images) - matched.mean()
        # shinier returns 8-bit images.
        np.testing.assert_allclose(matched, np.asarray(shine), atol=0.51)
