"""Images in memory: from the samples of a file to values 0..1; luminance; differences of two images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stimgen.errors import InputError

Image = NDArray[np.float32]
"""Float image: (H, W) grey or (H, W, 3) RGB, values 0..1 unless a function says otherwise."""

REC709 = (0.2126, 0.7152, 0.0722)
"""Weights of R, G and B in luminance (ITU-R BT.709-6, item 3.2)."""
MAX_PIXELS = 2**26
"""Largest width × height that is read, 8192 × 8192: a small file can claim to be a huge image."""


class ImageError(InputError):
    """An image file that cannot be used."""


@dataclass(frozen=True)
class Samples:
    """Samples of one picture, upright, and their alpha channel.

    `values` are (H, W) or (H, W, 3), unsigned integers of `bits` bits or, if `bits` is None, floats. `alpha`
    is (H, W), from 0, transparent, to 1, opaque; None for an image that can have no transparent pixels.
    """

    values: NDArray[Any]
    bits: int | None
    alpha: Image | None = None


def check_size(width: int, height: int, pictures: int, origin: str) -> None:
    """Raise `ImageError`, before memory is taken, unless a file holds one picture of up to `MAX_PIXELS`."""
    if pictures != 1:
        raise ImageError(
            f"{origin} holds {pictures} pictures (pages, frames of an animation, or previews).",
            "Save the one that you mean as a PNG file.",
        )
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{origin} is {width} × {height} pixels; stimgen reads at most {MAX_PIXELS} pixels.",
            "Crop or shrink the image in an image editor.",
        )


def turn_upright(samples: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return samples (H, W) or (H, W, C) turned as the orientation tag 274 says (TIFF 6.0, section 8)."""
    transposed = samples.swapaxes(0, 1)
    turned = {
        2: samples[:, ::-1],
        3: samples[::-1, ::-1],
        4: samples[::-1],
        5: transposed,
        6: transposed[:, ::-1],
        7: transposed[::-1, ::-1],
        8: transposed[::-1],
    }
    return turned.get(orientation, samples)


def to_unit_range(
    decoded: Samples, origin: str, white: int | None = None, *, transparent: bool = False
) -> Image:
    """Return the colour samples as float32 values 0..1; values outside are errors.

    So are transparent pixels, unless `transparent` says that they are known to be there.

    An integer v of b bits becomes v / (2^b − 1), or v / `white`: black is 0, white is 1. Floats are kept as
    they are. 16-bit samples that fit in 12 bits need `white`, because many cameras store 12 bits in 16.
    """
    values = decoded.values
    if decoded.alpha is not None and not transparent and (decoded.alpha < 1).any():
        share = f"{np.count_nonzero(decoded.alpha < 1)} of {decoded.alpha.size}"
        raise ImageError(
            f"{origin} has transparent pixels ({share}); what lies behind them is not known.",
            "Flatten the image onto a background in an image editor, or remove its alpha channel. If what is "
            "opaque is the texture, write mask: alpha beside the source.",
        )
    if decoded.bits is not None:
        largest = int(values.max())
        if white is None and decoded.bits == 16 and 0 < largest < 2**12:
            raise ImageError(
                f"{origin} has 16-bit samples of at most {largest}: either 12 bits or fewer are stored in "
                "16, or the image is nearly black.",
                "State what white is, 4095 for 12 bits or 65535 for 16: white: 4095 beside the source in a "
                "manifest, or stimgen stats --white 4095.",
            )
        white = 2**decoded.bits - 1 if white is None else white
        if largest > white:
            raise ImageError(f"{origin} has samples up to {largest}, above white, {white}.", "Correct white.")
        return unit_values(values.astype(np.uint8) if values.dtype == bool else values, white)
    bad = int(np.count_nonzero(~np.isfinite(values)))
    if bad:
        raise ImageError(
            f"{origin} has {bad} samples that are not finite (NaN or infinity).",
            "Replace them, or save the image with integer samples.",
        )
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        raise ImageError(
            f"{origin} has float samples from {low:g} to {high:g}, where 0 is black and 1 is white.",
            "Divide by the value of white before you save it, or save it with 8- or 16-bit integers.",
        )
    return np.asarray(values, dtype=np.float32)


def unit_values(values: NDArray[Any], white: int) -> Image:
    """Return integers v from 0 to white as v / white in float32."""
    # Looked up, because the quotients in double precision would take twice the memory of the result.
    table = (np.arange(white + 1) / np.float64(white)).astype(np.float32)
    return np.asarray(table[values])


def linear_light(image: Image) -> Image:
    """Return values proportional to light from values 0..1 with the coding of sRGB (IEC 61966-2-1:1999).

    c / 12.92 up to 0.04045, and ((c + 0.055) / 1.055)^2.4 above.
    """
    values = image.astype(np.float64)
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4).astype(np.float32)


def plane_if_grey(image: Image) -> Image:
    """Return the plane (H, W) of an image whose R, G and B are equal everywhere; any other as it is."""
    return image[..., 0] if image.ndim == 3 and (image == image[..., :1]).all() else image


def with_channels_of(image: Image, other: Image) -> Image:
    """Return a grey image (H, W) with R = G = B if the other is RGB; any other as it is."""
    return np.repeat(image[..., np.newaxis], 3, axis=2) if image.ndim < other.ndim else image


def luminance(image: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the luminance plane Y = 0.2126 R + 0.7152 G + 0.0722 B of an image (ITU-R BT.709-6, item 3.2).

    The weights are applied to the pixel values as they are, without undoing a display gamma: in vision
    experiments the display is linearised, so that a pixel value is proportional to light. `image` is (H, W)
    or (H, W, 3), and the result (H, W) float64; a grey image is its own luminance.
    """
    if image.ndim == 2:
        return image.astype(np.float64)
    if image.ndim == 3 and image.shape[2] == 3:
        plane: NDArray[np.float64] = image.astype(np.float64) @ np.asarray(REC709)
        return plane
    raise ValueError(f"an image has shape (H, W) or (H, W, 3), not {image.shape}")


def wasserstein_1(values: NDArray[np.floating], targets: NDArray[np.floating]) -> float:
    """Return the Wasserstein-1 distance between two sets of as many values, Σ_k |x_(k) − y_(k)| / n.

    It is how far a value must move, on average, to turn one histogram into the other (Vallender 1974, Theory
    of Probability and its Applications 18, 784–786). Both must be sorted along the axis of the pixels.
    """
    return float(np.mean(np.abs(values - targets)))


def relative_error(difference: float, power: float) -> float | None:
    """Return the relative error √(Σ (A − A₀)² / Σ A₀²) of amplitudes; None if A₀ is 0 everywhere.

    `difference` is Σ (A − A₀)² over all frequencies but zero, and `power` is Σ A₀².
    """
    return float(np.sqrt(difference / power)) if power else None
