"""The folder in which stimgen keeps weights that were downloaded or imported."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import platformdirs

from stimgen.atomic import write_file
from stimgen.errors import InputError
from stimgen.networks.architectures import NETWORKS
from stimgen.networks.catalogue import CONVENTIONS
from stimgen.networks.weights.layers import FileLayer, match_layers
from stimgen.networks.weights.record import Weights, WeightsError

FORMAT = "stimgen weights 1"
_NAME = "[A-Za-z][A-Za-z0-9_]*"
_HINT = "Delete the file, then fetch or import the weights again (stimgen weights --help)."


@dataclass(frozen=True)
class CacheHeader:
    """The header of a cache file, which describes its tensors; `normalised` is "yes" or "no"."""

    network: str
    name: str
    convention: str
    origin: str
    file_sha256: str
    tensors_sha256: str
    normalised: str = "no"


def weights_folder() -> Path:
    """Return the folder of cached weights, in STIMGEN_CACHE or the user's cache."""
    setting = os.environ.get("STIMGEN_CACHE")
    return (Path(setting) if setting else platformdirs.user_cache_path("stimgen")) / "weights"


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


def write_cached(weights: Weights, path: Path) -> None:
    """Write `weights` to the cache file `path`, completely or not at all."""
    from safetensors.torch import save

    header = CacheHeader(
        weights.network,
        weights.name,
        weights.convention.name,
        weights.origin,
        weights.file_sha256,
        weights.tensors_sha256,
        "yes" if weights.normalised else "no",
    )
    tensors = {}
    convolutions = NETWORKS[weights.network]().convolutions
    for convolution, kernel, bias in zip(convolutions, weights.kernels, weights.biases, strict=True):
        tensors[f"{convolution.name}.weight"] = kernel
        tensors[f"{convolution.name}.bias"] = bias
    content = save(tensors, metadata={"format": FORMAT, **asdict(header)})
    with writing_to(path.parent):
        write_file(path, content)


def read_header(path: Path) -> CacheHeader | None:
    """Return the header of a safetensors file, None if stimgen did not write it; raise if it is damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            metadata = dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"The weights file {path} is damaged: {error}.", _HINT) from None
    if metadata.pop("format", None) != FORMAT:
        return None
    try:
        header = CacheHeader(**metadata)
    except TypeError:
        header = None
    if header is None or header.normalised not in ("yes", "no"):
        raise WeightsError(f"The header of the weights file {path} is incomplete or wrong.", _HINT)
    if header.convention not in CONVENTIONS or header.network not in NETWORKS:
        raise WeightsError(
            f"The weights file {path} is for {header.network} with the input convention {header.convention}, "
            "which this version of stimgen does not know.",
            _HINT,
        )
    return header


def read_cached(path: Path) -> Weights:
    """Return the weights in a file that stimgen wrote, after checking every number against its SHA-256."""
    from safetensors import SafetensorError, safe_open

    header = read_header(path)
    if header is None:
        raise WeightsError(f"{path} was not written by stimgen.", _HINT)
    architecture = NETWORKS[header.network]()
    try:
        with safe_open(path, framework="np") as file:
            layers = [
                FileLayer(name, (file.get_tensor(f"{name}.weight"), file.get_tensor(f"{name}.bias")))
                for name in (convolution.name for convolution in architecture.convolutions)
            ]
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"The weights file {path} is damaged: {error}.", _HINT) from None
    convolutions = match_layers(layers, architecture, path)
    if convolutions.sha256 != header.tensors_sha256:
        raise WeightsError(
            f"The weights file {path} is altered: its tensors have SHA-256 {convolutions.sha256}, and "
            f"{header.tensors_sha256} was recorded when it was written.",
            _HINT,
        )
    convention, origin = CONVENTIONS[header.convention], f"cache {path}, from {header.origin}"
    weights = convolutions.weights(header.network, header.name, convention, origin, header.file_sha256)
    return replace(weights, normalised=header.normalised == "yes")


def read_cache_entry(path: Path, network: str, name: str) -> Weights | None:
    """Return the weights in the cache file `path`, None if it does not exist; raise if it holds others."""
    if not path.exists():
        return None
    weights = read_cached(path)
    if (weights.network, weights.name) != (network, name):
        raise WeightsError(
            f'The cache file {path} holds other weights: "{weights.name}" of {weights.network}.',
            "Delete the file, then fetch or import the weights again.",
        )
    return weights
