"""From a network and a name to its weights: file, cache, package or download, and never a substitute."""

from __future__ import annotations

import errno
import os
import re
import socket
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError

from filelock import FileLock

from stimgen.errors import InputError, nearest
from stimgen.networks.architectures import NETWORKS, Architecture
from stimgen.networks.catalogue import (
    CONVENTIONS,
    PACKAGED,
    PublishedWeights,
    packaged_weights,
    published_weights,
    random_seed,
    weights_names,
)
from stimgen.networks.weights.cache import (
    cached_path,
    cached_paths,
    read_cached,
    read_header,
    write_cached,
    writing_to,
)
from stimgen.networks.weights.formats import SUFFIXES, read_convolutions
from stimgen.networks.weights.initialise import random_weights
from stimgen.networks.weights.normalised import are_normalised
from stimgen.networks.weights.package import read_packaged
from stimgen.networks.weights.recognise import input_convention, recognise
from stimgen.networks.weights.record import (
    Convolutions,
    Weights,
    WeightsError,
    file_sha256,
    weights_of,
)

TIMEOUT_S = 60.0
"""How long a download waits for a server that sends nothing, s."""

OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO)
"""What goes wrong in writing a download, and not on its way."""


def find_weights(network: str, name_or_path: str, *, cache_dir: Path | None = None) -> Weights:
    """Return the weights of a network.

    A path (with a folder or the ending of a weights file) is that file and nothing else. "random" and
    "random:SEED" are `random_weights`. Any other name is looked for in stimgen's cache, then in the package
    that carries it, and then downloaded into the cache. Whatever is there but damaged is an error, not a
    reason to look further.

    Parameters
    ----------
    network
        Name of the network.
    name_or_path
        Name of published or imported weights, or a file in any format that `import_weights` reads.
    cache_dir
        Cache folder in place of STIMGEN_CACHE and the user's.

    Raises
    ------
    InputError
        If the network or the name is unknown.
    WeightsError
        If the weights cannot be had (with all the ways to get them), are damaged or altered, do not fit the
        network, or are in a file whose input convention is not known.
    """
    NETWORKS[network]()
    if Path(name_or_path).suffix.lower() in SUFFIXES or len(Path(name_or_path).parts) > 1:
        return _read_file(Path(name_or_path), network)
    seed = random_seed(name_or_path)
    if seed is not None:
        return random_weights(network, seed)
    path = cached_path(network, name_or_path, cache_dir)
    cached = _read_cache_entry(path, network, name_or_path)
    if cached is not None:
        return cached
    published = published_weights(network, name_or_path)
    if published is None:
        known = [*weights_names(network), *_cached_names(network, cache_dir), "random"]
        raise InputError(f'Unknown weights "{name_or_path}" for {network}.', nearest(name_or_path, known))
    return _obtain(published, path, keep_packaged=False)


def fetch_weights(network: str, name: str, *, cache_dir: Path | None = None) -> Weights:
    """Return published weights after putting them into the cache, from a package or by download.

    Parameters
    ----------
    network, name
        Which weights.
    cache_dir
        Cache folder in place of STIMGEN_CACHE and the user's.

    Raises
    ------
    InputError
        If network or name is unknown.
    WeightsError
        If the weights cannot be had, are damaged, or the cache cannot be written.
    """
    NETWORKS[network]()
    published = published_weights(network, name)
    if published is None:
        raise InputError(
            f'No weights "{name}" are published for {network}.', nearest(name, weights_names(network))
        )
    path = cached_path(network, name, cache_dir)
    return _read_cache_entry(path, network, name) or _obtain(published, path, keep_packaged=True)


def import_weights(
    path: Path,
    network: str,
    *,
    name: str | None = None,
    convention: str | None = None,
    cache_dir: Path | None = None,
) -> Weights:
    """Return the weights in a file after putting them into the cache under a name.

    Whether their filters are normalised already is measured (`are_normalised`) unless the file is recognised
    as published weights, none of which are.

    Parameters
    ----------
    path
        PyTorch state dict (.pth, .pt; never executed), safetensors, ONNX, or HDF5 (.h5) file of Keras or
        Caffe.
    network
        Network that the file is for; convolutions are mapped by order and shape.
    name
        Name to use in manifests; default: that of the published weights if the file is recognised as such,
        else the file's name.
    convention
        Name of the input convention; needed unless the file is recognised.
    cache_dir
        Cache folder in place of STIMGEN_CACHE and the user's.

    Raises
    ------
    InputError
        If network, name or convention is unknown or malformed.
    WeightsError
        If the file is unreadable or does not fit, the convention is not known or contradicts what the file
        is recognised as, or the name is that of other weights.
    """
    architecture = NETWORKS[network]()
    convolutions = read_convolutions(path, architecture)
    sha256 = file_sha256(path)
    recognised = recognise(convolutions, sha256, network)
    known_as = recognised.entry.name if recognised else None
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
    weights = weights_of(
        convolutions,
        network=network,
        name=name,
        convention=input_convention(path, recognised, convention, _has_names_of(convolutions, architecture)),
        origin=f"file {path.resolve()}",
        file_sha256=sha256,
    )
    present = _read_cache_entry(destination, network, name)
    if present and (present.tensors_sha256, present.convention) != (
        weights.tensors_sha256,
        weights.convention,
    ):
        raise WeightsError(
            f'Other weights are already in the cache as "{name}" of {network}: {destination}.',
            "Choose another name with --name, or delete that file.",
        )
    if recognised is None:
        weights = replace(weights, normalised=are_normalised(weights))
    write_cached(weights, destination)
    return weights


