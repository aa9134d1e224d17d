"""Weights of one's own, put into the cache under a name."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from stimgen.errors import InputError
from stimgen.networks.architectures import published_weights, random_seed
from stimgen.networks.extractor import LEAST_SHARE, share_near_one
from stimgen.networks.weights import Weights, WeightsError
from stimgen.networks.weights.cache import cached_path, cached_weights, write_cached
from stimgen.networks.weights.formats import read_weights_file


def import_weights(
    path: Path, network: str, *, name: str | None = None, convention: str | None = None
) -> Weights:
    """Put the weights in a file into the cache under a name, and return them.

    The file is a PyTorch state dict (never executed), a safetensors, ONNX or HDF5 file of Keras or Caffe.
    `name` is by default that of the published weights if the file is recognised, else the file's name; in
    this case the input `convention` is needed, and `share_near_one` tells whether filters are normalised.
    """
    weights, published = read_weights_file(path, network, convention)
    known_as = published.name if published else None
    name = name or known_as or re.sub(r"\W", "_", path.name.partition(".")[0])
    hint = "Choose another name with --name"
    if random_seed(name) is not None:
        raise InputError(f'"{name}" means weights never trained.', f"{hint}.")
    if published_weights(network, name) and name != known_as:
        raise WeightsError(
            f'{path} cannot be imported as "{name}" of {network}: that name is published, and the file '
            "is not recognised as those weights.",
            f"{hint}.",
        )
    weights = replace(weights, name=name, origin=f"file {path.resolve()}")
    present = cached_weights(network, name)
    identity = (weights.tensors_sha256, weights.convention)
    if present is not None and (present.tensors_sha256, present.convention) != identity:
        file = cached_path(network, name)
        raise WeightsError(
            f'Other weights are already in the cache as "{name}" of {network}: {file}.',
            f"{hint}, or delete that file.",
        )
    if published is None:
        weights = replace(weights, normalised=share_near_one(weights) >= LEAST_SHARE)
    write_cached(weights)
    return weights
