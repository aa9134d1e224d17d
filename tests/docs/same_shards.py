"""Comparison of a run that shards made with a whole one."""

from __future__ import annotations

import json
from pathlib import Path

from stimgen.runs.store import VARYING


def without_time(folder: Path) -> dict[str, bytes | str]:
    """Return the files of a run, without notes of shards, the report, and when it was made."""
    found: dict[str, bytes | str] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if not path.is_file() or name.parts[0] == "shards" or name.name == "report.html":
            continue
        content: bytes | str = path.read_bytes()
        for pattern, keys in VARYING.items():
            if name.match(pattern):
                data = json.loads(content)
                content = json.dumps({key: value for key, value in data.items() if key not in keys})
        found[name.as_posix()] = content
    return found
