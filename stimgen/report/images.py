"""Small pictures that a report carries, and sources that no stimulus shows."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image as Pillow

from stimgen.errors import StimgenError
from stimgen.images.pixels import Image, luminance
from stimgen.images.png import decode_png, quantise
from stimgen.images.sources import load_source
from stimgen.manifest.load import load_manifest
from stimgen.report.reported import ReportedRun

SIDES_PX = ((60, 192), (300, 128), (800, 96))
"""Up to how many stimuli thumbnails have which side; `SMALLEST_PX` beyond."""
SMALLEST_PX = 72
QUALITY = 70
"""Of WebP."""
HISTOGRAM_BINS = 64
MOST_SOURCE_PIXELS = 4_000_000
"""Pixels of sources that a report carries in full; more are carried as thumbnails."""

_ADD = "The control original would keep it in the run."


def thumbnail_side(stimuli: int) -> int:
    """Return the side of the thumbnails, px: smaller where there are many, so that the page stays small.

    Examples
    --------
    >>> thumbnail_side(30), thumbnail_side(2000)
    (192, 72)
    """
    return next((side for most, side in SIDES_PX if stimuli <= most), SMALLEST_PX)


def thumbnail(path: Path, side_px: int) -> tuple[str, NDArray[np.float32]]:
    """Return the thumbnail of a stimulus as a data URI, and its histogram of luminance.

    The histogram is the share of the pixels in each of `HISTOGRAM_BINS` bins from 0 to 1.
    """
    pixels = decode_png(path)
    counts, _ = np.histogram(luminance(pixels), bins=HISTOGRAM_BINS, range=(0, 1))
    return webp(pixels, side_px), (counts / counts.sum()).astype(np.float32)


def webp(pixels: Image, side_px: int | None = None) -> str:
    """Return an image as a data URI: lossless in its own size, or reduced to a side and compressed."""
    image = Pillow.fromarray(quantise(pixels)).convert("RGB")
    if side_px is not None:
        image.thumbnail((side_px, side_px), Pillow.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "WEBP", lossless=side_px is None, quality=QUALITY, method=4)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def missing_sources(
    runs: Sequence[ReportedRun], stimuli: pd.DataFrame, side_px: int
) -> dict[str, dict[str, str | None]]:
    """Return `image` (a data URI or None) and `note` of each source that is not among the stimuli, by label.

    A source is read from its photograph and shown only if that has the SHA-256 and the crop in the records.
    The note says why it is missing or reduced; it is empty otherwise.
    """
    shown = set(stimuli.loc[stimuli["is_source"], "label"])
    wanted = stimuli[~stimuli["label"].isin(shown)].drop_duplicates("label")
    side = None if (wanted["size_px"] ** 2).sum() <= MOST_SOURCE_PIXELS else side_px
    found: dict[str, dict[str, str | None]] = {}
    for run in runs:
        of_run = wanted[wanted["run"] == run.label]
        for label, source in zip(of_run["label"], of_run["source"], strict=True):
            image, problem = _source(run, source, side)
            reduced = f"Made smaller, because there are many sources. {_ADD}" if image and side else ""
            note = f"The source is not shown: {problem} {_ADD}" if problem else reduced
            found[label] = {"image": image, "note": note}
    return found


def _source(run: ReportedRun, source: str, side_px: int | None) -> tuple[str | None, str]:
    """Return a source as a data URI, or None and what is wrong."""
    try:
        manifest = load_manifest(run.folder / "manifest.resolved.yaml")
    except StimgenError:
        return None, "what the manifest names is not there any more."
    recorded = run.source_records[source]
    specs = {spec.id: spec for spec in manifest.sources}
    try:
        loaded = load_source(specs[source], manifest.image, name=manifest.name)
    except (StimgenError, KeyError):
        return None, "its file cannot be read."
    if (loaded.sha256, loaded.crop_box, loaded.mask) != (
        recorded.sha256,
        recorded.crop_box,
        recorded.mask,
    ):
        return None, "its file is not the one in the records."
    return webp(loaded.pixels, side_px), ""
