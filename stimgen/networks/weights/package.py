"""Weights that an installed Python package carries, read from its files and without importing it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from stimgen.networks.architectures import NETWORKS
from stimgen.networks.catalogue import CONVENTIONS, PackagedWeights
from stimgen.networks.weights.formats import read_convolutions
from stimgen.networks.weights.record import Weights, WeightsError, file_sha256, weights_of


def installed_file(entry: PackagedWeights) -> Path | None:
    """Return where an installed package has its weights file, or None if the package is not installed."""
    spec = find_spec(entry.module)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / entry.file


def check_packaged_file(entry: PackagedWeights, path: Path) -> None:
    """Do nothing if `path` is the file that the package should have.

    Raises
    ------
    WeightsError
        If it is missing or another one.
    """
    cure = f"Install the right one: {entry.install}"
    if not path.is_file():
        raise WeightsError(f"The installed package {entry.distribution} lacks the weights file {path}.", cure)
    found = file_sha256(path)
    if found != entry.file_sha256:
        raise WeightsError(
            f"The weights file {path} of the installed package {entry.distribution} is another one: its "
            f"SHA-256 is {found}, expected {entry.file_sha256}.",
            cure,
        )


def read_packaged(entry: PackagedWeights) -> Weights | None:
    """Return the weights that an installed package carries, or None if the package is not installed.

    Raises
    ------
    WeightsError
        If the package is there without the file or with another file, or the file cannot be read.
    """
    path = installed_file(entry)
    if path is None:
        return None
    check_packaged_file(entry, path)
    return weights_of(
        read_convolutions(path, NETWORKS[entry.network]()),
        network=entry.network,
        name=entry.name,
        convention=CONVENTIONS[entry.convention],
        origin=f"package {entry.distribution} {_version(entry.distribution)}",
        file_sha256=entry.file_sha256,
    )


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "of unknown version"
