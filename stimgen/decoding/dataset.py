"""A folder of images with one subfolder per class."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stimgen.errors import InputError
from stimgen.images.read import is_plain_name

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
SHOWN = 5
"""How many names a message lists."""


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """An image file with its class.

    Attributes
    ----------
    path
        The file.
    label
        Name of its class: the name of its folder.
    group
        Images of one group are never divided between training, validation and test.
    """

    path: Path
    label: str
    group: str


@dataclass(frozen=True)
class UnusableImage:
    """An image that is left out.

    Attributes
    ----------
    file
        Its path.
    error, cure
        Why, and what to do.
    """

    file: str
    error: str
    cure: str


def find_images(folder: Path, group_by: str | None = None) -> list[LabelledImage]:
    """Return the images ``FOLDER/CLASS/FILE`` of a folder, sorted by class and file name.

    Read are files that end in .png, .jpg, .jpeg, .tif or .tiff, in small or capital letters; names that begin
    with a dot are left out, and so are folders within a class.

    Parameters
    ----------
    folder
        The folder.
    group_by
        Regular expression that is searched for in each file's name without its suffix. The text that its
        first pair of parentheses finds, or all that it finds if it has none, is the name of the image's
        group. Groups of one name in different classes are one group. Without it each image is a group of its
        own.

    Raises
    ------
    InputError
        If there is no such folder, it has fewer than two classes, a class has no images, images lie beside
        the classes' folders, a name has control characters, or the expression is none or is not found in a
        name.

    Notes
    -----
    What is returned takes some hundred bytes per image, and is all that grows with their number.
    """
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}.", "Name a folder with one subfolder per class.")
    pattern = _compiled(group_by)
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    if strays := [entry for entry in entries if _is_image(entry)]:
        raise InputError(
            f"{folder} has images that are in no class: {names(strays)}.",
            "Put each image into the folder of its class: FOLDER/CLASS/FILE.",
        )
    classes = [entry for entry in entries if entry.is_dir()]
    if len(classes) < 2:
        raise InputError(
            f"{folder} has {len(classes)} classes, and decoding needs 2 or more.",
            "Make one subfolder per class, named after it, with its images inside.",
        )
    files = {path: sorted(filter(_is_image, path.iterdir())) for path in classes}
    if empty := [path for path, within in files.items() if not within]:
        raise InputError(
            f"There are no images in {names(empty)}.",
            f"Put images there ({' '.join(SUFFIXES)}), or remove the folder.",
        )
    found = [path for within in files.values() for path in within]
    if strange := next((path for path in found if not is_plain_name(f"{path.parent.name}{path.name}")), None):
        raise InputError(f"The name of {str(strange)!a} is no plain text.", "Rename the file or its folder.")
    return [LabelledImage(path, path.parent.name, _group(path, pattern)) for path in found]


def refuse_other_classes(training: Sequence[LabelledImage], test: Sequence[LabelledImage]) -> None:
    """Raise unless training and test have the same classes.

    Raises
    ------
    InputError
        With the classes that are on one side only.
    """
    trained, tested = ({image.label for image in images} for images in (training, test))
    if trained != tested:
        raise InputError(
            f"The classes of the test are not those of the training; on one side only: "
            f"{names(sorted(trained ^ tested))}.",
            "Give both folders the same subfolders.",
        )


def refuse_shared_groups(training: Sequence[LabelledImage], test: Sequence[LabelledImage]) -> None:
    """Raise if images of one group are in the training folder and in the test folder.

    Raises
    ------
    InputError
        With the groups.
    """
    shared = {image.group for image in training} & {image.group for image in test}
    if shared:
        raise InputError(
            f"{len(shared)} groups are in the training and in the test folder: {names(sorted(shared))}.",
            "Move all images of a group to one side, or correct --group-by.",
        )


def names(items: Sequence[Path] | Sequence[str]) -> str:
    """Return the first of some names, and how many more there are."""
    more = len(items) - SHOWN
    return ", ".join(map(str, items[:SHOWN])) + (f" and {more} more" if more > 0 else "")


def _compiled(group_by: str | None) -> re.Pattern[str] | None:
    if group_by is None:
        return None
    try:
        return re.compile(group_by)
    except re.error as error:
        raise InputError(
            f'--group-by "{group_by}" is not a regular expression: {error}.',
            'For example --group-by "^(.+)-[0-9]+$" for names such as photo-0001.png.',
        ) from error


def _group(path: Path, pattern: re.Pattern[str] | None) -> str:
    if pattern is None:
        return str(path)
    found = pattern.search(path.stem)
    group = found and found[1 if pattern.groups else 0]
    if not group:
        raise InputError(
            f'--group-by "{pattern.pattern}" finds no group in the name of {path}.',
            "Change the expression so that it is found in every name, or rename the file.",
        )
    return group


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
