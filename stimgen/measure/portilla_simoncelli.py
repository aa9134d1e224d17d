"""Portilla & Simoncelli's texture statistics, and how far an image is from its source in them.

The statistics are those of the package plenoptic, which is optional and imported when it is first needed.
"""

from __future__ import annotations

import math
import warnings
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stimgen.column import Column
from stimgen.errors import StimgenError
from stimgen.images.pixels import luminance
from stimgen.measure.decoded import DecodedImage
from stimgen.measure.registration import Values, register_statistic

if TYPE_CHECKING:
    import torch

SCALES, ORIENTATIONS, WIDTH = 4, 4, 7
"""Scales and orientations of the pyramid, and side of the autocorrelations in px, as in the paper."""

OVERALL = "all"
"""Name of the distance over all families."""
PORTILLA = "Portilla & Simoncelli (2000), Int. J. Comput. Vis. 40:49"

# Skewness and kurtosis are one family: skewness alone is near zero in many sources, and a distance relative
# to it would say nothing.
_MOMENTS = "skew_kurtosis_reconstructed"
FAMILIES = {
    family: ("skew_reconstructed", "kurtosis_reconstructed") if family == _MOMENTS else (family,)
    for family in (
        "pixel_statistics",
        _MOMENTS,
        "std_reconstructed",
        "auto_correlation_reconstructed",
        "magnitude_std",
        "auto_correlation_magnitude",
        "cross_orientation_correlation_magnitude",
        "cross_scale_correlation_magnitude",
        "cross_scale_correlation_real",
        "var_highpass_residual",
    )
}
"""Families of statistics, and plenoptic's names for what they hold."""

# These stay defined where a band is empty; all others divide by the standard deviation of a band.
_SPREADS = ("pixel_statistics", "std_reconstructed", "magnitude_std", "var_highpass_residual")
# Smallest standard deviation that counts, of an image in units of white, and of a band in units of the
# source's standard deviation. Below is the rounding of float64, and of float32 sources.
_NO_CONTRAST, _EMPTY_BAND = 1e-9, 1e-6

Statistics = dict[str, NDArray[np.float64]]


def portilla_simoncelli_distances(
    image: NDArray[np.floating],
    source: NDArray[np.floating],
    *,
    scales: int = SCALES,
    orientations: int = ORIENTATIONS,
    width: int = WIDTH,
    device: str = "cpu",
) -> dict[str, float | None]:
    """Return how far an image is from its source in the statistics of Portilla & Simoncelli (2000).

    The luminances x of the image and x₀ of the source, (H, W) or (H, W, 3), are both brought to
    z = (x − μ₀) / σ₀, with the mean μ₀ and the standard deviation σ₀ of the source. With s_f and s₀_f the
    statistics of family f of the two, the distance is ‖s_f − s₀_f‖ / ‖s₀_f‖ (Euclidean norms), in float64.
    The distance over all families is the root of the mean of the squares of theirs. `width` is the side of
    the square of shifts of autocorrelations, px of their scale; odd.

    Returns
    -------
    dict of str to float or None
        "all", then each of `FAMILIES`; 0 for equal statistics. None where it is not defined: everything for
        a constant source, correlations and moments where a band of the image or the source is empty, and
        "all" where any family is not defined.
    """
    seen, goal = luminance(image), luminance(source)
    if goal.std() <= _NO_CONTRAST:
        return dict.fromkeys((OVERALL, *FAMILIES))
    model = _model(goal.shape, scales, orientations, width, device)
    measured = texture_statistics((np.stack([seen, goal]) - goal.mean()) / goal.std(), model)
    distances = {name: _distance(measured, name) for name in FAMILIES}
    found = [distance for distance in distances.values() if distance is not None]
    overall = float(np.sqrt(np.mean(np.square(found)))) if len(found) == len(FAMILIES) else None
    return {OVERALL: overall} | distances


@register_statistic(
    "portilla_simoncelli",
    order=80,
    prepare=lambda source: source.luminance,
    option="portilla_simoncelli",
    columns=(
        Column(
            "ps_distance",
            "Portilla-Simoncelli distance",
            "Root of the mean of the squares of ps_distance_* over the families; empty where one of them "
            "is, and there only where it is asked for.",
            "",
            PORTILLA,
            on_request=True,
        ),
        Column(
            "ps_distance_{family}",
            "Portilla-Simoncelli distance, {family}",
            "||s - s0|| / ||s0|| of the statistics {family} of the file and of the source, both with the "
            "source's mean and SD of luminance brought to 0 and 1. Empty where they are not defined, as in "
            "an image without structure at some scale and orientation.",
            "",
            PORTILLA,
            on_request=True,
        ),
    ),
)
def portilla_simoncelli_columns(image: DecodedImage, source: NDArray[np.float64] | None) -> Values:
    """Return `portilla_simoncelli_distances`, in four scales and orientations."""
    if source is None:
        return {}
    found = portilla_simoncelli_distances(image.luminance, source, device=image.device)
    return {"ps_distance" if name == OVERALL else f"ps_distance_{name}": d for name, d in found.items()}


