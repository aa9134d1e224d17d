import numpy as np
import pytest
from measured_images import grating

from stimgen.measure import STATISTICS, DecodedImage


def contrast(image):
    return STATISTICS["michelson"].measure(DecodedImage(image), None)["michelson_contrast"]


def test_contrast_of_a_grating():
    assert contrast(grating(64, 4, amplitude=0.2)) == pytest.approx(0.4)


def test_black_white_and_constant_images():
    assert contrast(np.array([[0.0, 1.0]])) == 1
    assert contrast(np.full((2, 2), 0.3)) == 0
    assert contrast(np.zeros((2, 2, 3))) is None
