"""Comparison of run folders: what must be the same however often a run was interrupted."""

from __future__ import annotations

import json
from pathlib import Path

from stimgen.runs.store import VARYING


def comparable(folder: Path) -> dict[str, bytes | str]:
    """Return the files of a run by their path, whole but for the keys that `VARYING` names."""
    found: dict[str, bytes | str] = {}
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.name == "report.html":  # it says when the run was made
            continue
        content: bytes | str = path.read_bytes()
        for pattern, keys in VARYING.items():
            if path.relative_to(folder).match(pattern):
                data = json.loads(content)
                for key in keys:
                    del data[key]
                # The order of the keys counts, as in the bytes.
                content = json.dumps(data)
        found[path.relative_to(folder).as_posix()] = content
    return found
