from __future__ import annotations

import numpy as np
import pytest
from measured_images import power_law

from stimgen.controls.phase_scrambled import phase_scrambled
from stimgen.measure import STATISTICS, DecodedImage


@pytest.mark.parametrize("alpha", [0, 1, 2])
def test_phase_scrambles_of_one_image_correlate_as_much(alpha):
    image = power_law(alpha, 64).astype(np.float32)
    image = (image - image.min()) / np.ptp(image)
    rows = [phase_scrambled(image, np.random.default_rng(seed)).ravel() for seed in range(80)]
    correlations = np.corrcoef(rows)[np.triu_indices(len(rows), 1)]
    expected = STATISTICS["chance_correlation"].measure(DecodedImage(image), None)["chance_correlation_sd"]
    assert correlations.std() == pytest.approx(expected, rel=0.1)


def test_a_constant_image_has_no_correlation():
    image = DecodedImage(np.full((16, 16), 0.3))
    assert STATISTICS["chance_correlation"].measure(image, None) == {"chance_correlation_sd": None}
