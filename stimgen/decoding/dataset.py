"""Images in one subfolder per class, and their division into training, validation and test."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from stimgen.bounded import read_file
from stimgen.counting import first_few
from stimgen.decoding.settings import MOST_BYTES, Advance, DecodeSettings
from stimgen.errors import InputError, StimgenError
from stimgen.images.read import is_plain_name, read_image

PARTS = ("training", "validation", "test")
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
AT_ONCE = 64
"""Number of images that threads read at once."""


Unusable = dict[Path, InputError]
"""Images that are left out, and for each the reason and what to do."""


@dataclass(frozen=True, slots=True)
class Inspected:
    """Absolute path of an image file, with its size, time of change, SHA-256 and shorter side."""

    path: str
    size_bytes: int
    mtime_ns: int
    sha256: str
    side_px: int


_INSPECTED = TypeAdapter(Inspected)


def find_images(folder: Path, group_by: str | None = None) -> pd.DataFrame:
    """Return path, class and group of the images ``FOLDER/CLASS/FILE``, sorted by class and file name.

    Names that begin with a dot and folders within a class are ignored. `group_by` is a regular expression
    that is searched for in each file name without its suffix. The group is the text of its first pair of
    parentheses, or the whole match. By default each image is a group of its own.
    """
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}.", "Name a folder with one subfolder per class.")
    try:
        pattern = re.compile(group_by) if group_by is not None else None
    except re.error as error:
        raise InputError(
            f'--group-by "{group_by}" is not a regular expression: {error}.',
            'For example --group-by "^(.+)-[0-9]+$" for names such as photo-0001.png.',
        ) from error
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    if strays := [entry for entry in entries if _is_image(entry)]:
        raise InputError(
            f"{folder} has images that are in no class: {first_few([*map(str, strays)])}.",
            "Put each image into the folder of its class: FOLDER/CLASS/FILE.",
        )
    classes = [entry for entry in entries if entry.is_dir()]
    if len(classes) < 2:
        raise InputError(
            f"{folder} has {len(classes)} classes, and decoding needs 2 or more.",
            "Make one subfolder per class, named after it, with its images inside.",
        )
    files = {path: sorted(filter(_is_image, path.iterdir())) for path in classes}
    if empty := [path for path, images in files.items() if not images]:
        raise InputError(
            f"There are no images in {first_few([*map(str, empty)])}.",
            f"Put images there ({' '.join(SUFFIXES)}), or remove the folder.",
        )
    paths = [path for images in files.values() for path in images]
    for path in paths:
        if not is_plain_name(f"{path.parent.name}{path.name}"):
            raise InputError(f"The name of {str(path)!a} is no plain text.", "Rename the file or its folder.")
    rows = [(path, path.parent.name, _group(path, pattern)) for path in paths]
    return pd.DataFrame(rows, columns=["path", "class", "group"], dtype=object)


def refuse_mixed_folders(training: pd.DataFrame, test: pd.DataFrame) -> None:
    """Raise InputError unless two folders have the same classes and no group in common."""
    if different := set(training["class"]) ^ set(test["class"]):
        raise InputError(
            f"The classes of the test are not those of the training; on one side only: "
            f"{first_few(sorted(different))}.",
            "Give both folders the same subfolders.",
        )
    if shared := set(training["group"]) & set(test["group"]):
        raise InputError(
            f"{len(shared)} groups are in the training and in the test folder: {first_few(sorted(shared))}.",
            "Move all images of a group to one side, or correct --group-by.",
        )


def inspect_images(
    paths: Sequence[Path], size_px: int, log: Path, advance: Advance
) -> tuple[dict[Path, str], Unusable]:
    """Read every image; return the SHA-256 of each file that can be used, and the images that cannot.

    Images with a side below `size_px` cannot be used. What is found is added to `log`, one JSON object per
    line. A file whose path, size and time of change are in the log is not read again.
    """
    refuse_link(log)
    known = _read_log(log)

    def inspect(path: Path) -> Inspected | InputError:
        absolute = str(path.absolute()).encode(errors="backslashreplace").decode()
        before = known.get(absolute)
        try:
            state = path.stat()
            if before and (before.size_bytes, before.mtime_ns) == (state.st_size, state.st_mtime_ns):
                return before
            raw = read_image(path)
        except InputError as error:
            return error
        except OSError as error:
            return InputError(f"{path}: {error.strerror}.", "Mend or remove it.")
        side = min(raw.pixels.shape[:2])
        return Inspected(absolute, state.st_size, state.st_mtime_ns, raw.sha256, side)

    sha256: dict[Path, str] = {}
    unusable: Unusable = {}
    with log.open("a", encoding="utf-8") as lines, ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(paths), AT_ONCE):
            part = paths[start : start + AT_ONCE]
            for path, image in zip(part, pool.map(inspect, part), strict=True):
                advance(1)
                if isinstance(image, InputError):
                    unusable[path] = image
                    continue
                if known.get(image.path) is not image:
                    lines.write(json.dumps(asdict(image)) + "\n")
                    lines.flush()
                if image.side_px >= size_px:
                    sha256[path] = image.sha256
                    continue
                unusable[path] = InputError(
                    f"{path} has a side of {image.side_px} px, and images of {size_px} px are asked for.",
                    f"Use a larger image, or --size-px {image.side_px} or less: images are never enlarged.",
                )
    return sha256, unusable


def refuse_link(path: Path) -> None:
    """Raise StimgenError if a file that is appended to is a symbolic link, which leads out of its folder."""
    if path.is_symlink():
        raise StimgenError(
            f"{path} is a symbolic link, and is not written to.", "Remove it, or link its whole folder."
        )


def _read_log(log: Path) -> dict[str, Inspected]:
    try:
        content = read_file(log, MOST_BYTES)
    except FileNotFoundError:
        return {}
    whole, newline, cut_off = content.rpartition(b"\n")
    if cut_off:
        os.truncate(log, len(whole) + len(newline))
    try:
        images = [_INSPECTED.validate_json(line, strict=True) for line in whole.splitlines()]
    except ValidationError:
        raise StimgenError(f"{log} is damaged.", "Remove it: images are then read again.") from None
    return {image.path: image for image in images}


def _group(path: Path, pattern: re.Pattern[str] | None) -> str:
    if pattern is None:
        return str(path)
    match = pattern.search(path.stem)
    group = match and match[1 if pattern.groups else 0]
    if not group:
        raise InputError(
            f'--group-by "{pattern.pattern}" finds no group in the name of {path}.',
            "Change the expression so that it is found in every name, or rename the file.",
        )
    return group


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def divide(images: pd.DataFrame, settings: DecodeSettings) -> pd.DataFrame:
    """Divide images with the columns path, class, group, part and sha256.

    Images of the part "test" stay there; without ``settings.test`` some of the part "training" are held out
    for it. The class of the result is categorical, and its groups are numbers.
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
    is held out. A class is never held out entirely. (`StratifiedGroupKFold` of scikit-learn guarantees
    neither.) `labels` and `groups`, both (images,), are numbers; the result is True for held-out images.
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
                f"The {part} part has no images of {first_few(sorted(lacking))}."
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
