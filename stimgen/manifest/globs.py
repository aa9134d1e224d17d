"""Files that a pattern matches, after looking at a bounded number of directory entries.

The standard library's glob cannot be stopped while it finds nothing: ``/**/*.tif`` walks the whole machine.
"""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MAX_FILES = 10_000
MAX_ENTRIES = 100_000


class TooManyError(Exception):
    """A pattern matches too many files, or looks at too many entries; the text says which."""


def matching_files(pattern: str, folder: Path) -> list[str]:
    """Return the files that a pattern matches, sorted: relative ones to `folder`, with forward slashes.

    ``*``, ``?`` and ``[…]`` match within a name, and no name that begins with a dot; ``**`` is any number of
    folders, and follows no symbolic links, which may lead in circles.

    Parameters
    ----------
    pattern
        The pattern.
    folder
        Where a relative one begins, absolute.

    Raises
    ------
    TooManyError
        If it matches more than `MAX_FILES` files, or there are more than `MAX_ENTRIES` files and folders to
        look at.
    ValueError
        If the pattern has a null character.
    """
    path = Path(pattern)
    parts = path.parts[1:] if path.is_absolute() else path.parts
    # "**/**" means the same as "**", and would be walked many times over.
    parts = tuple(part for i, part in enumerate(parts) if part != "**" or parts[i + 1 : i + 2] != ("**",))
    found: set[str] = set()
    walk = _Walk(folder, [0])
    for file in walk.matches(path.anchor, parts):
        found.add(Path(file).as_posix())
        if len(found) > MAX_FILES:
            raise TooManyError(f"matches more than {MAX_FILES} files")
    return sorted(found)


@dataclass(frozen=True)
class _Walk:
    folder: Path
    looked_at: list[int]
    """How many entries, in a list of one."""

    def matches(self, base: str, parts: tuple[str, ...]) -> Iterator[str]:
        if not parts:
            if os.path.isfile(self.folder / base):  # noqa: PTH113 (this one is never an error)
                yield base
            return
        part, rest = parts[0], parts[1:]
        if part == "**":
            # The last "**" matches files, too.
            yield from self.matches(base, rest or ("*",))
            for entry in self._entries(base):
                if not entry.name.startswith(".") and _is_folder(entry, follow=False):
                    yield from self.matches(os.path.join(base, entry.name), parts)  # noqa: PTH118
        elif glob.has_magic(part):
            pattern = re.compile(fnmatch.translate(part))
            for entry in self._entries(base):
                hidden = entry.name.startswith(".") and not part.startswith(".")
                if not hidden and pattern.match(entry.name) and (not rest or _is_folder(entry)):
                    yield from self.matches(os.path.join(base, entry.name), rest)  # noqa: PTH118
        else:
            yield from self.matches(os.path.join(base, part), rest)  # noqa: PTH118

    def _entries(self, base: str) -> list[os.DirEntry[str]]:
        entries = []
        try:
            with os.scandir(self.folder / base) as listing:
                for entry in listing:
                    self.looked_at[0] += 1
                    if self.looked_at[0] > MAX_ENTRIES:
                        raise TooManyError(f"looks at more than {MAX_ENTRIES} files and folders")
                    entries.append(entry)
        except OSError:  # no folder, or one that may not be read: it has no matches, as in a shell
            pass
        return entries


def _is_folder(entry: os.DirEntry[str], *, follow: bool = True) -> bool:
    try:
        return entry.is_dir(follow_symlinks=follow)
    except OSError:  # a link in a circle, or gone
        return False
