"""Packages that only decoding needs."""

from __future__ import annotations

from importlib.util import find_spec

from stimgen.errors import StimgenError

PACKAGES = {"sklearn": "scikit-learn", "matplotlib": "matplotlib"}
"""Import names and names on the package index."""


def refuse_missing_packages() -> None:
    """Raise if a package of the extra `decode` is not installed.

    Raises
    ------
    StimgenError
        With the command that installs it.
    """
    missing = [package for module, package in PACKAGES.items() if find_spec(module) is None]
    if missing:
        raise StimgenError(
            f"stimgen decode needs {' and '.join(missing)}.",
            "Install the extra: pip install 'stimgen[decode]' (in a copy of the repository: "
            "pip install '.[decode]').",
        )
