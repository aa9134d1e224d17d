"""Which weights there are, and whether those on this machine are intact."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from stimgen.networks.architectures import NETWORKS
from stimgen.networks.catalogue import published_weights, random_seed, weights_names
from stimgen.networks.weights.cache import cached_path, cached_paths, read_cached, read_header
from stimgen.networks.weights.find import check_packaged_file, installed_file, read_packaged
from stimgen.networks.weights.record import WeightsError


@dataclass(frozen=True)
class ListedWeights:
    """Weights that can be named in a manifest.

    Attributes
    ----------
    network, name
        The names for the manifest.
    location
        Where they will be taken from: "cache", "package", or "download"; "damaged" if they are on this machine
        and cannot be used.
    path
        The file, if they are on this machine.
    origin
        What they were read from, or the address to download.
    tensors_sha256
        SHA-256 of the tensors, if it is on record.
    normalised
        Whether every filter has a mean activation of about 1 already.
    licence
        Empty for weights that are not published.
    problem
        What is wrong with damaged ones; else empty.
    """

    network: str
    name: str
    location: Literal["cache", "package", "download", "damaged"]
    path: Path | None = None
    origin: str = ""
    tensors_sha256: str | None = None
    normalised: bool = False
    licence: str = ""
    problem: str = ""


@dataclass(frozen=True)
class VerifiedWeights:
    """Whether every tensor of a file has the recorded SHA-256.

    `detail` is that SHA-256, or what is wrong and what to do. Network and name of an unreadable cache file are
    those in its file name.
    """

    network: str
    name: str
    path: Path
    intact: bool
    detail: str


def whereabouts(network: str, name_or_path: str) -> str:
    """Return, in words, where `find_weights` would take weights from; nothing is read or checked."""
    if Path(name_or_path).is_absolute():
        return f"file {name_or_path}"
    if random_seed(name_or_path) is not None:
        return "drawn at random"
    if cached_path(network, name_or_path).exists():
        return "in the cache"
    published = published_weights(network, name_or_path)
    package = published.package if published else None
    if package and installed_file(package):
        return f"in the package {package.distribution}"
    offer = f" (or {package.install})" if package else ""
    return f"not here yet: to be downloaded by the first run, or stimgen weights fetch {network}{offer}"


def at_hand(network: str, name_or_path: str) -> bool:
    """Return whether `find_weights` needs no download; nothing is read or checked."""
    if Path(name_or_path).is_absolute():
        return Path(name_or_path).is_file()
    if random_seed(name_or_path) is not None or cached_path(network, name_or_path).exists():
        return True
    published = published_weights(network, name_or_path)
    return bool(published and published.package and installed_file(published.package))


def list_weights(*, cache_dir: Path | None = None) -> tuple[ListedWeights, ...]:
    """Return all weights that can be named: the published ones first, then the imported ones.

    Headers are read and no tensors; the file of a package is checked against its SHA-256. `cache_dir` is the
    cache folder in place of STIMGEN_CACHE and the user's.
    """
    published = [(network, name) for network in NETWORKS for name in weights_names(network)]
    imported = [_key_of(path) for path in cached_paths(cache_dir)]
    return tuple(_listed(*key, cache_dir) for key in dict.fromkeys([*published, *imported]))


def _listed(network: str, name: str, cache_dir: Path | None) -> ListedWeights:
    listed = ListedWeights(network, name, "download")
    published = published_weights(network, name)
    if published:
        listed = replace(
            listed,
            origin=published.url,
            tensors_sha256=published.tensors_sha256,
            licence=published.licence,
        )
    path = cached_path(network, name, cache_dir)
    package = published.package if published else None
    try:
        if path.exists():
            listed = replace(listed, location="damaged", path=path)
            header = read_header(path)
            if header is None:
                return replace(listed, problem=f"{path} was not written by stimgen.")
            return replace(
                listed,
                location="cache",
                origin=header.origin,
                tensors_sha256=header.tensors_sha256,
                normalised=header.normalised == "yes",
            )
        if package and (file := installed_file(package)):
            listed = replace(listed, location="package", path=file, origin=f"package {package.distribution}")
            check_packaged_file(package, file)
    except WeightsError as error:
        return replace(listed, location="damaged", problem=str(error))
    return listed


def verify_weights(*, cache_dir: Path | None = None) -> tuple[VerifiedWeights, ...]:
    """Read all weights in the cache and in packages, and check every tensor against the recorded SHA-256.

    `cache_dir` is the cache folder in place of STIMGEN_CACHE and the user's.
    """
    results = []
    for path in cached_paths(cache_dir):
        network, name = _key_of(path)
        try:
            weights = read_cached(path)
        except WeightsError as error:
            results.append(VerifiedWeights(network, name, path, False, str(error)))
            continue
        renamed = (weights.network, weights.name) != (network, name)
        detail = f'It holds "{weights.name}" of {weights.network}: the file was renamed.' if renamed else ""
        results.append(VerifiedWeights(network, name, path, not renamed, detail or weights.tensors_sha256))
    for network in NETWORKS:
        for published in NETWORKS[network]().weights:
            file = installed_file(published.package) if published.package else None
            if file is None:
                continue
            try:
                packaged = read_packaged(network, published)
                intact, detail = True, packaged.tensors_sha256 if packaged else ""
            except WeightsError as error:
                intact, detail = False, str(error)
            results.append(VerifiedWeights(network, published.name, file, intact, detail))
    return tuple(results)


def _key_of(path: Path) -> tuple[str, str]:
    """Return network and weights' name from the name of a cache file."""
    network, _, name = path.stem.partition("-")
    return network, name
