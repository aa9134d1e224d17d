"""The sources of a manifest: one per file, with globs expanded, ids from file names, and boxes checked."""

from __future__ import annotations

import contextlib
import fnmatch
import glob
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from stimgen.errors import InputError
from stimgen.images.pixels import ImageError
from stimgen.images.read import SKIMAGE_PREFIX, image_size, is_plain_name, skimage_path
from stimgen.images.sources import ImageSpec, SourceSpec, crop_box
from stimgen.manifest.document import DataPath, Document, shorten
from stimgen.manifest.schema import ID_PATTERN, SourceSection, why_reserved

# Number of files that a glob may match, and of directory entries that it may look at.
MAX_FILES = 10_000
MAX_ENTRIES = 100_000


def expand_sources(
    sections: Sequence[SourceSection | None],
    folder: Path,
    document: Document,
    image: ImageSpec | None,
    *,
    files_needed: bool,
    open_images: bool,
) -> tuple[SourceSpec, ...]:
    """Return one source per image, in the manifest's order; files of one glob are sorted by path.

    Missing files, globs that match nothing, ids that are given twice and boxes smaller than the stimuli
    become problems of the document. `folder` is the manifest's, absolute. With `files_needed`, the files must
    exist, and with `open_images` they must be images from which the stimuli can be cut.
    """
    size_px = image.size_px if image else None
    expanded: list[SourceSpec] = []
    for index, section in enumerate(sections):
        if section is None:
            continue
        place: DataPath = ("sources", index)
        if not isinstance(section.crop, str) and section.crop[2] < (size_px or 0):
            document.complain(
                (*place, "crop"),
                f"the box has {section.crop[2]} px, less than the stimuli's {size_px} px; "
                "enlarge it or reduce size_px, because sources are never enlarged.",
            )
        open_here = open_images
        try:
            found = find_sources(section, folder, needed=files_needed)
        except InputError as error:
            message = f"{error.problem[:1].lower()}{error.problem[1:]} {error.cure}".strip()
            document.complain((*place, "image"), message)
            # Trial lists are still checked as if the source were there.
            found = [
                SourceSpec(section.id or make_id(Path(section.image).stem), section.image, None, "centre")
            ]
            open_here = False
        mask = None if section.mask is None else _mask(section.mask, folder, needed=files_needed)
        if section.mask is not None and mask is None:
            message = f'there is no mask "{shorten(section.mask)}" in {folder}; name a file, or write alpha.'
            document.complain((*place, "mask"), message)
        for source in (replace(source, mask=mask) for source in found):
            where = (*place, "id") if section.id else place
            document.claim("source id", source.id, f'"{source.image}"', where)
            expanded.append(source)
            try:
                if open_here and image is not None:
                    size = image_size(source.image if source.path is None else source.path)
                    crop_box(source, image, size, name="", origin=f'"{source.image}"')
                    if isinstance(mask, Path) and (mask_size := image_size(mask)) != size:
                        sizes = " and ".join(f"{width} × {height} px" for height, width in (mask_size, size))
                        message = f"the mask and {source.image} have {sizes}; give the mask the image's size."
                        document.complain((*place, "mask"), message)
            except ImageError as error:
                document.complain((*place, "image"), f"{error.problem} {error.cure}")
    return tuple(expanded)


def find_file(text: str, folder: Path, *, needed: bool = True) -> Path | None:
    """Return the absolute path of a file named relative to `folder`; None if it is `needed` and missing."""
    try:
        path = folder / Path(text).expanduser()
        return path.resolve() if path.is_file() or not needed else None
    except (OSError, ValueError, RuntimeError):  # too long, a null character, or an unknown ~user
        return None


def _mask(mask: str, folder: Path, *, needed: bool) -> Path | Literal["alpha"] | None:
    return "alpha" if mask == "alpha" else find_file(mask, folder, needed=needed)


def make_id(stem: str) -> str:
    """Return a file's name as a valid id: "oak bark-2" as "oak_bark_2", "007" as "source_007"."""
    word = _word(stem)
    if not re.match("[A-Za-z]", word) or why_reserved(word):
        word = f"source_{word}".rstrip("_")
    return word[:64]


