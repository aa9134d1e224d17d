"""What a run has to do for each stimulus: nothing, a part of the work, or all of it.

What a stimulus depends on has parts (`stimgen.runs.record.Recipe`). Where a later part has changed, a run
goes on from the PNG file, or from the optimised image: what a synthesis or a control makes, before it is
matched. It is kept in the folder `optimised` for this, and may be deleted.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self, get_args

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from stimgen.bounded import UnreadableError, read_file, read_regular
from stimgen.errors import StimgenError
from stimgen.images.pixels import Image, plane_if_grey
from stimgen.runs.record import Recipe, Record
from stimgen.runs.store import MOST_BYTES, RunFolder, sha256

MOST_IMAGE_BYTES = 2**28
"""Largest file of an optimised image; that of 4096 px in colour has 201 MB."""
Step = Literal["keep", "measure", "match", "synthesise"]
"""Nothing, measure the stimulus again, match and measure its optimised image again, or make it anew."""
CURE = "Delete the image and the record of the stimulus, then run again."
STEPS: tuple[Step, ...] = get_args(Step)


def encode_image(image: Image) -> bytes:
    """Return the file of an optimised image: safetensors with the float32 array `image`.

    It is (H, W, 3), or (H, W) if R, G and B are equal everywhere.
    """
    return save({"image": np.ascontiguousarray(plane_if_grey(image), np.float32)})


def decode_image(content: bytes, size_px: int) -> Image:
    """Return the image (H, W) or (H, W, 3) in a file of `encode_image`; StimgenError for any other file."""
    try:
        image = load(content)["image"]
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        problem = f"The file cannot be read as an optimised image: {error}."
        raise StimgenError(problem, CURE) from None
    if image.dtype != np.float32 or image.shape not in ((size_px, size_px), (size_px, size_px, 3)):
        problem = f"The file holds no optimised image, but an array {image.shape} of {image.dtype}."
        raise StimgenError(problem, CURE)
    return image


def read_image(folder: RunFolder, record: Record) -> bytes | None:
    """Return the file of the optimised image that a record describes, None if it is not there.

    UnreadableError is raised if it is another file.
    """
    path = folder.image(record.stimulus_id)
    if not os.path.lexists(path):
        return None
    content = read_regular(path, MOST_IMAGE_BYTES)
    if (found := sha256(content)) != record.optimised_sha256:
        text = f"was altered: its SHA-256 is {found}, and the record says {record.optimised_sha256}"
        raise UnreadableError(text)
    return content


def next_step(
    folder: RunFolder, stimulus_id: str, recipe: Recipe | None, *, compare: bool = True
) -> tuple[Step, Record | None]:
    """Return what a run has to do for a stimulus of a recipe, and the record from which it goes on.

    Files are compared with the record, or else only looked for. An optimised image may be missing: then only
    what needs the PNG file alone is done again, and whatever needs more is synthesised.
    """
    record = folder.read_record(stimulus_id)
    if record is None or recipe is None or record.recipe_sha256.optimised != recipe.optimised:
        return "synthesise", None
    try:
        there = read_image(folder, record) is not None if compare else folder.image(stimulus_id).exists()
    except UnreadableError:
        return "synthesise", None
    other = {part for part, found in record.recipe_sha256 if found != getattr(recipe, part)}
    if "matching" in other or not _has_png(folder, record, compare=compare):
        step: Step = "match"
    elif "distances" in other:
        step = "measure"
    else:
        return ("measure" if other else "keep"), record
    return (step, record) if there else ("synthesise", None)


def _has_png(folder: RunFolder, record: Record, *, compare: bool) -> bool:
    path = folder.png(record.stimulus_id)
    if not compare:
        return path.is_file()
    with contextlib.suppress(OSError):
        return sha256(read_file(path, MOST_BYTES)) == record.png_sha256
    return False


def finished(folder: RunFolder, stimulus_id: str, recipe: Recipe) -> Record | None:
    """Return the record of a stimulus for which a run has nothing to do; None for any other."""
    step, record = next_step(folder, stimulus_id, recipe)
    return record if step == "keep" else None


@dataclass(frozen=True, slots=True)
class Done:
    """What a run remembers of a finished stimulus."""

    png_sha256: str
    record_sha256: str | None
    networks: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, record: Record) -> Self:
        """Return what is remembered of a record."""
        networks = tuple(
            (network.name, network.tensors_sha256) for network in (record.network, record.measured_in)
        )
        return cls(record.png_sha256, record.record_sha256, networks)


def all_steps(folder: RunFolder, recipes: Mapping[str, Recipe]) -> tuple[dict[str, Done], dict[str, Step]]:
    """Return the finished stimuli, and what has to be done for each of the others."""
    done: dict[str, Done] = {}
    others: dict[str, Step] = {}
    for name, recipe in recipes.items():
        step, record = next_step(folder, name, recipe)
        if step == "keep" and record is not None:
            done[name] = Done.of(record)
        else:
            others[name] = step
    return done, others


def read_done(folder: RunFolder, ids: Sequence[str], done: Mapping[str, Done]) -> Iterator[Record]:
    """Yield the records of the finished stimuli among `ids`, read from disk one after the other."""
    for stimulus_id in ids:
        if (known := done.get(stimulus_id)) is None:
            continue
        record = folder.read_record(stimulus_id)
        if record is None or record.record_sha256 != known.record_sha256:
            raise StimgenError(
                f"{folder.record(stimulus_id)} was altered or removed while stimgen was at work.",
                "Run again: what was altered is made again.",
            )
        yield record
