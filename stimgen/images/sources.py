"""From an image file to a source: crop, colour, resize."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stimgen.images.masks import Inside, mask_identity, place_inside, read_mask
from stimgen.images.pixels import Image, ImageError, linear_light, luminance
from stimgen.images.read import RawImage, read_image

HALF_LEVEL = 0.5 / 255
"""Overshoot that rounding to 8 bits would hide."""


def load_source(source: SourceSpec, image: ImageSpec, *, name: str) -> Source:
    """Load a source image and make it what the manifest asks for: crop, then colour, then size.

    Colour images become grey by their `luminance`; grey images become RGB by three equal channels. The crop
    is "centre" (the largest central square), "random" (a square of `size_px` at the file's own resolution, at
    a place that depends on the manifest's `name` and the source's id alone), or a square box (left, top,
    width, height) in pixels of the file.
    """
    raw = source.read()
    height, width = raw.pixels.shape[:2]
    box = crop_box(source, image, (height, width), name=name, origin=raw.origin)
    inside = None if source.mask is None else _cropped(read_mask(source.mask, raw), box)
    cut = None if inside is not None and not inside.any() else _cut(raw.pixels, box, image, inside)
    if cut is None or (cut[2] is not None and not cut[2].any()):
        problem = f'Source "{source.id}": no pixel of its crop is inside its mask.'
        raise ImageError(problem, "Correct the crop or the mask.")
    pixels, clipped_share, inside = cut
    return Source(
        id=source.id,
        pixels=pixels,
        sha256=raw.sha256,
        origin=raw.origin if source.path is None else source.image,
        crop_box=box,
        original_size=(height, width),
        clipped_share=clipped_share,
        white=source.white,
        linearise=source.linearise,
        mask=mask_identity(source.mask),
        inside=inside,
    )


def load_photograph(source: SourceSpec, image: ImageSpec, loaded: Source) -> Photograph:
    """Read again the whole image that the source `loaded` was cut from."""
    raw = source.read()
    if raw.sha256 != loaded.sha256:
        raise ImageError(
            f"{raw.origin} is another file than when the run began.",
            "Put the old file back, or start the run again.",
        )
    return Photograph(raw.pixels, raw.origin, loaded.crop_box, image)


def _cropped(plane: NDArray[Any], box: Box) -> NDArray[Any]:
    return plane[box.top : box.top + box.height, box.left : box.left + box.width]


def _cut(
    pixels: Image, box: Box, image: ImageSpec, inside: Inside | None = None
) -> tuple[Image, float, Inside | None]:
    """Return a box of a photograph in the stimuli's colour and size, and the share of clipped samples.

    `inside` is the mask of the box, and the last result that of the new pixels.
    """
    cropped = _cropped(pixels, box)
    if image.color == "grey":
        cropped = luminance(cropped).astype(np.float32)
    if inside is None:
        cut, clipped_share = shrink(cropped, image.size_px)
    else:
        cut, clipped_share, inside = shrink_inside(cropped, inside, image.size_px)
    if image.color == "rgb" and cut.ndim == 2:
        cut = np.repeat(cut[:, :, np.newaxis], 3, axis=2)
    return cut, clipped_share, inside


def shrink(image: Image, size_px: int) -> tuple[Image, float]:
    """Return a square image with a side of `size_px`, without aliasing.

    Each channel is convolved with the Lanczos window of three lobes, widened by the scale factor, in floating
    point (Turkowski 1990, Graphics Gems, 147–165). Among the usual filters it keeps most of the contrast just
    below the new Nyquist frequency and passes least above it. Its side lobes overshoot at sharp edges; values
    outside 0..1 are clipped.

    `image` is (N, N) or (N, N, 3) float32 with N ≥ `size_px`, values 0..1. The second result is the share of
    samples that overshot by more than half a grey level of 8 bits.
    """
    pixels = _lanczos(image, size_px)
    clipped = np.clip(pixels, 0, 1)
    return clipped, float(np.mean(np.abs(pixels - clipped) > HALF_LEVEL))


def shrink_inside(image: Image, inside: Inside, size_px: int) -> tuple[Image, float, Inside]:
    """Return what `shrink` makes of the pixels inside alone, and which of the new pixels are inside.

    With k the filter at a new pixel, its value is Σ_inside k x / Σ_inside k, the normalised convolution
    (Knutsson & Westin 1993, CVPR, 515–523). It is inside where Σ_inside k > 0.5. All others have the mean of
    those that are inside, of each channel.
    """
    # About the mean, so that what is outside adds nothing to the sums.
    mean = image[inside].mean(axis=0, dtype=np.float64).astype(np.float32)
    image = place_inside(image[inside], inside)
    if size_px < len(image):
        weights = _lanczos(inside.astype(np.float32), size_px)
        sums, inside = _lanczos(image - mean, size_px), weights > 0.5
        weights = np.where(inside, weights, 1)
        image = mean + sums / (weights if image.ndim == 2 else weights[..., np.newaxis])
    pixels = np.clip(image, 0, 1)
    overshot = np.abs(image - pixels)[inside] > HALF_LEVEL
    if not inside.any():
        return pixels, 0.0, inside
    return place_inside(pixels[inside], inside), float(overshot.mean()), inside


def _lanczos(image: Image, size_px: int) -> Image:
    from PIL import Image as Pillow

    if image.shape[0] == size_px:
        return image.copy()
    if image.ndim == 3:
        planes = [_lanczos(image[:, :, channel], size_px) for channel in range(image.shape[2])]
        return np.stack(planes, axis=2)
    picture = Pillow.fromarray(np.ascontiguousarray(image))
    return np.asarray(picture.resize((size_px, size_px), Pillow.Resampling.LANCZOS))


def crop_box(source: SourceSpec, image: ImageSpec, size: tuple[int, int], *, name: str, origin: str) -> Box:
    """Return the box that `load_source` cuts from an image file of `size` (height, width), in its pixels."""
    height, width = size
    if source.crop == "centre":
        side = min(height, width)
        box = Box((width - side) // 2, (height - side) // 2, side, side)
    elif source.crop == "random":
        # An image that is too small fails below; the limits keep the draw valid until then.
        digest = hashlib.sha256(f"crop\0{name}\0{source.id}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest, "big"))
        top = int(rng.integers(max(height - image.size_px, 0) + 1))
        left = int(rng.integers(max(width - image.size_px, 0) + 1))
        box = Box(left, top, min(image.size_px, width, height), min(image.size_px, width, height))
    else:
        box = Box(*source.crop)
    named = f'Source "{source.id}": the crop of {origin} is {box.width} × {box.height} pixels'
    if box.width != box.height or box.width < 1:
        raise ImageError(f"{named}, which is not a square.", "Give it the same width and height, 1 or more.")
    if min(box) < 0 or box.left + box.width > width or box.top + box.height > height:
        raise ImageError(
            f"{named} from {box[:2]} on, and leaves the image, which is {width} × {height} pixels.",
            f"Keep left + width within {width} and top + height within {height}, left and top 0 or more.",
        )
    if box.width < image.size_px:
        raise ImageError(
            f"{named}, smaller than the stimuli ({image.size_px} × {image.size_px}); "
            f"the file is {width} × {height}.",
            f"Use a larger image or crop, or set size_px to {box.width} or less. "
            "Sources are never enlarged, because that would remove their high frequencies.",
        )
    return box


@dataclass(frozen=True)
class SourceSpec:
    """A source texture as the manifest names it; `path` is None for an image of scikit-image.

    `white` is the sample that is white, by default the largest of the file's bits. `mask` is "alpha" or the
    mask's file.
    """

    id: str
    image: str
    path: Path | None
    crop: Literal["centre", "random"] | tuple[int, int, int, int]
    white: int | None = None
    linearise: Literal["none", "srgb"] = "none"
    mask: Path | Literal["alpha"] | None = None

    def read(self) -> RawImage:
        """Return the whole image, its values proportional to light where `linearise` says so."""
        raw = read_image(
            self.image if self.path is None else self.path,
            white=self.white,
            transparent=self.mask is not None,
        )
        return replace(raw, pixels=linear_light(raw.pixels)) if self.linearise == "srgb" else raw


@dataclass(frozen=True)
class ImageSpec:
    """Size of every stimulus, its colour ("grey" or "rgb") and bits. Angles that are not known are None."""

    size_px: int
    size_deg: float | None
    ppd: float | None
    color: str
    bits: int = 8


class Box(NamedTuple):
    """A rectangle of pixels in an image file; row and column 0 are at the top left."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class Source:
    """A source after crop, colour conversion and resize.

    `pixels` are (size_px, size_px) or (size_px, size_px, 3) float32, values 0..1. `sha256` is that of the
    file, and `origin` the image as the manifest names it; for one of scikit-image with its version. The
    `crop_box` was cut from a file of `original_size` (height, width). `clipped_share` is the share of samples
    that overshot by more than half a grey level of 8 bits when the image was shrunk. `inside` says which
    pixels the mask keeps; the others have the mean of these. `mask` is its `mask_identity`, and the rest as
    in `SourceSpec`.
    """

    id: str
    pixels: Image
    sha256: str
    origin: str
    crop_box: Box
    original_size: tuple[int, int]
    clipped_share: float
    white: int | None = None
    linearise: str = "none"
    mask: str | None = None
    inside: Inside | None = None

    @property
    def counted(self) -> Image:
        """The pixels, or with a mask those inside as one column, (n, 1) or (n, 1, 3)."""
        return self.pixels if self.inside is None else self.pixels[self.inside][:, np.newaxis]


@dataclass(frozen=True, eq=False)
class Photograph:
    """The whole image that a source was cut from, and the source's place in it."""

    pixels: Image
    origin: str
    crop_box: Box
    image: ImageSpec

    def crop(self, left: int, top: int) -> Image:
        """Return the square at another corner (px of the file), brought to the source's size and colour."""
        return _cut(self.pixels, self.crop_box._replace(left=left, top=top), self.image)[0]
