"""Weights of one's own, put into the cache under a name."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from stimgen.errors import InputError
from stimgen.networks.catalogue import published_weights, random_seed
from stimgen.networks.extractor import LEAST_SHARE, share_near_one
from stimgen.networks.weights import Weights, WeightsError
from stimgen.networks.weights.cache import cached_path, write_cached
from stimgen.networks.weights.find import read_cache_entry, read_weights_file


def import_weights(
    path: Path,
    network: str,
    *,
    name: str | None = None,
    convention: str | None = None,
    cache_dir: Path | None = None,
) -> Weights:
    """Return the weights in a file after putting them into the cache under a name.

    `share_near_one` tells whether their filters are normalised already. It is not measured if the file is
    recognised as published weights, none of which are.

    Parameters
    ----------
    path
        PyTorch state dict (.pth, .pt; never executed), safetensors, ONNX, or HDF5 (.h5) file of Keras or
        Caffe.
    network
        Network that the file is for; convolutions are mapped by order and shape.
    name
        Name for manifests; by default that of the published weights if the file is recognised as such, else
        the file's name.
    convention
        Name of the input convention; needed unless the file is recognised.
    cache_dir
        Cache folder in place of STIMGEN_CACHE and the user's.

    Raises
    ------
    InputError
        If network, name or convention is unknown or malformed.
    WeightsError
        If the file is unreadable or does not fit, the convention is not known or contradicts that of the
        weights that the file is recognised as, or the name is that of other weights.
    """
    weights, published = read_weights_file(path, network, convention)
    known_as = published.name if published else None
    name = name or known_as or re.sub(r"\W", "_", path.name.partition(".")[0])
    if random_seed(name) is not None:
        raise InputError(f'"{name}" means weights never trained.', "Choose another name with --name.")
    destination = cached_path(network, name, cache_dir)
    if published_weights(network, name) and name != known_as:
        raise WeightsError(
            f'{path} cannot be imported as "{name}" of {network}: that name is published, and the file '
            "is not recognised as those weights.",
            "Choose another name with --name.",
        )
    weights = replace(weights, name=name, origin=f"file {path.resolve()}")
    present = read_cache_entry(destination, network, name)
    identity = (weights.tensors_sha256, weights.convention)
    if present is not None and (present.tensors_sha256, present.convention) != identity:
        raise WeightsError(
            f'Other weights are already in the cache as "{name}" of {network}: {destination}.',
            "Choose another name with --name, or delete that file.",
        )
    if published is None:
        weights = replace(weights, normalised=share_near_one(weights) >= LEAST_SHARE)
    write_cached(weights, destination)
    return weights
