"""Results on disk: tables, the figure, decode.json, and answers of finished layers."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from stimgen.bounded import read_file
from stimgen.decoding.classifier import LayerResult
from stimgen.decoding.columns import DECODE_TABLES
from stimgen.decoding.dataset import PARTS, Unusable, class_numbers
from stimgen.decoding.features import FeatureFolder
from stimgen.decoding.settings import MOST_BYTES, PACKAGES, DecodeSettings
from stimgen.networks.weights import Weights
from stimgen.runs.csv_files import column_entry, table_of, to_csv, to_json
from stimgen.runs.environment import device_name, versions
from stimgen.runs.store import write_atomically

MILLION = 1_000_000
MANY_CLASSES = 1000


@dataclass(frozen=True)
class DecodeResult:
    """Rows of decoding.csv, images that were left out, and what a million images would take, in sentences."""

    table: pd.DataFrame
    unusable: Unusable
    lines: list[str]


def write_results(
    out: Path,
    settings: DecodeSettings,
    device: torch.device,
    weights: Weights,
    folder: FeatureFolder,
    images: pd.DataFrame,
    results: Mapping[str, LayerResult],
    unusable: Unusable,
) -> DecodeResult:
    """Write all tables, the figure and decode.json; `images` are divided, `results` shallowest first."""
    classes = list(images["class"].cat.categories)
    counts = {part: int((images["part"] == part).sum()) for part in PARTS}
    test = images[images["part"] == "test"]
    rows = [
        {
            "layer": layer,
            "classes": len(classes),
            **{f"{part}_images": count for part, count in counts.items()},
            "parameters": folder.sizes[layer],
            **accuracy(result, class_numbers(test), len(classes)),
        }
        for layer, result in results.items()
    ]
    predictions = (
        {"file": str(path), "class": label, "layer": layer, "predicted": classes[predicted], "rank": rank}
        for layer, result in results.items()
        for path, label, predicted, rank in zip(
            test["path"], test["class"], result.predicted, result.rank, strict=True
        )
    )
    _write_table(out / "predictions", "predictions", predictions)
    files = ({"file": str(row["path"]), **row} for row in images.to_dict("records"))
    _write_table(out / "images", "decoded_images", files)
    reasons = (
        {"file": str(path), "error": reason.problem, "cure": reason.cure} for path, reason in unusable.items()
    )
    _write_table(out / "failures", "unusable_images", reasons)
    table = _write_table(out / "decoding", "decoding", rows)
    title = f"{settings.network.name}, {len(classes)} classes, {counts['test']} test images"
    write_atomically(out / "decoding.png", draw(table, title))
    trained = counts["training"] + counts["validation"]
    per_image = ("preparation_seconds", "epoch_seconds")
    training = {
        layer: {name: getattr(result, name) / trained for name in per_image}
        for layer, result in results.items()
    }
    cost = folder.cost()
    seconds = cost.seconds / cost.images if cost.images else None
    million = a_million_images(seconds, folder.sizes, training, len(classes))
    summary = {
        "settings": asdict(settings) | {"network": settings.network.model_dump()},
        "weights": {
            "origin": weights.origin,
            "file_sha256": weights.file_sha256,
            "tensors_sha256": weights.tensors_sha256,
            "input": weights.convention.name,
            "normalised": weights.normalised,
        },
        "features": folder.path.name,
        "device": device_name(device),
        "versions": versions() | {package: version(package) for package in PACKAGES.values()},
        "images": counts | {"left_out": len(unusable)},
        "extraction": cost.model_dump(),
        "bytes_per_image": {layer: 4 * size for layer, size in folder.sizes.items()},
        "training": training,
        "validation_top1": {layer: result.validation_top1 for layer, result in results.items()},
        "per_million_images": million,
    }
    text = json.dumps(summary, indent=1, ensure_ascii=False, default=str) + "\n"
    write_atomically(out / "decode.json", text.encode(errors="backslashreplace"))
    return DecodeResult(table, unusable, sentences(million))


def accuracy(result: LayerResult, labels: NDArray[np.intp], classes: int) -> dict[str, float | None]:
    """Return columns of decoding.csv; `labels` (n,) are right, and top5 of five or fewer classes is None."""
    total = len(labels)
    largest = np.sort(np.bincount(labels, minlength=classes))[::-1]
    row: dict[str, float | None] = {
        "components": result.components,
        "regularisation": result.regularisation,
        "validation_top1": dict(result.validation_top1)[result.regularisation],
    }
    for name, places in (("top1", 1), ("top5", 5)):
        right = sum(rank <= places for rank in result.rank)
        low, high = wilson(right, total)
        chance = float(largest[:places].sum() / total)
        shares = {name: right / total, f"{name}_low": low, f"{name}_high": high, f"chance_{name}": chance}
        row |= shares if places < classes else dict.fromkeys(shares)
    return row


def wilson(right: int, total: int) -> tuple[float, float]:
    """Return the 95 % score interval of a share (Wilson 1927), without continuity correction."""
    from scipy.stats import binomtest

    interval = binomtest(right, total).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def a_million_images(
    seconds: float | None, sizes: Mapping[str, int], training: Mapping[str, Mapping[str, float]], classes: int
) -> dict[str, Any]:
    """Return what a million images would take with the same settings on the same machine.

    `seconds` and `training` are those of an image, `sizes` the number of features per layer. An epoch takes
    longer with more classifiers: one for each class, and a single one for two classes.
    """
    layers = [
        {
            "layer": layer,
            "bytes_per_image": 4 * size,
            "disk_gb": 4e-9 * MILLION * size,
            "preparation_hours": MILLION * training[layer]["preparation_seconds"] / 3600,
            "epoch_hours": (epoch := MILLION * training[layer]["epoch_seconds"] / 3600),
            "epoch_hours_1000_classes": epoch * MANY_CLASSES / (1 if classes == 2 else classes),
        }
        for layer, size in sizes.items()
    ]
    return {
        "images": MILLION,
        "extraction_seconds_per_image": seconds,
        "extraction_hours": None if seconds is None else MILLION * seconds / 3600,
        "disk_gb": sum(4e-9 * MILLION * size for size in sizes.values()),
        "layers": layers,
    }


def sentences(million: Mapping[str, Any]) -> list[str]:
    """Return what `a_million_images` found in sentences."""
    hours = million["extraction_hours"]
    extraction = f"{hours or 0:.1f} h of extraction"
    if hours is None:
        extraction = "extraction was not measured (it takes more than one batch of new images)"
    epochs = ", ".join(
        f"{layer['layer']} {layer['epoch_hours']:.2g} h ({layer['epoch_hours_1000_classes']:.2g} h)"
        for layer in million["layers"]
    )
    return [
        f"A million images, as measured here: {extraction}, {million['disk_gb']:.0f} GB of features.",
        f"An epoch of training with one strength of regularisation (with {MANY_CLASSES} classes): {epochs}.",
    ]


def draw(table: pd.DataFrame, title: str) -> bytes:
    """Return a PNG file of accuracies against depth, as Figure 4 of Gatys, Ecker & Bethge (2015)."""
    # Without pyplot there are no windows, and settings of the user have no effect.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.6 + 0.8 * len(table), 3.6), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    for name, label, colour in (("top1", "top-1", "C0"), ("top5", "top-5", "C1")):
        share = table[name]
        if share.isna().any():
            continue  # five classes or fewer
        limits = [share - table[f"{name}_low"], table[f"{name}_high"] - share]
        axes.errorbar(table.index, share, yerr=limits, color=colour, marker="o", capsize=3, label=label)
        axes.axhline(table[f"chance_{name}"][0], color=colour, linestyle=":", label=f"chance, {label}")
    axes.set(xlim=(-0.4, len(table) - 0.6), ylim=(0, 1.02), ylabel="accuracy", title=title)
    axes.set_xticks(table.index, labels=list(table["layer"]), rotation=45, ha="right")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", metadata={"Software": None})
    return picture.getvalue()


def kept_result(path: Path, key: str) -> LayerResult | None:
    """Return the answers that were kept under the same key; None if there are none or the file is damaged."""
    try:
        kept = LayerResult.model_validate_json(read_file(path, MOST_BYTES))
    except (OSError, ValidationError):
        return None
    return kept if kept.key == key else None


def _write_table(path: Path, name: str, rows: Iterable[dict[Any, Any]]) -> pd.DataFrame:
    """Write a table of `DECODE_TABLES` as CSV file, and its data dictionary; return the table."""
    columns = DECODE_TABLES[name]
    table = table_of(rows).reindex(columns=[column.name for column in columns])
    if "components" in table:
        table["components"] = table["components"].astype("Int64")
    dictionary = {column.name: column_entry(column, {}) for column in columns}
    write_atomically(path.with_suffix(".csv"), to_csv(table))
    write_atomically(path.with_suffix(".json"), to_json(dictionary))
    return table
