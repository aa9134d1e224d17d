"""From images in classes to the accuracy with which each layer's Gram matrices tell the classes apart."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from stimgen.decoding.classifier import ROWS, STRENGTHS, Decoded, Part, decode_layer, passes
from stimgen.decoding.division import PARTS, Divided, divide, find_both
from stimgen.decoding.extraction import extract
from stimgen.decoding.features import FeatureFolder, feature_folder, locked, writing
from stimgen.decoding.needs import refuse_missing_packages
from stimgen.decoding.progress import Reporter
from stimgen.decoding.results import DecodeResult, keep_decoded, kept_decoded, write_results
from stimgen.decoding.settings import DecodeSettings, refuse_bad_settings
from stimgen.errors import InputError
from stimgen.networks.architectures import NETWORKS, Architecture
from stimgen.networks.extractor import build_extractor
from stimgen.networks.weights import Weights, find_weights
from stimgen.texture.statistics.gram import parameters

FEATURES_VERSION = 1
"""Counts up when the same settings give other features."""


def decode(
    settings: DecodeSettings,
    out: Path,
    device: torch.device,
    *,
    features: Path | None = None,
    report: Reporter | None = None,
) -> DecodeResult:
    """Decode classes from each layer, and write the results; what is done already is kept.

    Parameters
    ----------
    settings
        What the user chose.
    out
        Folder for the results, made if it is not there.
    device
        Where the network runs.
    features
        Folder for features; by default ``out / "features"``.
    report
        Told of progress.

    Raises
    ------
    InputError
        If settings, folders or images do not fit.
    StimgenError
        If packages or weights are missing, or another command is at work in a folder.
    StoreError
        If a folder cannot be written.
    """
    refuse_missing_packages()
    refuse_bad_settings(settings)
    architecture = NETWORKS[settings.network.name]()
    list(architecture.maps(settings.layers, settings.image.size_px))  # raises if images are too small
    features = features or out / "features"
    _refuse_bad_folders(settings, out, features)
    found, to_test = find_both(settings)
    weights = find_weights(settings.network.name, settings.network.weights)
    report = report or Reporter(quiet=True)
    with locked(out), locked(features):
        with writing(out):
            # First of all: a folder that has it is one of results, whatever else is missing.
            (out / "layers").mkdir(exist_ok=True)
        divided, unusable = divide(settings, found, to_test, features, report)
        folder = _feature_folder(features, settings, weights, architecture)
        folder.repair()
        known = set(folder.images())
        wanted = {
            sha256: image.path
            for image, sha256 in zip(divided.images, divided.sha256, strict=True)
            if sha256 not in known
        }
        if wanted:
            extractor = build_extractor(
                weights,
                pooling=settings.network.pooling,
                normalise=settings.network.normalise,
                device=device,
                deepest=architecture.deepest(settings.layers),
            )
            with report.bar("features", len(wanted)) as advance:
                left_out = extract(
                    extractor,
                    [(path, sha256) for sha256, path in wanted.items()],
                    folder,
                    settings.image,
                    settings.batch_size,
                    advance,
                )
            report.left_out(left_out)
            unusable += left_out
        rows = {sha256: row for row, sha256 in enumerate(folder.images())}
        divided = divided.where(np.array([sha256 in rows for sha256 in divided.sha256], bool))
        divided.refuse_gaps(settings.training.components)
        image_rows = np.array([rows[sha256] for sha256 in divided.sha256], np.intp)
        decoded = {
            layer: _decode_layer(layer, folder, divided, image_rows, settings, out, report)
            for layer in folder.sizes
        }
        return write_results(out, settings, device, weights, folder, divided, decoded, unusable)


def _refuse_bad_folders(settings: DecodeSettings, out: Path, features: Path) -> None:
    for ours, option in ((out, "--out"), (features, "--features")):
        for images in (settings.folder, settings.test):
            if images is not None and ours.resolve().is_relative_to(images.resolve()):
                raise InputError(
                    f"{ours} is in the folder of images {images}, where it would be taken for a class.",
                    f"Choose a folder beside it with {option}.",
                )
    if features.resolve() == out.resolve():
        raise InputError(f"{out} is --out and --features.", "Give features a folder of their own.")
    if out.is_dir() and any(out.iterdir()) and not (out / "layers").is_dir():
        raise InputError(
            f"{out} is not empty and holds no results of stimgen decode.",
            "Choose an empty or new folder with --out.",
        )


def _feature_folder(
    features: Path, settings: DecodeSettings, weights: Weights, architecture: Architecture
) -> FeatureFolder:
    sizes = {
        layer: parameters(architecture.channels(layer))
        for layer in architecture.layers
        if layer in settings.layers
    }
    depends_on = {
        "version": FEATURES_VERSION,
        "network": settings.network.name,
        "tensors_sha256": weights.tensors_sha256,
        "input": asdict(weights.convention),
        "pooling": settings.network.pooling,
        "normalise": settings.network.normalise,
        "weights_normalised": weights.normalised,
        "size_px": settings.image.size_px,
        "color": settings.image.color,
        "layers": sizes,
    }
    return feature_folder(features, depends_on, sizes)


def _decode_layer(
    layer: str,
    folder: FeatureFolder,
    divided: Divided,
    rows: NDArray[np.intp],
    settings: DecodeSettings,
    out: Path,
    report: Reporter,
) -> Decoded:
    """Return a layer's answers, from disk if they are there."""
    training = settings.training
    depends_on = [
        folder.path.name,
        [*zip(divided.sha256, divided.part.tolist(), divided.labels.tolist(), strict=True)],
        [asdict(training), STRENGTHS, ROWS, version("scikit-learn")],
    ]
    key = hashlib.sha256(json.dumps(depends_on).encode()).hexdigest()
    path = out / "layers" / f"{layer}.json"
    decoded = kept_decoded(path, key)
    if decoded is not None:
        return decoded
    features = folder.open(layer)
    train, validation, test = (
        Part(features, rows[divided.part == name], divided.labels[divided.part == name]) for name in PARTS
    )
    with report.bar(f"training {layer}", passes(training)) as advance:
        decoded = decode_layer(train, validation, test, len(divided.classes), training, advance)
    keep_decoded(path, key, decoded)
    return decoded
