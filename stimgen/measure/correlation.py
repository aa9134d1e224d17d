"""How much whole images are alike, pixel by pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stimgen.images.pixels import luminance
from stimgen.measure.copying import NO_CONTRAST


def standardised(image: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the luminance of an image with mean 0 and norm 1, shape (H · W,); zeros without contrast.

    Without contrast are images whose squared deviations from their mean are no more than rounding
    (`stimgen.measure.copying.NO_CONTRAST`).

    Parameters
    ----------
    image
        (H, W) or (H, W, 3), finite.
    """
    values = luminance(image).ravel()
    deviations: NDArray[np.float64] = values - values.mean()
    squares = float(deviations @ deviations)
    if squares <= NO_CONTRAST * float(values @ values):
        return np.zeros_like(values)
    deviations /= np.sqrt(squares)
    return deviations


def correlation_matrix(rows: NDArray[np.float64], columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Pearson's correlation of each of some images with each of others.

    Σ (x − mean x) (y − mean y) / √(Σ (x − mean x)² · Σ (y − mean y)²) over the pixels, without any shift.

    Parameters
    ----------
    rows, columns
        `standardised` images of one shape, (M, H · W) and (N, H · W).

    Returns
    -------
    ndarray, shape (M, N)
        −1..1; NaN where one of the images has no contrast.
    """
    matrix = np.clip(rows @ columns.T, -1, 1)
    matrix[~rows.any(axis=1)] = np.nan
    matrix[:, ~columns.any(axis=1)] = np.nan
    return matrix
