"""The division of images into training, validation and test, with each group in one part."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from stimgen.decoding.dataset import names
from stimgen.decoding.settings import DecodeSettings
from stimgen.errors import InputError

PARTS = ("training", "validation", "test")


def divide(images: pd.DataFrame, settings: DecodeSettings) -> pd.DataFrame:
    """Divide images with the columns path, class, group, part and sha256.

    Images of the part "test" stay there; without ``settings.test`` some of the part "training" are held out
    for it. Others are held out for the part "validation". The class of the result is categorical, and its
    groups are numbers. Raises InputError if there are fewer than two classes, or a class is missing in a
    part.
    """
    images = images.assign(**{"class": pd.Categorical(images["class"])})
    if (count := len(images["class"].cat.categories)) < 2:
        problem = "Only one class has images" if count else "There are no images"
        raise InputError(f"{problem} that can be used.", "See above why images were left out.")
    labels = class_numbers(images)
    groups = joined_groups(list(images["group"]), list(images["sha256"]))
    part = images["part"].to_numpy(dtype="<U10")
    rng = np.random.default_rng(settings.training.seed)
    if settings.test is None:
        part[hold_out(labels, groups, settings.test_share, rng)] = "test"
    rest = np.flatnonzero(part == "training")
    part[rest[hold_out(labels[rest], groups[rest], settings.validation_share, rng)]] = "validation"
    images = images.assign(group=groups, part=part)
    refuse_gaps(images, settings.training.components)
    return images


def class_numbers(images: pd.DataFrame) -> NDArray[np.intp]:
    """Return the number of each image's class, 0 for the first in alphabetical order."""
    return np.asarray(images["class"].cat.codes, dtype=np.intp)


def joined_groups(groups: Sequence[str], sha256: Sequence[str]) -> NDArray[np.intp]:
    """Return the number of each image's group, where images with the same bytes belong together too.

    Examples
    --------
    >>> joined_groups(["a", "a", "b", "c"], ["1", "2", "2", "3"])
    array([0, 0, 0, 1]...)
    """
    _, by_group = np.unique(np.asarray(groups), return_inverse=True)
    _, by_file = np.unique(np.asarray(sha256), return_inverse=True)
    # A graph of groups and files, with an edge for every image.
    offset = int(by_group.max()) + 1
    nodes = offset + int(by_file.max()) + 1
    edges = coo_array((np.ones(len(groups)), (by_group, offset + by_file)), shape=(nodes, nodes))
    _, component = connected_components(edges.tocsr(), directed=False)
    return np.asarray(component[by_group], dtype=np.intp)


def hold_out(
    labels: NDArray[np.intp], groups: NDArray[np.intp], share: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Choose whole groups so that about `share` of the images of each class are held out.

    The groups of each class are tried in random order. A group is held out if that brings the number of
    held-out images of the class nearer to `share` of all (above 0, below 1). If no group does, the smallest
    is held out. A class is never held out entirely. `StratifiedGroupKFold` of scikit-learn guarantees
    neither, and its time grows with groups × folds × classes.

    `labels` and `groups` are the numbers of each image's class and group, shape (images,). The result has the
    same shape, with True for images that are held out. A class with a single group, or with groups that other
    classes share, can be missing on one side.
    """
    held: set[int] = set()
    decided: set[int] = set()
    for label in np.unique(labels):
        members, counts = np.unique(groups[labels == label], return_counts=True)
        size = dict(zip(members.tolist(), counts.tolist(), strict=True))
        total = sum(size.values())
        target = share * total
        count = sum(size[group] for group in size if group in held)
        undecided = [group for group in rng.permutation(members).tolist() if group not in decided]
        for group in undecided:
            larger = count + size[group]
            if larger < total and abs(larger - target) < abs(count - target):
                held.add(group)
                count = larger
        if count == 0:
            possible = [group for group in undecided if size[group] < total]
            held.update(sorted(possible, key=size.__getitem__)[:1])
        decided.update(size)
    return np.isin(groups, list(held))


def refuse_gaps(images: pd.DataFrame, components: int | None) -> None:
    """Raise InputError if a part lacks a class, or there are fewer training images than components."""
    classes = set(images["class"].cat.categories)
    missing = {part: classes - set(images.loc[images["part"] == part, "class"]) for part in PARTS}
    if any(missing.values()):
        raise InputError(
            "\n".join(
                f"The {part} part has no images of {names(sorted(lacking))}."
                for part, lacking in missing.items()
                if lacking
            ),
            "Each class needs images of one group or more in each part. Give the class more groups (without "
            "--group-by each image is one; files with the same bytes are one group).",
        )
    trained = int((images["part"] == "training").sum())
    if components is not None and components > trained:
        raise InputError(
            f"--components {components}: there are only {trained} training images to find components in.",
            f"Ask for {trained} or fewer, or add images.",
        )
