"""Statistics of any images, made by any tool, in the columns of stimuli.csv."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
import torch

from stimgen.errors import InputError
from stimgen.images.read import RawImage
from stimgen.images.sources import SourceSpec
from stimgen.manifest.schema import NetworkSpec
from stimgen.measure import DecodedImage, measure, prepare_source
from stimgen.measure.portilla_simoncelli import SCALES, WIDTH, load_plenoptic, size_problem
from stimgen.networks.architectures import NETWORKS
from stimgen.networks.extractor import build_extractor
from stimgen.networks.weights import WeightsError, find_weights
from stimgen.runs.csv_files import table_of
from stimgen.runs.preparation import grams_of


@dataclass(frozen=True)
class GramMeasurement:
    """Where Gram distances are measured: in which network and layers, and on which device."""

    network: NetworkSpec
    layers: tuple[str, ...]
    device: torch.device


def measure_images(
    images: Sequence[str],
    *,
    source: str | None = None,
    gram: GramMeasurement | None = None,
    portilla_simoncelli: bool = False,
    ppd: float | None = None,
    white: int | None = None,
    linearise: Literal["none", "srgb"] = "none",
) -> pd.DataFrame:
    """Measure image files as stimuli are measured: a row per image, with the columns of `columns.IMAGES`.

    Images and `source` are PNG, TIFF or JPEG files, or "skimage:NAME". Statistics that compare pixel by pixel
    or frequency by frequency (histogram_w1, amplitude_error, radial_error_db) are empty for images of another
    size than the source; for Portilla & Simoncelli's statistics all must have its size. `ppd` is in pixels
    per degree of visual angle. `white` and `linearise` are those of `stimgen.images.sources.SourceSpec`.
    """

    def read(name: str) -> RawImage:
        return SourceSpec(name, name, None, "centre", white, linearise).read()

    if source is None and (gram or portilla_simoncelli):
        raise InputError("A distance is a distance from a source.", "Name it with --source.")
    if portilla_simoncelli:
        load_plenoptic()
    _refuse_unsuitable(images, source, gram, portilla_simoncelli, read)
    columns, prepared = _source(source, read(source), gram, portilla_simoncelli) if source else ({}, {})
    return table_of(_row(name, read(name), columns, prepared, ppd) for name in images)


def _refuse_unsuitable(
    images: Sequence[str],
    source: str | None,
    gram: GramMeasurement | None,
    portilla_simoncelli: bool,
    read: Callable[[str], RawImage],
) -> None:
    """Raise, before anything is measured, with all that is wrong with any of the images."""
    problems = []
    architecture = NETWORKS[gram.network.name]() if gram else None
    smallest = architecture.smallest_px(architecture.deepest(gram.layers)) if architecture and gram else 1
    size = None if source is None else read(source).pixels.shape[:2]
    for name in [*images, *([source] if source else [])]:
        try:
            height, width = read(name).pixels.shape[:2]
        except InputError as error:
            problems.append(str(error))
            continue
        if min(height, width) < smallest:
            problems.append(
                f"{name} is {width} × {height} px, and the deepest layer needs {smallest} px. "
                "Leave it out, or name shallower --layers."
            )
        problem = size_problem(height, width, SCALES, WIDTH) if portilla_simoncelli else None
        if problem:
            problems.append(f"{name}: {problem} Leave it out, or leave out --portilla-simoncelli.")
        elif portilla_simoncelli and (height, width) != size:
            problems.append(
                f"{name} is {width} × {height} px and the source has another size; Portilla & Simoncelli's "
                "statistics are compared at one size. Crop it, or leave out --portilla-simoncelli."
            )
    if problems:
        raise InputError("\n".join(problems))


def _source(
    source: str, raw: RawImage, gram: GramMeasurement | None, portilla_simoncelli: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the columns that say what images are compared with, and what statistics need to know of it."""
    columns: dict[str, Any] = {"source": source, "source_sha256": f"sha256:{raw.sha256}"}
    options = {"copying": True, "portilla_simoncelli": portilla_simoncelli}
    prepared = prepare_source(DecodedImage(raw.pixels), options)
    if gram is not None:
        network = gram.network
        try:
            weights = find_weights(network.name, network.weights)
        except WeightsError as error:
            cure = "Here: --network vgg16, --weights FILE, or --no-gram to do without Gram distances."
            raise WeightsError(error.problem, f"{cure}\n{error.cure}") from error
        extractor = build_extractor(
            weights,
            pooling=network.pooling,
            padding=network.padding,
            normalise=network.normalise,
            device=gram.device,
            deepest=NETWORKS[network.name]().deepest(gram.layers),
        )
        prepared["gram"] = grams_of(extractor, raw.pixels, gram.layers)
        columns |= {
            "network": network.name,
            "weights": weights.name,
            "weights_sha256": f"sha256:{weights.tensors_sha256}",
            "pooling": network.pooling,
            "padding": network.padding,
            "normalised": network.normalise or weights.normalised,
        }
    return columns, prepared


def _row(
    name: str, raw: RawImage, of_source: dict[str, Any], prepared: dict[str, Any], ppd: float | None
) -> dict[str, Any]:
    height, width = raw.pixels.shape[:2]
    image = DecodedImage(raw.pixels, side_deg=None if ppd is None else min(height, width) / ppd)
    return {
        "filename": name,
        "width_px": width,
        "height_px": height,
        "color": "grey" if raw.pixels.ndim == 2 else "rgb",
        "file_sha256": f"sha256:{raw.sha256}",
        **measure(image, prepared),
        **of_source,
    }
