"""Decoding from images in classes to the accuracy of each layer."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import torch
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress

from stimgen.decoding.classifier import ROWS, STRENGTHS, LayerResult, Part, decode_layer
from stimgen.decoding.dataset import (
    PARTS,
    Unusable,
    class_numbers,
    divide,
    find_images,
    inspect_images,
    refuse_gaps,
    refuse_mixed_folders,
)
from stimgen.decoding.features import FeatureFolder, extract, feature_folder, locked
from stimgen.decoding.results import DecodeResult, kept_result, write_results
from stimgen.decoding.settings import Advance, DecodeSettings
from stimgen.errors import InputError
from stimgen.networks.architectures import NETWORKS
from stimgen.networks.extractor import build_extractor
from stimgen.networks.weights import find_weights
from stimgen.runs.store import write_atomically

LOGGER = logging.getLogger("stimgen")


class Reporter:
    """Progress bars and lines on standard error, and in the log also if `quiet`."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet)

    @contextlib.contextmanager
    def bar(self, task: str, total: int) -> Iterator[Advance]:
        """Show a bar with the time left, or a line where standard error is no terminal."""
        LOGGER.info("begin", extra={"what": task, "total": total})
        hidden = self._console.quiet or not self._console.is_terminal
        if hidden:
            self.say(f"{task}: {total}")
        columns = (*Progress.get_default_columns(), MofNCompleteColumn())
        with Progress(*columns, console=self._console, disable=hidden) as bars:
            number = bars.add_task(task, total=total)
            yield lambda more: bars.advance(number, more)

    def say(self, text: str) -> None:
        """Write a line."""
        LOGGER.info("note", extra={"text": text})
        self._console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)

    def left_out(self, images: Unusable) -> None:
        """Write a line for each image that is left out."""
        for reason in images.values():
            self.say(f"LEFT OUT  {reason.problem} {reason.cure}")


def decode(
    settings: DecodeSettings,
    out: Path,
    device: torch.device,
    *,
    features: Path | None = None,
    report: Reporter | None = None,
) -> DecodeResult:
    """Decode classes from each layer, and write the results to `out`; finished work is kept.

    Features are kept in `features`, by default ``out / "features"``.
    """
    features = features or out / "features"
    report = report or Reporter(quiet=True)
    settings.check(out, features)
    architecture = NETWORKS[settings.network.name]()
    list(architecture.maps(settings.layers, settings.image.size_px))  # raises if images are too small
    images = find_images(settings.folder, settings.group_by).assign(part="training")
    if settings.test is not None:
        to_test = find_images(settings.test, settings.group_by).assign(part="test")
        refuse_mixed_folders(images, to_test)
        images = pd.concat([images, to_test], ignore_index=True)
    weights = find_weights(settings.network.name, settings.network.weights)
    with locked(out), locked(features):
        (out / "layers").mkdir(exist_ok=True)  # marks a folder of results
        paths = list(images["path"])
        with report.bar("inspecting", len(paths)) as advance:
            log = features / "inspected.jsonl"
            usable, unusable = inspect_images(paths, settings.image.size_px, log, advance)
        images = images[images["path"].isin(list(usable))]
        for name in ("sha256", "pixels"):
            images = images.assign(**{name: [getattr(usable[path], name) for path in images["path"]]})
        tested = images["part"] == "test"
        copies = images[~tested & images["pixels"].isin(images["pixels"][tested])]
        for path in copies["path"]:
            unusable[path] = InputError(
                f"{path} is also in the test folder: a file there has the same pixels.",
                "Remove it from one of the folders. It was left out of the training.",
            )
        report.left_out(unusable)
        images = divide(images.drop(copies.index), settings)
        folder = feature_folder(features, settings, weights, architecture)
        folder.repair()
        missing = images[~images["sha256"].isin(folder.images())]
        wanted = dict(zip(missing["sha256"], missing["path"], strict=True))
        if wanted:
            extractor = build_extractor(
                weights,
                pooling=settings.network.pooling,
                padding=settings.network.padding,
                normalise=settings.network.normalise,
                device=device,
                deepest=architecture.deepest(settings.layers),
            )
            with report.bar("features", len(wanted)) as advance:
                lost = extract(extractor, wanted, folder, settings.image, settings.batch_size, advance)
            report.left_out(lost)
            unusable |= lost
        rows = {digest: row for row, digest in enumerate(folder.images())}
        images = images[images["sha256"].isin(rows)]
        images = images.assign(row=images["sha256"].map(rows))
        refuse_gaps(images, settings.training.components)
        results = {layer: _result(layer, folder, images, settings, out, report) for layer in folder.sizes}
        return write_results(out, settings, device, weights, folder, images, results, unusable)


def _result(
    layer: str,
    folder: FeatureFolder,
    images: pd.DataFrame,
    settings: DecodeSettings,
    out: Path,
    report: Reporter,
) -> LayerResult:
    """Return the answers of a layer, from disk if they were kept."""
    classes = len(images["class"].cat.categories)
    labels, rows, part = class_numbers(images), images["row"].to_numpy(), images["part"].to_numpy()
    depends_on = [
        folder.path.name,
        [*zip(images["sha256"], part, labels.tolist(), strict=True)],
        [asdict(settings.training), STRENGTHS, ROWS, version("scikit-learn")],
    ]
    key = hashlib.sha256(json.dumps(depends_on).encode()).hexdigest()
    path = out / "layers" / f"{layer}.json"
    result = kept_result(path, key)
    if result is None:
        features = folder.open(layer)
        parts = {name: Part(features, rows[part == name], labels[part == name]) for name in PARTS}
        epochs = settings.training.epochs * (len(STRENGTHS) + 1)
        with report.bar(f"training {layer}", epochs) as advance:
            result = decode_layer(**parts, classes=classes, settings=settings.training, advance=advance)
        write_atomically(path, json.dumps(result.model_dump() | {"key": key}) + "\n")
    return result
