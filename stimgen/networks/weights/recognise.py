"""Which published weights a file holds, and so which input convention it has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stimgen.errors import InputError, nearest
from stimgen.networks.catalogue import CONVENTIONS, InputConvention, PublishedWeights, published_for
from stimgen.networks.weights.record import Convolutions, WeightsError


@dataclass(frozen=True)
class Recognised:
    """Published weights, and the order that a file has their input channels in."""

    entry: PublishedWeights
    channels: Literal["rgb", "bgr"]


def recognise(convolutions: Convolutions, sha256: str, network: str) -> Recognised | None:
    """Return which published weights of `network` these are, or None.

    They are recognised by their tensors, in either order of the input channels, and, where those of the
    published weights are not on record, by the published digits of the file's SHA-256.
    """
    entries = published_for(network)
    for entry in entries:
        if entry.tensors_sha256 is not None:
            if convolutions.sha256 == entry.tensors_sha256:
                return Recognised(entry, "rgb")
            if convolutions.with_input_reversed().sha256 == entry.tensors_sha256:
                return Recognised(entry, "bgr")
    for entry in entries:
        if sha256.startswith(entry.sha256_prefix):
            return Recognised(entry, CONVENTIONS[entry.convention].channels)
    return None


def input_convention(
    path: Path, recognised: Recognised | None, named: str | None, names_of_caffe: bool
) -> InputConvention:
    """Return the input convention of a file: that of the weights it was recognised as, else the `named` one.

    Parameters
    ----------
    path
        The file, for messages.
    recognised
        What it was recognised as.
    named
        Name of the convention that the user gave.
    names_of_caffe
        Whether the file's layers are named as in Caffe, which is only a hint: other files may be, too.

    Raises
    ------
    InputError
        If `named` is unknown.
    WeightsError
        If neither is there, or they contradict each other.
    """
    if named is not None and named not in CONVENTIONS:
        raise InputError(f'Unknown input convention "{named}".', nearest(named, CONVENTIONS))
    if recognised is None:
        if named is None:
            cure = (
                "Import it with its convention: stimgen weights import FILE --network NETWORK --name NAME "
                f"--input C, with C one of {', '.join(CONVENTIONS)}."
            )
            if names_of_caffe:
                cure += (
                    " Its layers have the names of the Caffe networks, as in vgg_conv.pth of Gatys and "
                    "colleagues; if it was converted from Caffe, C is caffe-bgr."
                )
            raise WeightsError(
                f"{path} is not recognised, so it is not known which input its network expects: RGB or BGR, "
                "which range, which mean.",
                cure,
            )
        return CONVENTIONS[named]
    published = CONVENTIONS[recognised.entry.convention].in_rgb()
    candidates = [c for c in CONVENTIONS.values() if c.in_rgb() == published]
    convention = next(c for c in candidates if c.channels == recognised.channels)
    if named not in (None, convention.name):
        raise WeightsError(
            f'{path} is recognised as "{recognised.entry.name}" of {recognised.entry.network}, whose input '
            f"convention is {convention.name}, not {named}.",
            "Leave --input out.",
        )
    return convention
