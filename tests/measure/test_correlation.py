from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from measured_images import grey, pairs_of_images

from stimgen.measure.correlation import correlation_matrix, standardised


def test_it_is_numpys():
    images = np.random.default_rng(0).random((5, 12, 7, 3)).astype(np.float32)
    rows = np.stack([standardised(image) for image in images])
    expected = np.corrcoef([grey(image).ravel() for image in images])
    np.testing.assert_allclose(correlation_matrix(rows[:2], rows), expected[:2], rtol=1e-9, atol=1e-12)


@settings(deadline=None)
@given(pairs_of_images())
def test_it_is_a_correlation_or_not_defined(pair):
    rows = np.stack([standardised(image) for image in pair])
    matrix = correlation_matrix(rows, rows)
    varies = np.asarray([np.ptp(grey(image)) > 1e-4 for image in pair])
    assert (np.abs(matrix[np.ix_(varies, varies)]) <= 1).all()
    np.testing.assert_allclose(np.diag(matrix)[varies], 1, rtol=1e-9)
    for number, image in enumerate(pair):
        if not np.ptp(image.reshape(-1, image.shape[2] if image.ndim == 3 else 1), axis=0).any():
            assert np.isnan(matrix[number]).all()
            assert np.isnan(matrix[:, number]).all()