def _word(stem: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", stem).strip("_")


def find_sources(section: SourceSection, folder: Path, *, needed: bool = True) -> list[SourceSpec]:
    """Return the sources that an entry names; InputError says why there are none."""
    image, crop, coding = section.image, section.crop, (section.white, section.linearise)
    if image.startswith(SKIMAGE_PREFIX):
        name = image.removeprefix(SKIMAGE_PREFIX)
        if needed:
            skimage_path(name)
        return [SourceSpec(section.id or make_id(name), image, None, crop, *coding)]
    path = find_file(image, folder, needed=needed)
    names = [image] if path else matching_files(image, folder) if glob.has_magic(image) else []
    if not names:
        raise InputError(_missing(image, folder))
    sources = []
    for name in names:
        if not is_plain_name(name):
            raise InputError(f"The name of the file {name!a} is no plain text; rename the file.")
        stem = (path or Path(name)).stem
        source_id = section.id or make_id(stem)
        if section.id and len(names) > 1:
            source_id = f"{section.id}_{_word(stem)}"
        if not re.match(ID_PATTERN, source_id):
            raise InputError(f'The id "{source_id}" has more than 64 characters; shorten the prefix.')
        sources.append(SourceSpec(source_id, name, path or (folder / name).resolve(), crop, *coding))
    return sources


def _missing(name: str, folder: Path) -> str:
    if re.search(r"[\t\n]", name):
        return f"{name!r} has a tab or a line break, written as an escape; use / in paths, or single quotes."
    name = shorten(name)
    if glob.has_magic(name):
        return f'No file matches "{name}" in {folder}; correct the pattern, or put files there.'
    with contextlib.suppress(OSError, ValueError):  # too long, or a null character
        if (folder / name).is_dir():
            return f'"{name}" is a folder; for all its PNG files write "{name.rstrip("/")}/*.png".'
    return f'There is no file "{name}" in {folder}; correct the path.'


def _lower_ending(name: str) -> str:
    stem, dot, ending = name.rpartition(".")
    return f"{stem}{dot}{ending.lower()}" if dot else name


def matching_files(pattern: str, folder: Path) -> list[str]:
    """Return the files that a pattern matches, sorted: relative ones to `folder`, with forward slashes.

    ``*``, ``?`` and ``[…]`` match within a name, and no name that begins with a dot; ``**`` is any number of
    folders, and follows no symbolic links. Upper and lower case are the same in endings, as cameras write
    .JPG. (The standard library's glob cannot be stopped while it finds nothing: ``/**/*.tif`` walks the whole
    machine.)
    """
    seen = 0

    def matching(base: str, wanted: str) -> Iterator[os.DirEntry[str]]:
        nonlocal seen
        # What is no folder, or may not be read, has no matches, as in a shell.
        with contextlib.suppress(OSError), os.scandir(folder / base) as listing:
            for entry in listing:
                seen += 1
                if seen > MAX_ENTRIES:
                    raise too_wide(f"looks at more than {MAX_ENTRIES} files and folders")
                matches = fnmatch.fnmatchcase(_lower_ending(entry.name), _lower_ending(wanted))
                if matches and (entry.name[0] != "." or wanted[0] == "."):
                    yield entry

    def too_wide(reason: str) -> InputError:
        return InputError(f'"{shorten(pattern)}" {reason}; narrow the pattern.')

    try:
        path = Path(pattern).expanduser()
        parts = [*path.parts[bool(path.anchor) :], *(["*"] if path.name == "**" else [])]
        found = {path.anchor}
        for part in parts:
            if part == "**":
                below = list(found)
                for base in below:  # grows while it is read
                    folders = (entry for entry in matching(base, "*") if entry.is_dir(follow_symlinks=False))
                    below += [os.path.join(base, entry.name) for entry in folders]  # noqa: PTH118
                found = set(below)
            elif glob.has_magic(part):
                found = {
                    os.path.join(base, entry.name)  # noqa: PTH118
                    for base in found
                    for entry in matching(base, part)
                }
            else:
                found = {os.path.join(base, part) for base in found}  # noqa: PTH118
        files = [Path(name).as_posix() for name in found if os.path.isfile(folder / name)]  # noqa: PTH113
    except (ValueError, RuntimeError):  # a null character, or an unknown ~user
        return []
    if len(files) > MAX_FILES:
        raise too_wide(f"matches more than {MAX_FILES} files")
    return sorted(files)
