"""Sources and weights of a run that are at hand: whether they are those that its records name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from stimgen.errors import InputError
from stimgen.images.read import SKIMAGE_PREFIX, skimage_path
from stimgen.manifest.resolve import is_weights_file
from stimgen.manifest.resolved import SourceSpec
from stimgen.manifest.schema import NetworkSpec
from stimgen.networks.catalogue import published_weights
from stimgen.networks.weights import WeightsError
from stimgen.networks.weights.cache import cached_path, read_header
from stimgen.runs.record import SourceRecord
from stimgen.runs.store import sha256
from stimgen.verify.finding import SOURCE, Finding, some, unchecked, warning

ONLY_BY_READING = "weights whose SHA-256 is compared with that in the records only by --recompute"


def source_findings(sources: Iterable[SourceSpec], recorded: Mapping[str, SourceRecord]) -> Iterator[Finding]:
    """Yield sources whose file is another one now, or not at hand; the stimuli stay what they were.

    Parameters
    ----------
    sources
        As the manifest asks for them.
    recorded
        What the records say, by id.
    """
    gone = []
    for spec in sources:
        if spec.id not in recorded:
            continue
        try:
            path = spec.path or skimage_path(spec.image.removeprefix(SKIMAGE_PREFIX))
            content = path.read_bytes() if path.is_file() else None
        except (InputError, OSError):
            content = None
        if content is None:
            gone.append(spec.image)
        elif sha256(content) != recorded[spec.id].sha256:
            yield warning(
                spec.image,
                f"is another file than the one that the source {spec.id} was made of: its SHA-256 is "
                f"{sha256(content)}, and the records say {recorded[spec.id].sha256}",
                SOURCE,
            )
    if gone:
        yield unchecked(some(gone), "not at hand, so not compared with the SHA-256 in the records", SOURCE)


def weights_findings(recorded: Mapping[NetworkSpec, str]) -> Iterator[Finding]:
    """Yield weights that are others now, or cannot be compared without reading them.

    Compared are the published hashes of tensors, and those in the cache; no tensor is read.

    Parameters
    ----------
    recorded
        SHA-256 of the tensors in the records, by network.
    """
    for (name, weights), found in {(one.name, one.weights): sha for one, sha in recorded.items()}.items():
        known = known_sha256(name, weights)
        file = f"{name} {Path(weights).name}"
        if known is None:
            yield unchecked(file, ONLY_BY_READING)
        elif known != found:
            text = f"has tensors with the SHA-256 {known} here, and the records say {found}"
            yield warning(file, text, SOURCE)


def known_sha256(network: str, weights: str) -> str | None:
    """Return the SHA-256 of the tensors of weights; None if it is not known without reading them."""
    if is_weights_file(weights):
        return None
    try:
        header = read_header(path) if (path := cached_path(network, weights)).is_file() else None
    except (InputError, WeightsError):
        return None
    if header is not None:
        return header.tensors_sha256
    published = published_weights(network, weights)
    return published.tensors_sha256 if published else None
