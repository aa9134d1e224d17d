"""One number for a whole set of stimuli, which anybody can compute without stimgen."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def fingerprint_command(*, spread: bool) -> str:
    """Return a command that computes `stimuli_sha256` in the run folder; with LC_ALL=C, as names are sorted."""
    names = "find stimuli -name '*.png' | sort | xargs sha256sum" if spread else "sha256sum stimuli/*.png"
    return f"{names} | sha256sum"


def stimuli_sha256(files: Iterable[tuple[str, str]]) -> str:
    """Return the SHA-256 of what sha256sum prints of all PNG files in the run folder (`fingerprint_command`).

    Examples
    --------
    >>> stimuli_sha256([("stimuli/b.png", "02" * 32), ("stimuli/a.png", "01" * 32)])[:16]
    '1a167714a0aeacc4'
    """
    total = hashlib.sha256()
    for name, sha256 in sorted(files):
        total.update(f"{sha256}  {name}\n".encode())
    return total.hexdigest()
