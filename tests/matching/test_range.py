from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stimgen.errors import StimgenError
from stimgen.images.png import quantise
from stimgen.matching.range import clip_to_display


@given(hnp.arrays(np.float32, (5, 7), elements=st.floats(-2, 3, width=32)))
def test_range_and_share(image):
    clipped, share = clip_to_display(image)
    assert clipped.dtype == np.float32
    assert 0 <= clipped.min() <= clipped.max() <= 1
    inside = (image >= 0) & (image <= 1)
    np.testing.assert_array_equal(clipped[inside], image[inside])
    assert share == np.mean([not -1e-6 <= float(value) <= 1 + 1e-6 for value in image.ravel()])
    quantise(clipped)


def test_rounding_is_not_clipping():
    clipped, share = clip_to_display(np.array([[-1e-7, 1 + 1e-7]]))
    assert share == 0
    np.testing.assert_array_equal(clipped, [[0, 1]])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite(value):
    with pytest.raises(StimgenError, match="not finite"):
        clip_to_display(np.array([[0.5, value]]))
