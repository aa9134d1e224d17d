from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matched_images import images

from stimgen.errors import StimgenError
from stimgen.matching.luminance import match_luminance

PLANES = st.tuples(st.integers(1, 16), st.integers(1, 16)).flatmap(images)


@given(PLANES, st.floats(-1, 2), st.floats(0, 1))
def test_mean_and_sd_are_those_asked_for(plane, mean, sd):
    if np.ptp(plane) == 0 and sd > 0:
        with pytest.raises(StimgenError, match="constant image, or channel of one, has no contrast"):
            match_luminance(plane, mean, sd)
        return
    matched = match_luminance(plane, mean, sd)
    assert np.mean(matched) == pytest.approx(mean, abs=1e-9)
    assert np.sqrt(np.mean((matched - np.mean(matched)) ** 2)) == pytest.approx(sd, abs=1e-9)
