"""What weights there are, and whether those on this machine are what they were."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from stimgen.networks import catalogue
from stimgen.networks.architectures import NETWORKS
from stimgen.networks.catalogue import packaged_weights, published_weights, random_seed, weights_names
from stimgen.networks.weights.cache import cached_path, cached_paths, read_cached, read_header
from stimgen.networks.weights.package import check_packaged_file, installed_file, read_packaged
from stimgen.networks.weights.record import WeightsError


@dataclass(frozen=True)
class ListedWeights:
    """Weights that can be named in a manifest.

    Attributes
    ----------
    network, name
        What to write in the manifest.
    location
        Where they will be taken from: "cache", "package", or "download"; "damaged" if they are there and
        cannot be used.
    path
        The file, if they are on this machine.
    convention
        Input convention; None if damaged and not published.
    origin
        What they were read from, or the address to download.
    file_sha256, tensors_sha256
        As recorded; of a published file not yet here, only the published first digits.
    normalised
        Whether every filter has a mean activation of about 1 already.
    licence, citation
        Empty for weights that are not in the catalogue.
    problem
        What is wrong with damaged ones; else empty.
    """

    network: str
    name: str
    location: Literal["cache", "package", "download", "damaged"]
    path: Path | None
    convention: str | None
    origin: str
    file_sha256: str | None
    tensors_sha256: str | None
    normalised: bool
    licence: str
    citation: str
    problem: str


@dataclass(frozen=True)
class VerifiedWeights:
    """The result of reading weights on this machine again.

    Attributes
    ----------
    network, name
        Which weights; of an unreadable cache file, as its file name says.
    path
        The file.
    intact
        Whether every tensor has the recorded SHA-256.
    detail
        The SHA-256 of the tensors, or what is wrong and what to do.
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
    package = packaged_weights(network, name_or_path)
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
    package = packaged_weights(network, name_or_path)
    return bool(package and installed_file(package))


def list_weights(*, cache_dir: Path | None = None) -> tuple[ListedWeights, ...]:
    """Return all weights that can be named: the catalogue first, then the imported ones.

    Headers are read and no tensors; the file of a package is checked against its SHA-256.

    Parameters
    ----------
    cache_dir
        Cache folder in place of STIMGEN_CACHE and the user's.
    """
    published = [(network, name) for network in NETWORKS for name in weights_names(network)]
    imported = [_key_of(path) for path in cached_paths(cache_dir)]
    return tuple(_listed(*key, cache_dir) for key in dict.fromkeys([*published, *imported]))


def verify_weights(*, cache_dir: Path | None = None) -> tuple[VerifiedWeights, ...]:
    """Read all weights on this machine and check every tensor against the recorded SHA-256.

    Parameters
    ----------
    cache_dir
        Cache folder in place of STIMGEN_CACHE and the user's.

    Returns
    -------
    tuple of VerifiedWeights
        One per file in the cache and per installed package with weights.
    """
    results = []
    for path in cached_paths(cache_dir):
        network, name = _key_of(path)
        try:
            weights = read_cached(path)
        except WeightsError as error:
            results.append(VerifiedWeights(network, name, path, False, str(error)))
            continue
        moved = (weights.network, weights.name) != (network, name)
        detail = f'It holds "{weights.name}" of {weights.network}: the file was renamed.' if moved else ""
        results.append(VerifiedWeights(network, name, path, not moved, detail or weights.tensors_sha256))
    return (*results, *_verified_packages())


def _verified_packages() -> list[VerifiedWeights]:
    results = []
    for entry in catalogue.PACKAGED:
        path = installed_file(entry)
        if path is None:
            continue
        try:
            weights = read_packaged(entry)
        except WeightsError as error:
            results.append(VerifiedWeights(entry.network, entry.name, path, False, str(error)))
            continue
        if weights is not None:
            results.append(VerifiedWeights(entry.network, entry.name, path, True, weights.tensors_sha256))
    return results


def _listed(network: str, name: str, cache_dir: Path | None) -> ListedWeights:
    published = published_weights(network, name)
    listed = ListedWeights(
        network=network,
        name=name,
        location="download",
        path=None,
        convention=published.convention if published else None,
        origin=published.url if published else "",
        file_sha256=published.sha256_prefix if published else None,
        tensors_sha256=published.tensors_sha256 if published else None,
        normalised=False,
        licence=published.licence if published else "",
        citation=published.citation if published else "",
        problem="",
    )
    path = cached_path(network, name, cache_dir)
    package = packaged_weights(network, name)
    try:
        if path.exists():
            listed = replace(listed, location="damaged", path=path)
            header = read_header(path)
            if header is None:
                return replace(listed, problem=f"{path} was not written by stimgen.")
            return replace(
                listed,
                location="cache",
                convention=header.convention,
                origin=header.origin,
                file_sha256=header.file_sha256,
                tensors_sha256=header.tensors_sha256,
                normalised=header.normalised == "yes",
            )
        if package and (file := installed_file(package)):
            listed = replace(
                listed,
                location="package",
                path=file,
                convention=package.convention,
                origin=f"package {package.distribution}",
                file_sha256=package.file_sha256,
            )
            check_packaged_file(package, file)
    except WeightsError as error:
        return replace(listed, location="damaged", problem=str(error))
    return listed


def _key_of(path: Path) -> tuple[str, str]:
    """Return network and weights' name from the name of a cache file."""
    network, _, name = path.stem.partition("-")
    return network, name
