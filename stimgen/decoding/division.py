"""The images of the three parts: found, inspected and divided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stimgen.decoding.dataset import (
    LabelledImage,
    UnusableImage,
    find_images,
    refuse_other_classes,
    refuse_shared_groups,
)
from stimgen.decoding.features import writing
from stimgen.decoding.inspection import inspect_images
from stimgen.decoding.progress import Reporter
from stimgen.decoding.settings import DecodeSettings
from stimgen.decoding.split import hold_out, joined_groups, refuse_missing_classes
from stimgen.errors import InputError

PARTS = ("training", "validation", "test")


@dataclass(frozen=True, eq=False)
class Divided:
    """Images with their part.

    Attributes
    ----------
    images
        The images that can be used.
    sha256
        Of each file.
    groups
        Number of each image's group, shape (images,).
    part
        Name of each image's part, shape (images,).
    classes
        Names of the classes, sorted.
    labels
        Number of each image's class, shape (images,).
    """

    images: tuple[LabelledImage, ...]
    sha256: tuple[str, ...]
    groups: NDArray[np.intp]
    part: NDArray[np.str_]
    classes: tuple[str, ...]
    labels: NDArray[np.intp]

    def where(self, there: NDArray[np.bool_]) -> Divided:
        """Return the images for which `there` is true."""
        kept = np.flatnonzero(there)
        return Divided(
            tuple(self.images[i] for i in kept),
            tuple(self.sha256[i] for i in kept),
            self.groups[kept],
            self.part[kept],
            self.classes,
            self.labels[kept],
        )

    def refuse_gaps(self, components: int | None) -> None:
        """Raise unless every part has images of every class, and the training enough for the components.

        Raises
        ------
        InputError
            With what is missing.
        """
        refuse_missing_classes({part: self.labels[self.part == part] for part in PARTS}, self.classes)
        trained = int(np.count_nonzero(self.part == "training"))
        if components is not None and components > trained:
            raise InputError(
                f"--components {components}: there are only {trained} training images to find components in.",
                f"Ask for {trained} or fewer, or add images.",
            )


def find_both(settings: DecodeSettings) -> tuple[list[LabelledImage], list[LabelledImage]]:
    """Return the images to divide, and those of the test folder, if there is one.

    Raises
    ------
    InputError
        If the folders are not what they should be (see `find_images`), or do not fit together.
    """
    found = find_images(settings.folder, settings.group_by)
    if settings.test is None:
        return found, []
    to_test = find_images(settings.test, settings.group_by)
    refuse_other_classes(found, to_test)
    refuse_shared_groups(found, to_test)
    return found, to_test


def divide(
    settings: DecodeSettings,
    found: Sequence[LabelledImage],
    to_test: Sequence[LabelledImage],
    features: Path,
    report: Reporter,
) -> tuple[Divided, list[UnusableImage]]:
    """Inspect all images, and put those that can be used into the three parts.

    Parameters
    ----------
    settings
        Shares and seed.
    found, to_test
        What `find_both` returned.
    features
        Folder where it is kept what was found out about files.
    report
        Told of progress and of images that are left out.

    Raises
    ------
    InputError
        If a part lacks images of a class, or has too few for the components.
    StoreError
        If `features` cannot be written.
    """
    everything = [*found, *to_test]
    with report.bar("inspecting", len(everything)) as advance:
        paths, log = [image.path for image in everything], features / "inspected.jsonl"
        with writing(log):
            sha256, unusable = inspect_images(paths, settings.image.size_px, log, advance)
    tested = {sha256[image.path] for image in to_test if image.path in sha256}
    training = []
    for image in found:
        if image.path not in sha256:
            continue
        if sha256[image.path] in tested:
            twin = UnusableImage(
                str(image.path),
                f"{image.path} is also in the test folder: a file there has the same bytes.",
                "Remove it from one of the folders. It was left out of the training.",
            )
            unusable.append(twin)
        else:
            training.append(image)
    report.left_out(unusable)
    images = (*training, *(image for image in to_test if image.path in sha256))
    if not images:
        raise InputError("None of the images can be used.", "See above what is wrong with them.")
    hashes = tuple(sha256[image.path] for image in images)
    classes, labels = np.unique([image.label for image in images], return_inverse=True)
    groups = joined_groups([image.group for image in images], hashes)
    part = np.full(len(images), "training", dtype="<U10")
    part[len(training) :] = "test"
    rng = np.random.default_rng(settings.training.seed)
    if settings.test is None:
        part[hold_out(labels, groups, settings.test_share, rng)] = "test"
    rest = np.flatnonzero(part == "training")
    held = hold_out(labels[rest], groups[rest], settings.validation_share, rng)
    part[rest[held]] = "validation"
    divided = Divided(images, hashes, groups, part, tuple(map(str, classes)), labels.astype(np.intp))
    divided.refuse_gaps(settings.training.components)
    return divided, unusable
