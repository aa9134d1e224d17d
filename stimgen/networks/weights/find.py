"""From a network and a name to its weights: a file, the cache, a package or a download; and what there is."""

from __future__ import annotations

import errno
import os
import socket
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.client import HTTPException
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal
from urllib.error import HTTPError

from filelock import FileLock

from stimgen.errors import InputError, nearest
from stimgen.networks.architectures import (
    CONVENTIONS,
    NETWORKS,
    PackagedWeights,
    PublishedWeights,
    published_weights,
    random_seed,
    weights_names,
)
from stimgen.networks.weights.cache import (
    cached_names,
    cached_path,
    cached_weights,
    entry_header,
    read_cached,
    read_header,
    write_cached,
    writing_to,
)
from stimgen.networks.weights.formats import (
    Weights,
    file_sha256,
    random_weights,
    read_convolutions,
    read_weights_file,
)
from stimgen.networks.weights.readers import READERS, WeightsError

TIMEOUT_S = 60.0
"""How long a download waits for a server that sends nothing, s."""

OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO)
"""Errors of the disk that a download is written to, not of the connection."""


def find_weights(network: str, name_or_path: str) -> Weights:
    """Return the weights of a network.

    A path (with a folder or the ending of a weights file) is that file and nothing else. "random" and
    "random:SEED" are `random_weights`. Any other name is looked for in the cache, then in the package that
    carries it, and then downloaded into the cache. Damaged weights are an error.
    """
    NETWORKS[network]()
    path = Path(name_or_path)
    if path.suffix.lower() in READERS or len(path.parts) > 1:
        return _from_file(network, path)
    seed = random_seed(name_or_path)
    if seed is not None:
        return random_weights(network, seed)
    cached = cached_weights(network, name_or_path)
    if cached is not None:
        return cached
    published = published_weights(network, name_or_path)
    if published is None:
        cached_here = [name for owner, name in cached_names() if owner == network]
        known = dict.fromkeys([*weights_names(network), *cached_here, "random"])
        raise InputError(f'Unknown weights "{name_or_path}" for {network}.', nearest(name_or_path, known))
    return packaged_weights(network, published) or _downloaded(network, published)


def fetch_weights(network: str, name: str) -> Weights:
    """Return published weights after putting them into the cache, from a package or by download."""
    NETWORKS[network]()
    published = published_weights(network, name)
    if published is None:
        raise InputError(
            f'No weights "{name}" are published for {network}.', nearest(name, weights_names(network))
        )
    weights = cached_weights(network, name) or packaged_weights(network, published)
    if weights is None:
        return _downloaded(network, published)
    if not cached_path(network, name).exists():
        write_cached(weights)
    return weights


def _from_file(network: str, path: Path) -> Weights:
    header = read_header(path) if path.suffix.lower() == ".safetensors" and path.is_file() else None
    if header is None:
        return read_weights_file(path, network)[0]
    if header.network != network:
        raise WeightsError(
            f"{path} holds weights of {header.network}, not of {network}.", "Name the right file or network."
        )
    return read_cached(path, header, f"file {path}")


def installed_file(package: PackagedWeights | None) -> Path | None:
    """Return the weights file of a package, which is not imported; None if the package is not installed."""
    spec = find_spec(package.module) if package else None
    if package is None or spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / package.file


def check_packaged_file(package: PackagedWeights, path: Path) -> None:
    """Raise `WeightsError` if the weights file of an installed package is missing or another one."""
    found = f"its SHA-256 is {file_sha256(path)}" if path.is_file() else "there is none"
    if package.sha256 not in found:
        raise WeightsError(
            f"The installed package {package.distribution} lacks the weights file {path} with the SHA-256 "
            f"{package.sha256}: {found}.",
            f"Install the right one: {package.install}",
        )


def packaged_weights(network: str, published: PublishedWeights) -> Weights | None:
    """Return published weights from the package that carries them; None if there is none or not installed."""
    package = published.package
    path = installed_file(package)
    if package is None or path is None:
        return None
    check_packaged_file(package, path)
    try:
        release = version(package.distribution)
    except PackageNotFoundError:
        release = "of unknown version"
    convolutions = read_convolutions(path, NETWORKS[network]())
    convention, origin = CONVENTIONS[package.convention], f"package {package.distribution} {release}"
    return convolutions.weights(network, published.name, convention, origin, package.sha256)


def _downloaded(network: str, published: PublishedWeights) -> Weights:
    """Return published weights after downloading them into the cache."""
    path = cached_path(network, published.name)
    with writing_to(path.parent), FileLock(path.with_suffix(".lock")):
        # Another process may have downloaded them while this one waited for the lock.
        weights = cached_weights(network, published.name)
        if weights is None:
            weights = _download(network, published, path)
            write_cached(weights)
        return weights


