"""Training, validation and test: which image is where, with no group on two sides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from stimgen.decoding.dataset import names
from stimgen.errors import InputError


def joined_groups(groups: Sequence[str], sha256: Sequence[str]) -> NDArray[np.intp]:
    """Return a number for the group of each image, where images with the same bytes belong together too.

    Parameters
    ----------
    groups
        Name of each image's group.
    sha256
        Identity of each image's file.

    Returns
    -------
    ndarray of int, shape (images,)
        Equal where groups are equal, where files are equal, and where a chain of such pairs leads.

    Examples
    --------
    >>> joined_groups(["a", "a", "b", "c"], ["1", "2", "2", "3"])
    array([0, 0, 0, 1]...)
    """
    _, by_group = np.unique(np.asarray(groups), return_inverse=True)
    _, by_file = np.unique(np.asarray(sha256), return_inverse=True)
    # A graph of group names and files, with an edge for every image.
    offset = int(by_group.max()) + 1
    nodes = offset + int(by_file.max()) + 1
    edges = coo_array((np.ones(len(groups)), (by_group, offset + by_file)), shape=(nodes, nodes))
    _, component = connected_components(edges.tocsr(), directed=False)
    _, numbers = np.unique(component[by_group], return_inverse=True)
    return numbers.astype(np.intp)


def hold_out(
    labels: NDArray[np.intp], groups: NDArray[np.intp], share: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Choose whole groups so that about `share` of the images of each class are held out.

    Classes are gone through in order and the groups of each in random order. A group is held out if that
    brings the number of held-out images of the class nearer to `share` of all, at least one group and never
    all.

    Parameters
    ----------
    labels
        Number of each image's class, shape (images,).
    groups
        Number of each image's group, shape (images,).
    share
        Share to hold out, above 0, below 1.
    rng
        Source of the random order.

    Returns
    -------
    ndarray of bool, shape (images,)
        True for images that are held out; equal for all images of a group. A class can be without images on
        one side (see `refuse_missing_classes`).
    """
    held: set[int] = set()
    decided: set[int] = set()
    order = np.argsort(labels, kind="stable")
    for of_class in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1):
        found, sizes = np.unique(groups[of_class], return_counts=True)
        sizes_of = dict(zip(found.tolist(), sizes.tolist(), strict=True))
        count = sum(size for group, size in sizes_of.items() if group in held)
        left = len(of_class) - count
        target = share * len(of_class)
        possible = [group for group in rng.permutation(found).tolist() if group not in decided]
        for group in possible:
            more = sizes_of[group]
            if left > more and abs(count + more - target) < abs(count - target):
                held.add(group)
                count, left = count + more, left - more
        possible = [group for group in possible if sizes_of[group] < left]
        if count == 0 and possible:
            # All groups are larger than twice the share: the smallest comes nearest.
            held.add(min(possible, key=sizes_of.__getitem__))
        decided.update(sizes_of)
    return np.isin(groups, list(held))


def refuse_missing_classes(parts: dict[str, NDArray[np.intp]], classes: Sequence[str]) -> None:
    """Raise unless every part has images of every class.

    Parameters
    ----------
    parts
        Name of a part, such as "training", and the class numbers of its images.
    classes
        Names of the classes.

    Raises
    ------
    InputError
        With the classes that a part lacks.
    """
    problems = []
    for part, labels in parts.items():
        present = np.zeros(len(classes), bool)
        present[labels] = True
        if missing := [name for name, there in zip(classes, present, strict=True) if not there]:
            problems.append(f"The {part} part has no images of {names(missing)}.")
    if problems:
        raise InputError(
            "\n".join(problems),
            "Each class needs images of one group or more in each part. Give the class more groups (without "
            "--group-by each image is one; files with the same bytes are one group).",
        )
