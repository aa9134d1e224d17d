"""Sources as asked for to one source per file: globs, ids from file names, files that must exist."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable
from pathlib import Path

from stimgen.errors import InputError
from stimgen.images.read import SKIMAGE_PREFIX, is_plain_name, skimage_path
from stimgen.manifest.document import Document, shorten
from stimgen.manifest.globs import TooManyError, matching_files
from stimgen.manifest.problems import DataPath
from stimgen.manifest.resolved import SourceSpec
from stimgen.manifest.schema import ID_PATTERN, SourceSection, is_reserved


def expand_sources(
    sections: Iterable[tuple[int, SourceSection]], folder: Path, document: Document
) -> tuple[SourceSpec, ...]:
    """Return one source per image, in the manifest's order; files of one glob are sorted by path.

    Missing files, globs that match nothing and ids that are given twice go to `document.problems`.

    Parameters
    ----------
    sections
        Each source with its place in the manifest's list.
    folder
        Folder of the manifest, absolute.
    document
        Where things stand in the text.
    """
    expanded: list[SourceSpec] = []
    taken: dict[str, str] = {}
    for index, section in sections:
        place: DataPath = ("sources", index)
        for source in _expand(section, place, folder, document):
            # Case is ignored because file systems of Windows and macOS ignore it in stimulus file names.
            if source.id.lower() in taken:
                where = (*place, "id") if section.id else place
                clash = f'the id "{source.id}" of "{source.image}" is taken by "{taken[source.id.lower()]}"'
                document.complain(where, f"{clash}; give one of them another id.")
            taken.setdefault(source.id.lower(), source.image)
            expanded.append(source)
    return tuple(expanded)


def find_file(text: str, folder: Path) -> Path | None:
    """Return the absolute path of the file that `text` names relative to `folder`; None if there is none."""
    try:
        path = folder / Path(text).expanduser()
        return path.resolve() if path.is_file() else None
    except (OSError, ValueError, RuntimeError):  # too long, a null character, or an unknown ~user
        return None


def make_id(stem: str) -> str:
    """Return a file's name as a valid id.

    Examples
    --------
    >>> make_id("oak bark-2"), make_id("007"), make_id("nan")
    ('oak_bark_2', 'source_007', 'source_nan')
    """
    word = re.sub(r"[^A-Za-z0-9]+", "_", stem).strip("_")
    if not re.match("[A-Za-z]", word) or is_reserved(word):
        word = f"source_{word}".rstrip("_")
    return word[:64]


def _expand(section: SourceSection, place: DataPath, folder: Path, document: Document) -> list[SourceSpec]:
    image, crop = section.image, section.crop
    where = (*place, "image")
    if image.startswith(SKIMAGE_PREFIX):
        name = image.removeprefix(SKIMAGE_PREFIX)
        try:
            if document.files_needed:
                skimage_path(name)
        except InputError as error:
            document.complain(where, f"{_lowered(error.problem)} {error.cure}".strip())
            return []
        return [SourceSpec(section.id or make_id(name), image, None, crop)]
    path = find_file(image, folder)
    if path is None and not document.files_needed:
        path = (folder / image).resolve()
    if path:
        return [SourceSpec(section.id or make_id(path.stem), image, path, crop)]
    if not glob.has_magic(image):
        document.complain(where, _missing(image, folder))
        return []
    try:
        matches = _matches(image, folder)
    except TooManyError as error:
        document.complain(where, f'"{shorten(image)}" {error}; narrow the pattern.')
        return []
    if not matches:
        message = f'no file matches "{shorten(image)}" in {folder}; correct the pattern, or put files there.'
        document.complain(where, message)
    strange = next((name for name, _ in matches if not is_plain_name(name)), None)
    if strange:
        message = f"the name of the file {strange!a} is no plain text; rename the file."
        document.complain(where, message)
        return []
    ids = [_glob_id(section.id, path.stem, len(matches)) for _, path in matches]
    long = next((word for word in ids if not re.match(ID_PATTERN, word)), None)
    if long:
        document.complain((*place, "id"), f'the id "{long}" has more than 64 characters; shorten the prefix.')
    return [SourceSpec(word, name, path, crop) for word, (name, path) in zip(ids, matches, strict=True)]


def _glob_id(prefix: str | None, stem: str, count: int) -> str:
    if prefix is None:
        return make_id(stem)
    return prefix if count == 1 else f"{prefix}_{re.sub('[^A-Za-z0-9]+', '_', stem).strip('_')}"


def _matches(pattern: str, folder: Path) -> list[tuple[str, Path]]:
    try:
        names = matching_files(str(Path(pattern).expanduser()), folder)
    except (ValueError, RuntimeError):  # a null character, or an unknown ~user
        return []
    return [(name, path) for name in names if (path := find_file(name, folder))]


def _missing(image: str, folder: Path) -> str:
    try:
        is_folder = (folder / image).is_dir()
    except (OSError, ValueError):
        is_folder = False
    if is_folder:
        name = shorten(image)
        return f'"{name}" is a folder; for all its PNG files write "{name.rstrip("/")}/*.png".'
    return (
        f'there is no file "{shorten(image)}" in {folder}; correct the path (it is relative to the manifest).'
    )


def _lowered(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]