def _download(network: str, published: PublishedWeights, path: Path) -> Weights:
    import torch

    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".download-") as folder:
        url = published.source
        try:
            url = published.url
            file = Path(folder) / Path(url).name
            with _timeout():
                torch.hub.download_url_to_file(url, os.fspath(file), published.sha256)
        # ImportError: no TorchVision; RuntimeError: wrong SHA-256, or TorchVision does not fit PyTorch;
        # OSError: no connection, or an error of the server; HTTPException: the answer breaks off.
        except (ImportError, OSError, HTTPException, RuntimeError, ValueError) as error:
            if isinstance(error, HTTPError):
                error.close()  # It is the server's answer, with its connection.
            if isinstance(error, OSError) and error.errno in OF_THE_DISK:
                raise
            raise _unavailable(network, published, url, path, error) from error
        convolutions = read_convolutions(file, NETWORKS[network]())
        convention, origin = CONVENTIONS[published.convention], f"download {url}"
        weights = convolutions.weights(network, published.name, convention, origin, file_sha256(file))
    if published.tensors_sha256 not in (None, weights.tensors_sha256):
        warnings.warn(
            f'The file downloaded for "{published.name}" of {network} is the published one, but '
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


def _unavailable(
    network: str, published: PublishedWeights, url: str, path: Path, error: Exception
) -> WeightsError:
    reason = str(error) or type(error).__name__
    if isinstance(error, RuntimeError) and "invalid hash" in reason:
        reason = (
            f"what came is not the published file: {reason}. The transfer was cut off, or the server sent "
            "something else"
        )
    if isinstance(error, HTTPException):
        reason = f"the answer broke off or was no answer ({type(error).__name__}: {reason})"
    name, package = published.name, published.package
    ways = [
        f"stimgen weights fetch {network} {name}   (where there is internet; then copy {path.name} "
        f"into {path.parent})",
        f"stimgen weights import FILE --network {network} --input CONVENTION   (a .pth, .safetensors, .onnx "
        "or .h5 file; published ones are recognised and need no --input)",
        "the path of a published file in place of the name of the weights",
    ]
    places = f"not in the cache ({path})"
    if package:
        ways.insert(0, f"{package.install}   (the package {package.distribution} carries them)")
        places += f" and not in the package {package.distribution} (not installed)"
    else:
        ways += [
            f'the weights "{entry.name}" of {other.name} in their place, in the package '
            f"{entry.package.distribution} (the extra offline): --network {other.name} on the command line, "
            "or in the manifest's layer set if that names a network of its own"
            for other in (NETWORKS[key]() for key in NETWORKS)
            for entry in other.weights
            # Layers are named alike in networks of one family.
            if entry.package and other.layers[0] in NETWORKS[network]().layers
        ]
    return WeightsError(
        f'The weights "{name}" of {network} are {places}, and the download of {url} failed: '
        f"{reason}.".replace("\r\n", ""),
        "Get them in one of these ways:\n" + "\n".join(f"  - {way}" for way in ways),
    )


@dataclass(frozen=True)
class ListedWeights:
    """Weights that can be named in a manifest, and where they will be taken from.

    Those that are "damaged" are on this machine and cannot be used, because of `problem`. `origin` is what
    they were read from, or where they are published.
    """

    network: str
    name: str
    location: Literal["cache", "package", "download", "damaged"] = "download"
    path: Path | None = None
    origin: str = ""
    tensors_sha256: str | None = None
    normalised: bool = False
    licence: str = ""
    problem: str = ""


def whereabouts(network: str, name_or_path: str) -> str:
    """Return, in words, where `find_weights` would take weights from; nothing is read or checked."""
    if place := _place_here(network, name_or_path):
        return place
    published = published_weights(network, name_or_path)
    offer = f" (or {published.package.install})" if published and published.package else ""
    return f"not here yet: to be downloaded by the first run, or stimgen weights fetch {network}{offer}"


def at_hand(network: str, name_or_path: str) -> bool:
    """Return whether `find_weights` needs no download; nothing is read or checked."""
    if Path(name_or_path).is_absolute():
        return Path(name_or_path).is_file()
    return bool(_place_here(network, name_or_path))


def _place_here(network: str, name_or_path: str) -> str:
    """Return the place of weights on this machine in words; empty if they are not on it."""
    if Path(name_or_path).is_absolute():
        return f"file {name_or_path}"
    if random_seed(name_or_path) is not None:
        return "drawn at random"
    if cached_path(network, name_or_path).exists():
        return "in the cache"
    published = published_weights(network, name_or_path)
    package = published.package if published else None
    return f"in the package {package.distribution}" if package and installed_file(package) else ""


def list_weights() -> tuple[ListedWeights, ...]:
    """Return all weights that can be named: the published ones first, then the imported ones.

    Headers are read and no tensors; the file of a package is checked against its SHA-256.
    """
    return tuple(next(_places(*key, read=False)) for key in _all_names())


def verify_weights() -> tuple[ListedWeights, ...]:
    """Return all weights in the cache and in packages, after checking every tensor against its SHA-256."""
    places = (place for key in _all_names() for place in _places(*key, read=True))
    return tuple(place for place in places if place.path)


def _all_names() -> list[tuple[str, str]]:
    published = [(network, name) for network in NETWORKS for name in weights_names(network)]
    return list(dict.fromkeys([*published, *cached_names()]))


def _places(network: str, name: str, *, read: bool) -> Iterator[ListedWeights]:
    """Yield where weights are, the place that they are taken from first; `read` checks all tensors."""
    published, path = published_weights(network, name), cached_path(network, name)
    package = published.package if published else None
    listed = ListedWeights(network, name)
    if published:
        listed = replace(
            listed,
            origin=published.source,
            tensors_sha256=published.tensors_sha256,
            licence=published.licence,
        )
    if path.exists():
        try:
            header = entry_header(path, network, name)
            if read:
                cached_weights(network, name)
            yield replace(
                listed,
                location="cache",
                path=path,
                origin=header.origin,
                tensors_sha256=header.tensors_sha256,
                normalised=header.normalised,
            )
        except WeightsError as error:
            yield replace(listed, location="damaged", path=path, problem=str(error))
    if published and package and (file := installed_file(package)):
        try:
            check_packaged_file(package, file)
            if read:
                packaged_weights(network, published)
            yield replace(listed, location="package", path=file, origin=f"package {package.distribution}")
        except WeightsError as error:
            yield replace(listed, location="damaged", path=file, problem=str(error))
    yield listed
