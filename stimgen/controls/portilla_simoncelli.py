"""Texture with the statistics of Portilla & Simoncelli (2000)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stimgen.controls.registration import ImageWithResiduals, Materials, register_control
from stimgen.errors import InputError, StimgenError
from stimgen.images.pixels import Image
from stimgen.matching.apply import clip_to_display
from stimgen.measure.portilla_simoncelli import (
    ORIENTATIONS,
    OVERALL,
    SCALES,
    WIDTH,
    has_empty_band,
    load_plenoptic,
    portilla_simoncelli_distances,
    size_problem,
    texture_model,
    texture_statistics,
)
from stimgen.references import DUONG_2023, PORTILLA_2000

if TYPE_CHECKING:
    import torch

EVALUATIONS = 10
"""Evaluations of loss and gradient in one iteration, as in plenoptic's published settings."""

RANGE_WEIGHT = 0.1
"""Weight of the penalty for values outside the source's range, likewise."""

# 1/400 of a level of 8 bits. The second and third component of a grey picture in RGB are the rounding of
# float32, and no structure.
_CONSTANT = 1e-5


def _problem(options: Mapping[str, Any], size_px: int) -> str | None:
    width = options["spatial_corr_width"]
    if width % 2 == 0:
        cure = f"use {width - 1} or {width + 1}"
        return f"spatial_corr_width is {width}; an autocorrelation has a centre, so {cure}."
    problem = size_problem(size_px, size_px, options["scales"], width)
    cure = "Change size_px, or use fewer scales or a smaller spatial_corr_width."
    return f"portilla_simoncelli: {problem} {cure}" if problem else None


@register_control(
    "portilla_simoncelli",
    check=_problem,
    seconds=90,
    package="plenoptic",
    prepare=load_plenoptic,
    references=(PORTILLA_2000, DUONG_2023),
)
def portilla_simoncelli(
    source: Image,
    rng: np.random.Generator,
    materials: Materials,
    *,
    iterations: Annotated[
        int,
        Field(ge=1, le=10_000, description="Iterations of ten evaluations of loss and gradient each."),
    ] = 50,
    scales: Annotated[
        int,
        Field(ge=2, le=8, description="Scales of the pyramid; size_px must be a multiple of 2^(scales + 1)."),
    ] = SCALES,
    orientations: Annotated[
        int, Field(ge=2, le=16, description="Orientations of the pyramid.")
    ] = ORIENTATIONS,
    spatial_corr_width: Annotated[
        int,
        Field(ge=3, le=63, description="Side of the square of autocorrelations, px of their scale; odd."),
    ] = WIDTH,
) -> ImageWithResiduals:
    """Return a texture with the wavelet statistics of Portilla & Simoncelli (2000).

    White Gaussian noise with the mean and the SD of the source is changed by L-BFGS until the statistics s of
    plenoptic's model are nearly those of the source, s₀. What becomes small is plenoptic's objective

        ‖w (s − s₀)‖ + 0.1 · Σ (what a pixel is outside the source's range)²

    with w = 100 for the variance of the highpass residual, 0 for the smallest and the largest pixel, and 1
    for all others, on pixels scaled to 0..1 between the extremes of the source.

    In colour, the principal components of the pixels are synthesised one by one (Heeger & Bergen 1995,
    section 3.5); one that is constant stays so. Values may leave 0..1. The residuals are
    `portilla_simoncelli_distances` with the same options, in colour of the luminance: "ps" over all, and
    "ps_" with the name of each family, those that are defined.
    """
    model = texture_model(source.shape[:2], scales, orientations, spatial_corr_width)
    components, axes, mean = principal_components(source)
    for number in range(components.shape[2]):
        component = components[:, :, number]
        if component.std() < _CONSTANT:
            components[:, :, number] = 0
            continue
        if has_empty_band(texture_statistics(component[None] / component.std(), model.double())):
            where = f"component {number + 1} of the source" if len(axes) > 1 else "the source"
            raise InputError(
                f"Bands of the pyramid are empty in {where}: correlations in them are not defined.",
                "Use a source with structure at all orientations and scales, or fewer scales.",
            )
        low, high = component.min(), component.max()
        made = _synthesise((component - low) / (high - low), model, iterations, rng, materials.device)
        components[:, :, number] = low + (high - low) * made
    image = (components @ axes.T + mean).reshape(source.shape).astype(np.float32)
    distances = portilla_simoncelli_distances(
        clip_to_display(image)[0], source, scales=scales, orientations=orientations, width=spatial_corr_width
    )
    residuals = {
        "ps" if name == OVERALL else f"ps_{name}": distance
        for name, distance in distances.items()
        if distance is not None
    }
    return ImageWithResiduals(image, residuals)


def principal_components(
    source: Image,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return (components, axes, mean), the image in its principal colours, where pixels are uncorrelated.

    ``components @ axes.T + mean`` is the source. Components (H, W, 1 or 3) are sorted from the largest
    variance. Axes are unit vectors in columns, with the largest entry positive.
    """
    pixels = source.reshape(*source.shape[:2], -1).astype(np.float64)
    mean = pixels.mean(axis=(0, 1))
    centred = pixels - mean
    covariance = np.einsum("ijc,ijd->cd", centred, centred) / (pixels.shape[0] * pixels.shape[1])
    axes = np.linalg.eigh(covariance)[1][:, ::-1]
    largest = axes[np.abs(axes).argmax(axis=0), np.arange(len(axes))]
    axes = axes * np.sign(largest)
    return centred @ axes, axes, mean


def _synthesise(
    plane: NDArray[np.float64], model: torch.nn.Module, iterations: int, rng: np.random.Generator, device: str
) -> NDArray[np.float64]:
    """Return a plane (H, W) with the statistics of another, whose values fill 0..1."""
    import torch

    plenoptic = load_plenoptic()
    model = model.to(device=device, dtype=torch.float32)

    def tensor(values: NDArray[np.float64]) -> torch.Tensor:
        return torch.as_tensor(values[None, None], dtype=torch.float32, device=device)

    goal = tensor(plane)
    with torch.no_grad():
        target = model(goal)
        distance = plenoptic.loss.portilla_simoncelli_loss_factory(model, goal)
    noise = plane.mean() + plane.std() * rng.standard_normal(plane.shape)
    image = tensor(noise).requires_grad_()
    optimiser = torch.optim.LBFGS(
        [image], max_iter=EVALUATIONS, max_eval=EVALUATIONS, history_size=100, line_search_fn="strong_wolfe"
    )

    def objective() -> float:
        optimiser.zero_grad()
        loss = distance(model(image), target) + RANGE_WEIGHT * plenoptic.regularize.penalize_range(image)
        loss.backward()
        return float(loss.item())

    for _ in range(iterations):
        optimiser.step(objective)  # type: ignore[no-untyped-call]
    found: NDArray[np.float64] = image.detach().cpu().numpy()[0, 0].astype(np.float64)
    if not np.isfinite(found).all():
        raise StimgenError(
            "The synthesis of Portilla & Simoncelli's statistics broke down: values are not finite.",
            "Use another seed or fewer iterations; a source with little structure may have no such texture.",
        )
    return found
