"""Comparison of run folders: what must be the same however and however often a run was made."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from stimgen.runs.store import VARYING


def comparable(folder: Path, without: Collection[str] = ()) -> dict[str, bytes | str]:
    """Return the content of the files of a run by their path, without the keys that `VARYING` names.

    `without` names files and folders in the run folder that are left out, beside report.html.
    """
    found: dict[str, bytes | str] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if not path.is_file() or name.parts[0] in {"report.html", *without}:
            continue
        content: bytes | str = path.read_bytes()
        for pattern, keys in VARYING.items():
            if name.match(pattern):
                data = json.loads(content)
                for key in keys:
                    del data[key]
                # The order of the keys counts, as in the bytes.
                content = json.dumps(data)
        found[name.as_posix()] = content
    return found


def differences(folder: Path, expected: Path, without: Collection[str] = ()) -> list[str]:
    """Return the files in which two runs differ."""
    found, other = comparable(folder, without), comparable(expected, without)
    return sorted(name for name in found.keys() | other.keys() if found.get(name) != other.get(name))
