"""Distances between the Gram matrices of an image and of its source, and the scale to read them on."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stimgen.column import Column
from stimgen.images.masks import Inside
from stimgen.images.pixels import Image
from stimgen.measure.decoded import DecodedImage
from stimgen.measure.registration import Values, register_statistic

if TYPE_CHECKING:
    from torch import Tensor

    from stimgen.networks.extractor import FeatureExtractor
    from stimgen.networks.kept import Arrays

GATYS = "Gatys, Ecker & Bethge (2015), NeurIPS 28"
SHERMAN = "Sherman (1996), J R Stat Soc B 58:509-523"

VERSION = 2
"""To be raised when a column of the same image comes to have other values."""


@dataclass(frozen=True)
class GramScale:
    """What relative Gram distances of one layer from one source can be compared with.

    The floor is about the distance between two samples of the texture that are as large as the source, None
    where the crops that it is measured on are too small for the layer. The ceiling is the distance of
    phase-scrambled versions. Each is a mean, with the standard deviation of what it is the mean of
    (`source_grams`). All are None for a source with a mask.
    """

    floor: float | None
    floor_sd: float | None
    ceiling: float | None
    ceiling_sd: float | None


def normalised(gram_relative: float, floor: float | None) -> float | None:
    """Return a relative Gram distance in units of the floor; None where there is none, or it is 0.

    Examples
    --------
    >>> normalised(0.5, 0.25)
    2.0
    """
    return gram_relative / floor if floor else None


@dataclass(frozen=True, eq=False)
class SourceGrams:
    """What images are compared with in one network in float32, the same for all stimuli of a source.

    `extrapolated` says whether the floor is that of smaller crops than the source; None with a mask.
    """

    extractor: FeatureExtractor
    targets: Mapping[str, Tensor]  # by layer, Gram matrices of shape (1, channel, channel)
    scales: Mapping[str, GramScale]
    extrapolated: bool | None


def source_grams(
    extractor: FeatureExtractor,
    source: Image,
    layers: Sequence[str],
    scrambled: Iterable[Image],
    crops: Sequence[Image] = (),
    inside: Inside | None = None,
    scrambled_by: object = None,
) -> SourceGrams:
    """Measure a source, and what its distances are compared with: images (H, W) or (H, W, 3), 0..1.

    The ceiling is the mean and the standard deviation (n - 1) of the relative distances of two or more
    `scrambled` versions. The floor is that of ``||G_i - G_j||_F / ||T||_F * sqrt(A / A_T)`` over all pairs of
    `crops` with Gram matrices G and area A, T and A_T being those of the source. By default the crops are the
    quarters of the source, which overlap by one line where a side is odd.

    In a stationary texture whose features are correlated over less than the side of a crop, the variance of
    a mean over positions is inversely proportional to the area (Sherman 1996), and the distance between two
    crops to its root. In photographs that differ from place to place, distances fall more slowly with area,
    and the floor from quarters is too low.

    With a mask, `inside`, no scale is measured: only whole sources have crops of their shape and a phase
    scramble.

    If `scrambled_by` says how the scrambled versions are made of the source, with a `repr`, the scale is kept
    in the cache folder; where it is known, they are not asked for.
    """
    from stimgen.networks.kept import arrays_sha256, kept

    targets = _gram_matrices(extractor, [source], layers, inside)
    if inside is not None:
        none = dict.fromkeys(layers, GramScale(None, None, None, None))
        return SourceGrams(extractor, targets, none, extrapolated=None)
    crops = crops or _quarters(source)

    def measure() -> Arrays:
        return _scale_distances(extractor, targets, scrambled, crops, math.prod(source.shape[:2]))

    if scrambled_by is None:
        found = measure()
    else:
        pixels = arrays_sha256([source, *crops])
        depends_on = VERSION, extractor.identity, extractor.dtype, tuple(layers), pixels, scrambled_by
        found = kept("grams", depends_on, extractor.device, measure)
    scales = {
        layer: GramScale(*_mean_and_sd(found[f"floor {layer}"]), *_mean_and_sd(found[f"ceiling {layer}"]))
        for layer in layers
    }
    return SourceGrams(extractor, targets, scales, extrapolated=crops[0].shape[:2] != source.shape[:2])


def _scale_distances(
    extractor: FeatureExtractor,
    targets: Mapping[str, Tensor],
    scrambled: Iterable[Image],
    crops: Sequence[Image],
    area: int,
) -> Arrays:
    """Return the distances whose means are floor and ceiling; none where crops are too small."""
    from torch.linalg import matrix_norm

    ceilings = [gram_distances(extractor, image, targets) for image in scrambled]
    height, width = crops[0].shape[:2]
    fitting = [layer for layer in targets if extractor.architecture.smallest_px(layer) <= min(height, width)]
    # One at a time: crops may be as large as the source.
    grams = [_gram_matrices(extractor, [crop], fitting) for crop in crops if fitting]
    share = height * width / area
    found = {}
    for layer, target in targets.items():
        pairs = [
            math.sqrt(share) * float(matrix_norm(one[layer] - other[layer]) / matrix_norm(target))
            for one, other in itertools.combinations(grams, 2)
            if layer in fitting
        ]
        above = [distances[layer][1] for distances in ceilings]
        found[f"floor {layer}"] = np.array(pairs, dtype=np.float64)
        found[f"ceiling {layer}"] = np.array(above, dtype=np.float64)
    return found


def _mean_and_sd(distances: NDArray[np.float64]) -> tuple[float, float] | tuple[None, None]:
    """Return mean and standard deviation (divisor n − 1), not finite where a distance is not."""
    if not len(distances):
        return None, None
    with np.errstate(invalid="ignore"):
        return float(np.mean(distances)), float(np.std(distances, ddof=1))


def _quarters(image: Image) -> list[Image]:
    """Return the crops of half the side, rounded up, at the four corners."""
    height, width = (math.ceil(side / 2) for side in image.shape[:2])
    halves = image[:height], image[-height:]
    return [quarter for half in halves for quarter in (half[:, :width], half[:, -width:])]


def gram_distances(
    extractor: FeatureExtractor, image: Image, targets: Mapping[str, Tensor], inside: Inside | None = None
) -> dict[str, tuple[float, float]]:
    """Return ``1 / (4 N^2) * sum (G - T)^2`` and ``||G - T||_F / ||T||_F`` of an image, by layer."""
    from stimgen.texture.statistics.gram import gram_loss, relative_gram_distance

    grams = _gram_matrices(extractor, [image], list(targets), inside)
    return {
        layer: (gram_loss(grams[layer], target).item(), relative_gram_distance(grams[layer], target).item())
        for layer, target in targets.items()
    }


def stage_distances(image: Image, source: SourceGrams, inside: Inside | None = None) -> Values:
    """Return the columns of `gram_columns` that are the image's own: without floor and ceiling."""
    values: Values = {}
    for layer, (loss, relative) in gram_distances(source.extractor, image, source.targets, inside).items():
        values |= {f"gram_loss_{layer}": loss, f"gram_relative_{layer}": relative}
    return normalised_by(source, values)