def texture_statistics(planes: NDArray[np.floating], model: torch.nn.Module) -> Statistics:
    """Return the statistics of planes (n, H, W), without those that symmetry makes equal to others.

    They are arrays (n, number of statistics) by plenoptic's names, not finite where a plane is constant.
    """
    import torch

    place = next(buffer for buffer in model.buffers() if buffer.is_floating_point())
    with torch.no_grad():
        together = model(torch.as_tensor(planes[:, None], dtype=torch.float64, device=place.device))
    # In plenoptic's dictionary a statistic that equals another is NaN, whatever the image.
    kept = _by_name(model, torch.ones_like(together[:1]))
    found = _by_name(model, together)
    return {
        name: found[name].reshape(len(planes), -1)[:, np.isfinite(mask.reshape(-1))]
        for name, mask in kept.items()
    }


def has_empty_band(statistics: Statistics) -> bool:
    """Return whether a band of a plane with SD 1 is empty, so that its correlations are those of rounding."""
    spreads = (statistics["std_reconstructed"], statistics["magnitude_std"])
    return not all((spread > _EMPTY_BAND).all() for spread in spreads)


def texture_model(shape: tuple[int, ...], scales: int, orientations: int, width: int) -> torch.nn.Module:
    """Return plenoptic's model of the statistics for images of one shape, on the CPU, in float64."""
    plenoptic = load_plenoptic()
    # The pyramid draws an image from NumPy's global generator, which is the caller's.
    state = np.random.get_state()  # noqa: NPY002
    try:
        model: torch.nn.Module = plenoptic.models.PortillaSimoncelli(
            shape, n_scales=scales, n_orientations=orientations, spatial_corr_width=width
        )
    finally:
        np.random.set_state(state)  # noqa: NPY002
    return model.double()


def load_plenoptic() -> Any:
    """Return the package plenoptic; raise StimgenError if it is not installed."""
    with warnings.catch_warnings():
        # What its own dependencies say about each other is not for the user of this program.
        warnings.simplefilter("ignore")
        try:
            import plenoptic
            import plenoptic.loss
            import plenoptic.models
            import plenoptic.regularize
        except ImportError as error:
            raise StimgenError(
                f"Portilla & Simoncelli's statistics need the package plenoptic ({error}).",
                "Install it with: pip install 'stimgen[ps]'.",
            ) from None
    return plenoptic


def size_problem(height: int, width: int, scales: int, correlation_width: int) -> str | None:
    """Return in a sentence why images of a size have no such statistics, or None if they have.

    Each scale halves the image. The smallest plane must hold the shifts of the autocorrelation
    (`correlation_width`) and 4 px, and be even, which plenoptic's autocorrelation needs.

    Examples
    --------
    >>> size_problem(256, 256, 4, 7)
    >>> size_problem(100, 100, 4, 7)
    'a pyramid of 4 scales needs multiples of 32 px from 128 px on, and the image has 100 px.'
    """
    step = 2 ** (scales + 1)
    smallest = step * math.ceil(max(correlation_width, 4) / 2)
    for side in (height, width):
        if side % step or side < smallest:
            needs = f"needs multiples of {step} px from {smallest} px on"
            return f"a pyramid of {scales} scales {needs}, and the image has {side} px."
    return None


def _distance(measured: Statistics, family: str) -> float | None:
    """Return ‖s − s₀‖ / ‖s₀‖ of one family, of two planes of which the second is the source."""
    if family not in _SPREADS and has_empty_band(measured):
        return None
    seen, goal = np.concatenate([measured[name] for name in FAMILIES[family]], axis=1)
    size = float(np.linalg.norm(goal))
    smallest = _EMPTY_BAND**2 if family == "var_highpass_residual" else _EMPTY_BAND
    distance = float(np.linalg.norm(seen - goal)) / size if size > smallest else np.nan
    return distance if np.isfinite(distance) else None


def _by_name(model: torch.nn.Module, statistics: torch.Tensor) -> Statistics:
    named: Any = model.convert_to_dict
    return {name: found.cpu().numpy().astype(np.float64) for name, found in named(statistics).items()}


@lru_cache(maxsize=1)
def _model(
    shape: tuple[int, ...], scales: int, orientations: int, width: int, device: str
) -> torch.nn.Module:
    """Return the model; the last one is kept, because all images of a run have one size."""
    return texture_model(shape, scales, orientations, width).to(device)
