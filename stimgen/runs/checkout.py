"""Which commit a checkout is at."""

from __future__ import annotations

import subprocess
from pathlib import Path


def commit_of(folder: Path) -> str | None:
    """Return the commit of a git checkout, and whether its files are changed; None for another folder.

    If git cannot say, the cause is returned.
    """
    if not (folder / ".git").exists():
        return None
    command = [
        "git",
        "--no-optional-locks",
        "-C",
        str(folder),
        "describe",
        "--always",
        "--dirty=, with changes",
        "--abbrev=40",
    ]
    try:
        answer = subprocess.run(
            [*command, "--exclude=*"],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=10,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        return f"unknown: {error.stderr.strip()}"
    except (OSError, subprocess.SubprocessError) as error:
        return f"unknown: {error}"
    return answer.stdout.strip()