def normalised_by(source: SourceGrams, distances: Mapping[str, float | bool | None]) -> Values:
    """Return the columns of losses and relative distances, with normalised ones that follow from them."""
    values: Values = {}
    for layer, scale in source.scales.items():
        loss, relative = (distances[f"gram_{name}_{layer}"] for name in ("loss", "relative"))
        assert relative is not None, "relative distances are always measured"
        values |= {
            f"gram_loss_{layer}": loss,
            f"gram_relative_{layer}": relative,
            f"gram_normalised_{layer}": normalised(relative, scale.floor),
        }
    return values


def scale_columns(source: SourceGrams) -> Values:
    """Return the columns of `gram_columns` that are the source's."""
    values: Values = {"gram_floor_extrapolated": source.extrapolated}
    for layer, scale in source.scales.items():
        values |= {f"gram_{name}_{layer}": value for name, value in vars(scale).items()}
    return values


@register_statistic(
    "gram",
    order=70,
    needs_network=True,
    columns=(
        Column(
            "gram_loss_{layer}",
            "Gram loss, {layer}",
            "1/(4 N^2) * sum of squared differences between the Gram matrices of the file and of the source.",
            "",
            GATYS,
        ),
        Column(
            "gram_relative_{layer}",
            "Relative Gram distance, {layer}",
            "Norm of the difference between the Gram matrices of the file and of the source, divided by the "
            "norm of the source's; 0 for equal statistics. In the network of `measured_in`.",
        ),
        Column(
            "gram_normalised_{layer}",
            "Normalised Gram distance, {layer}",
            "Relative distance divided by the floor: 1 is about as far as another sample of the texture, as "
            "large as the source, and ceiling / floor as far as the phase scramble of the source. Empty "
            "where there is no floor, or it is 0.",
        ),
        Column(
            "gram_floor_{layer}",
            "Floor of the Gram distance, {layer}",
            "About the relative distance between two samples of the texture as large as the source: norm of "
            "the difference between the Gram matrices of two crops, divided by the norm of the source's, "
            "times the root of the crop's area divided by the source's; mean over the six pairs of four "
            "crops. Empty where a crop is too small for the layer, and for a source with a mask.",
            "",
            SHERMAN,
        ),
        Column(
            "gram_floor_sd_{layer}",
            "SD of the floor, {layer}",
            "Standard deviation (n - 1) over the six pairs.",
        ),
        Column(
            "gram_ceiling_{layer}",
            "Ceiling of the Gram distance, {layer}",
            "Mean relative Gram distance of five phase-scrambled versions of the source; empty for a source "
            "with a mask.",
        ),
        Column(
            "gram_ceiling_sd_{layer}",
            "SD of the ceiling, {layer}",
            "Standard deviation (n - 1) over the five versions.",
        ),
        Column(
            "gram_floor_extrapolated",
            "Floor extrapolated",
            "False if the four crops of the floor are as large as the source, because its file has room for "
            "them: the quarters of the square of twice the side around it. True if they are the quarters of "
            "the source; in a photograph that differs from place to place, the floor is then too low.",
        ),
    ),
    version=VERSION,
)
def gram_columns(image: DecodedImage, source: SourceGrams | None) -> Values:
    """Return the distances on each layer, with the floor and the ceiling of the source."""
    return stage_distances(image.pixels, source, image.inside) | scale_columns(source) if source else {}


def _gram_matrices(
    extractor: FeatureExtractor, images: Sequence[Image], layers: Sequence[str], inside: Inside | None = None
) -> dict[str, Tensor]:
    from stimgen.texture.objective import to_batch
    from stimgen.texture.statistics.gram import gram_matrices

    return gram_matrices(extractor, to_batch(images, extractor.device), layers, inside)
