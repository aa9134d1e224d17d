"""The result of a decoding: tables with their data dictionaries, and a layer's answers kept on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from stimgen.bounded import read_file
from stimgen.decoding.classifier import Decoded
from stimgen.decoding.dataset import UnusableImage
from stimgen.decoding.division import PARTS, Divided
from stimgen.decoding.extraction import read_cost
from stimgen.decoding.extrapolation import TrainingCost, extrapolate
from stimgen.decoding.features import FeatureFolder
from stimgen.decoding.figure import draw
from stimgen.decoding.intervals import wilson
from stimgen.decoding.needs import PACKAGES
from stimgen.decoding.settings import DecodeSettings
from stimgen.networks.weights import Weights
from stimgen.runs.csv_files import in_order, table_of, to_csv, to_json
from stimgen.runs.environment import device_name, versions
from stimgen.runs.store import write_atomically

TOP = 5
MOST_BYTES = 2**31


@dataclass(frozen=True)
class DecodeResult:
    """What a command did.

    Attributes
    ----------
    table
        The rows of decoding.csv.
    unusable
        Images that were left out.
    lines
        What a million images would take, in sentences.
    """

    table: pd.DataFrame
    unusable: tuple[UnusableImage, ...]
    lines: tuple[str, ...]


def write_results(
    out: Path,
    settings: DecodeSettings,
    device: torch.device,
    weights: Weights,
    folder: FeatureFolder,
    divided: Divided,
    decoded: Mapping[str, Decoded],
    unusable: Sequence[UnusableImage],
) -> DecodeResult:
    """Write all tables, the figure and decode.json.

    Parameters
    ----------
    out
        Where to.
    settings, device, weights, folder
        What the features and classifiers were made with.
    divided
        The images.
    decoded
        Per layer, shallowest first, the answers for the test images.
    unusable
        Images that were left out.

    Raises
    ------
    StoreError
        If the folder cannot be written.
    """
    classes = len(divided.classes)
    counts = {name: int(np.count_nonzero(divided.part == name)) for name in PARTS}
    of_test = divided.labels[divided.part == "test"]
    rows = [
        {
            "layer": layer,
            "classes": classes,
            **{f"{name}_images": count for name, count in counts.items()},
            "parameters": folder.sizes[layer],
            **decoding_row(result, of_test, classes),
        }
        for layer, result in decoded.items()
    ]
    table = _write_table(out, "decoding", "decoding", rows)
    _write_table(out, "predictions", "predictions", _prediction_rows(divided, decoded))
    _write_table(out, "images", "decoded_images", _image_rows(divided))
    _write_table(out, "failures", "unusable_images", [vars(image) for image in unusable])
    title = f"{settings.network.name}, {classes} classes, {counts['test']} test images"
    write_atomically(out / "decoding.png", draw(table, title))
    cost, trained = read_cost(folder), counts["training"] + counts["validation"]
    training = {
        layer: TrainingCost(result.preparation_seconds / trained, result.epoch_seconds / trained)
        for layer, result in decoded.items()
    }
    million = extrapolate(cost, folder.sizes, training, classes)
    summary = {
        "settings": {
            key: str(value) if isinstance(value, Path) else value
            for key, value in (asdict(settings) | {"network": settings.network.model_dump()}).items()
        },
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
        "extraction": asdict(cost),
        "bytes_per_image": {layer: 4 * size for layer, size in folder.sizes.items()},
        "training": {layer: asdict(one) for layer, one in training.items()},
        "validation_top1": {layer: list(result.validation_top1.items()) for layer, result in decoded.items()},
        "per_million_images": asdict(million),
    }
    write_atomically(out / "decode.json", json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
    return DecodeResult(table, tuple(unusable), tuple(million.lines()))


def _prediction_rows(divided: Divided, decoded: Mapping[str, Decoded]) -> list[dict[str, Any]]:
    test = np.flatnonzero(divided.part == "test")
    return [
        {
            "file": str(divided.images[image].path),
            "class": divided.images[image].label,
            "layer": layer,
            "predicted": divided.classes[predicted],
            "rank": rank,
        }
        for layer, result in decoded.items()
        for image, predicted, rank in zip(test, result.predicted, result.rank, strict=True)
    ]


def _image_rows(divided: Divided) -> list[dict[str, Any]]:
    columns = (divided.images, divided.groups, divided.part, divided.sha256)
    return [
        {
            "file": str(image.path),
            "class": image.label,
            "group": int(group),
            "part": str(part),
            "sha256": sha256,
        }
        for image, group, part, sha256 in zip(*columns, strict=True)
    ]


def decoding_row(decoded: Decoded, test: NDArray[np.intp], classes: int) -> dict[str, Any]:
    """Return the columns of decoding.csv that say how well a layer is decoded.

    Parameters
    ----------
    decoded
        The layer's answers.
    test
        Class numbers of the test images, shape (n,).
    classes
        Number of classes.
    """
    total = len(test)
    largest = np.sort(np.bincount(test, minlength=classes))[::-1]
    row: dict[str, Any] = {
        "components": decoded.components,
        "regularisation": decoded.regularisation,
        "validation_top1": decoded.validation_top1[decoded.regularisation],
    }
    for name, places in (("top1", 1), ("top5", TOP)):
        share = wilson(int(np.count_nonzero(decoded.rank <= places)), total)
        of_chance = float(largest[:places].sum() / total)
        told = places < classes
        row |= {
            name: share.value if told else None,
            f"{name}_low": share.low if told else None,
            f"{name}_high": share.high if told else None,
            f"chance_{name}": of_chance if told else None,
        }
    return row


def _write_table(folder: Path, file: str, name: str, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Write ``FILE.csv``, the table `name` of `stimgen.runs.columns`, and its data dictionary; return it."""
    table, dictionary = in_order(name, table_of(rows))
    if "components" in table:
        table["components"] = table["components"].astype("Int64")
    write_atomically(folder / f"{file}.csv", to_csv(table))
    write_atomically(folder / f"{file}.json", to_json(dictionary))
    return table


def keep_decoded(path: Path, key: str, decoded: Decoded) -> None:
    """Write a layer's answers with the key of what they depend on."""
    content = {
        "key": key,
        "components": decoded.components,
        "regularisation": decoded.regularisation,
        "validation_top1": list(decoded.validation_top1.items()),
        "predicted": decoded.predicted.tolist(),
        "rank": decoded.rank.tolist(),
        "preparation_seconds": decoded.preparation_seconds,
        "epoch_seconds": decoded.epoch_seconds,
    }
    write_atomically(path, json.dumps(content) + "\n")


def kept_decoded(path: Path, key: str) -> Decoded | None:
    """Return a layer's answers if they are there and depend on the same; else None."""
    try:
        content = json.loads(read_file(path, MOST_BYTES))
        if content.pop("key", None) != key:
            return None
        content["validation_top1"] = dict(content["validation_top1"])
        for name in ("predicted", "rank"):
            content[name] = np.asarray(content[name], dtype=np.intp)
        return Decoded(**content)
    # What is damaged is made again.
    except (OSError, ValueError, RecursionError, OverflowError, AttributeError, KeyError, TypeError):
        return None
