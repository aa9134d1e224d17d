"""The windowed spectrum by its formula, for the tests of this folder."""

from __future__ import annotations

import math

import numpy as np
from scipy import fft as scipy_fft
from scipy import ndimage, signal


def by_frequency(image):
    """Yield (down, right, power) of each frequency but zero of the whole plane, in cycles per pixel."""
    height, width = image.shape
    kernel = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])
    window = np.outer(signal.windows.hann(height), signal.windows.hann(width))
    transform = scipy_fft.fft2(window * ndimage.convolve(image.astype(np.float64), kernel))
    for row in range(height):
        for column in range(width):
            down, right = (
                (k if 2 * k < side else k - side) / side for k, side in ((row, height), (column, width))
            )
            response = 4 * math.sin(math.pi * down) ** 2 + 4 * math.sin(math.pi * right) ** 2
            if response:
                power = abs(transform[row, column]) ** 2 / (response * image.size) ** 2
                yield down, right, power / np.mean(window**2)
