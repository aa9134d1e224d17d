"""Which weights there are, and whether those on this machine are intact."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from stimgen.networks.architectures import NETWORKS
from stimgen.networks.catalogue import published_weights, random_seed, weights_names
from stimgen.networks.weights.cache import cached_names, cached_path, cached_weights, entry_header
from stimgen.networks.weights.find import check_packaged_file, installed_file, packaged_weights
from stimgen.networks.weights.record import WeightsError


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
                normalised=header.normalised == "yes",
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