def _has_names_of(convolutions: Convolutions, architecture: Architecture) -> bool:
    return convolutions.names == tuple(step.name for step in architecture.convolutions)


def _read_file(path: Path, network: str) -> Weights:
    if path.suffix.lower() == ".safetensors" and path.is_file() and read_header(path):
        return replace(_of_network(read_cached(path), network, path), origin=f"file {path}")
    architecture = NETWORKS[network]()
    convolutions = read_convolutions(path, architecture)
    sha256 = file_sha256(path)
    recognised = recognise(convolutions, sha256, network)
    return weights_of(
        convolutions,
        network=network,
        name=recognised.entry.name if recognised else path.stem,
        convention=input_convention(path, recognised, None, _has_names_of(convolutions, architecture)),
        origin=f"file {path}",
        file_sha256=sha256,
    )


def _of_network(weights: Weights, network: str, path: Path) -> Weights:
    if weights.network != network:
        raise WeightsError(
            f"{path} holds weights of {weights.network}, not of {network}.", "Name the right file or network."
        )
    return weights


def _read_cache_entry(path: Path, network: str, name: str) -> Weights | None:
    """Return the weights in the cache file `path`, or None if there is no such file."""
    if not path.exists():
        return None
    weights = read_cached(path)
    if (weights.network, weights.name) != (network, name):
        raise WeightsError(
            f'The cache file {path} holds other weights: "{weights.name}" of {weights.network}.',
            "Delete the file, then fetch or import the weights again.",
        )
    return weights


def _cached_names(network: str, cache_dir: Path | None) -> list[str]:
    stems = [path.stem.partition("-") for path in cached_paths(cache_dir)]
    return [name for owner, _, name in stems if owner == network and not published_weights(network, name)]


def _obtain(published: PublishedWeights, path: Path, *, keep_packaged: bool) -> Weights:
    """Return published weights that are not in the cache, from their package or by download."""
    package = packaged_weights(published.network, published.name)
    weights = read_packaged(package) if package else None
    if weights is not None:
        if keep_packaged:
            write_cached(weights, path)
        return weights
    with writing_to(path.parent), FileLock(path.with_suffix(".lock")):
        # Another process may have downloaded them while this one waited for the lock.
        present = _read_cache_entry(path, published.network, published.name)
        if present is not None:
            return present
        weights = _download(published, path)
        write_cached(weights, path)
        return weights


def _download(published: PublishedWeights, path: Path) -> Weights:
    import torch

    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".download-") as folder:
        file = Path(folder) / Path(published.url).name
        try:
            with _timeout():
                torch.hub.download_url_to_file(published.url, os.fspath(file), published.sha256_prefix)
        # RuntimeError: wrong SHA-256; OSError: no connection, no such address, an error of the server;
        # HTTPException: an answer that breaks off, or is none.
        except (OSError, HTTPException, RuntimeError, ValueError) as error:
            if isinstance(error, HTTPError):
                error.close()  # It is the server's answer, with its connection.
            if isinstance(error, OSError) and error.errno in OF_THE_DISK:
                raise
            raise _unavailable(published, path, error) from error
        weights = weights_of(
            read_convolutions(file, NETWORKS[published.network]()),
            network=published.network,
            name=published.name,
            convention=CONVENTIONS[published.convention],
            origin=f"download {published.url}",
            file_sha256=file_sha256(file),
        )
    if published.tensors_sha256 not in (None, weights.tensors_sha256):
        warnings.warn(
            f'The file downloaded for "{published.name}" of {published.network} is the published one, but '
            f"its tensors have SHA-256 {weights.tensors_sha256}, and {published.tensors_sha256} is on "
            "record: do not mix stimuli made with the two.",
            stacklevel=2,
        )
    return weights


@contextmanager
def _timeout() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _reason(error: Exception) -> str:
    if isinstance(error, RuntimeError) and "invalid hash" in str(error):
        return (
            f"what came is not the published file: {error}. The transfer was cut off, or the server sent "
            "something else"
        )
    if isinstance(error, HTTPException):
        return f"the answer broke off or was no answer ({type(error).__name__}: {error})".replace("\r\n", "")
    return str(error) or type(error).__name__


def _unavailable(published: PublishedWeights, path: Path, error: Exception) -> WeightsError:
    network, name = published.network, published.name
    package = packaged_weights(network, name)
    ways = [
        f"stimgen weights fetch {network} {name}   (where there is internet; then copy {path.name} "
        f"into {path.parent})",
        f"stimgen weights import FILE --network {network} --input CONVENTION   (a .pth, .safetensors, .onnx "
        "or .h5 file; published ones are recognised and need no --input)",
        "the path of a published file in place of the name of the weights",
    ]
    if package:
        ways.insert(0, f"{package.install}   (the package {package.distribution} carries them)")
    else:
        ways += [
            f'the weights "{other.name}" of {other.network} in their place, in the package '
            f"{other.distribution} (the extra offline): --network {other.network} on the command line, or in "
            "the manifest's layer set if that names a network of its own"
            for other in PACKAGED
            # Layers are named alike in networks of one family.
            if NETWORKS[other.network]().layers[0] in NETWORKS[network]().layers
        ]
    places = f"not in the cache ({path})"
    if package:
        places += f" and not in the package {package.distribution} (not installed)"
    return WeightsError(
        f'The weights "{name}" of {network} are {places}, and the download of {published.url} failed: '
        f"{_reason(error)}.",
        "Get them in one of these ways:\n" + "\n".join(f"  - {way}" for way in ways),
    )
