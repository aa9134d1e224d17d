"""The folder in which stimgen keeps weights that were downloaded or imported."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import platformdirs

from stimgen.atomic import write_file
from stimgen.errors import InputError
from stimgen.networks.architectures import CONVENTIONS, NETWORKS
from stimgen.networks.weights.formats import Weights, match_layers
from stimgen.networks.weights.layer import Layer
from stimgen.networks.weights.readers import WeightsError

FORMAT = "stimgen weights 1"
_TEXTS = ("network", "name", "origin", "file_sha256", "tensors_sha256")
_NAME = "[A-Za-z][A-Za-z0-9_]*"
_HINT = "Delete the file, then fetch or import the weights again (stimgen weights --help)."


def cache_folder() -> Path:
    """Return the folder of what is kept between runs: STIMGEN_CACHE, or a folder in the user's cache."""
    setting = os.environ.get("STIMGEN_CACHE")
    return Path(setting) if setting else platformdirs.user_cache_path("stimgen")


def weights_folder() -> Path:
    """Return the folder of cached weights."""
    return cache_folder() / "weights"


def cached_path(network: str, name: str) -> Path:
    """Return the cache file of weights `name` of `network`, whether or not it exists."""
    if not re.fullmatch(_NAME, name):
        raise InputError(
            f'"{name}" cannot name weights.', "Use a letter, followed by letters, digits and underscores."
        )
    return weights_folder() / f"{network}-{name}.safetensors"


def cached_names() -> list[tuple[str, str]]:
    """Return network and name of all cached weights, sorted by their files."""
    files = sorted(weights_folder().glob("*.safetensors"))
    forms = (re.fullmatch(rf"({_NAME})-({_NAME})", file.stem) for file in files)
    return [(form[1], form[2]) for form in forms if form]


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Make the cache folder, and turn an `OSError` while it is written into a `WeightsError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise WeightsError(
            f"Weights cannot be kept in {folder}: {error.strerror or error}.",
            "Make room or set the environment variable STIMGEN_CACHE to a folder that can be written.",
        ) from error


def write_cached(weights: Weights) -> None:
    """Write `weights` to their cache file, completely or not at all."""
    from safetensors.torch import save

    path = cached_path(weights.network, weights.name)
    header = {name: getattr(weights, name) for name in _TEXTS} | {"format": FORMAT}
    header |= {"convention": weights.convention.name, "normalised": "yes" if weights.normalised else "no"}
    names = [step.name for step in NETWORKS[weights.network]().convolutions]
    tensors = {f"{name}.weight": kernel for name, kernel in zip(names, weights.kernels, strict=True)}
    tensors |= {f"{name}.bias": bias for name, bias in zip(names, weights.biases, strict=True)}
    content = save(tensors, metadata=header)
    with writing_to(path.parent):
        write_file(path, content)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"The weights file {path} is damaged: {error}.", _HINT) from None


def read_header(path: Path) -> Weights | None:
    """Return what a cache file says of its weights, without tensors; None if stimgen did not write it."""
    with _opened(path) as file:
        metadata = dict(file.metadata() or {})
    if metadata.get("format") != FORMAT:
        return None
    convention = CONVENTIONS.get(metadata.get("convention", ""))
    normalised = {"yes": True, "no": False}.get(metadata.get("normalised", "no"))
    known = set(_TEXTS) <= set(metadata) and metadata["network"] in NETWORKS
    if convention is None or normalised is None or not known:
        raise WeightsError(
            f"The header of the weights file {path} is incomplete, or has a value that this version of "
            "stimgen does not know.",
            _HINT,
        )
    texts = {name: metadata[name] for name in _TEXTS}
    return Weights(**texts, kernels=(), biases=(), convention=convention, normalised=normalised)


def entry_header(path: Path, network: str, name: str) -> Weights:
    """Return the header of a cache file; raise if it holds other weights than those of its name."""
    header = read_header(path)
    if header is None:
        raise WeightsError(f"{path} was not written by stimgen.", _HINT)
    if (header.network, header.name) != (network, name):
        raise WeightsError(
            f'The cache file {path} holds other weights: "{header.name}" of {header.network}.', _HINT
        )
    return header


def cached_weights(network: str, name: str) -> Weights | None:
    """Return weights from the cache, None if they are not in it; raise if the file was changed."""
    path = cached_path(network, name)
    if not path.exists():
        return None
    header = entry_header(path, network, name)
    return read_cached(path, header, f"cache {path}, from {header.origin}")


def read_cached(path: Path, header: Weights, origin: str) -> Weights:
    """Return the weights in a file that stimgen wrote, after checking every number against its SHA-256."""
    architecture = NETWORKS[header.network]()
    with _opened(path) as file:
        layers = [
            Layer(step.name, [file.get_tensor(f"{step.name}.weight"), file.get_tensor(f"{step.name}.bias")])
            for step in architecture.convolutions
        ]
    convolutions = match_layers(layers, architecture, path)
    if convolutions.sha256 != header.tensors_sha256:
        raise WeightsError(
            f"The weights file {path} is altered: its tensors have SHA-256 {convolutions.sha256}, and "
            f"{header.tensors_sha256} was recorded when it was written.",
            _HINT,
        )
    kernels, biases = convolutions.tensors()
    return replace(header, kernels=kernels, biases=biases, origin=origin)
