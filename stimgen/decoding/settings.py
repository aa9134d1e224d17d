"""Options of `stimgen decode`, and the checks that need no image. Free of torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from stimgen.errors import InputError, StimgenError, nearest
from stimgen.manifest.schema import NetworkSpec

COLORS = ("grey", "rgb")
PACKAGES = {"sklearn": "scikit-learn", "matplotlib": "matplotlib"}
"""Packages that only decoding needs: names to import and names to install."""
MOST_BYTES = 2**31
"""Largest file that is read whole: the list of thirty million images, the log of ten million."""

Advance = Callable[[int], None]
"""Called with the number of items that were finished since the last call."""


@dataclass(frozen=True)
class ImageSettings:
    """Side in pixels and colour ("grey" or "rgb") of the images that the network sees."""

    size_px: int
    color: str


@dataclass(frozen=True)
class TrainingSettings:
    """Principal components (None for all features), passes over the training images, and seed."""

    components: int | None = None
    epochs: int = 20
    seed: int = 1


@dataclass(frozen=True)
class DecodeSettings:
    """All options that the results depend on.

    `folder` has one subfolder of images per class, and `test` likewise; without it, `test_share` of each
    class is held out for the test. `validation_share` is a share of the rest.
    """

    folder: Path
    network: NetworkSpec
    layers: tuple[str, ...]
    image: ImageSettings
    training: TrainingSettings
    test: Path | None = None
    test_share: float = 0.25
    validation_share: float = 0.25
    group_by: str | None = None
    batch_size: int = 32

    def check(self, out: Path, features: Path) -> None:
        """Raise InputError if an option or a folder is unusable, StimgenError if a package is missing."""
        missing = [package for module, package in PACKAGES.items() if find_spec(module) is None]
        if missing:
            raise StimgenError(
                f"stimgen decode needs {' and '.join(missing)}.",
                "Install the extra: pip install 'stimgen[decode]' (in a copy of the repository: "
                "pip install '.[decode]').",
            )
        problems = []
        if self.image.color not in COLORS:
            problems.append(f'Unknown colour "{self.image.color}". {nearest(self.image.color, COLORS)}')
        shares = {"--test-share": self.test_share, "--validation-share": self.validation_share}
        for option, share in shares.items():
            if not 0 < share < 1:
                problems.append(f"{option} {share:g}: expected a share above 0 and below 1, such as 0.25.")
        if problems:
            raise InputError("\n".join(problems))
        for option, folder in (("--out", out), ("--features", features)):
            for images in filter(None, (self.folder, self.test)):
                if folder.resolve().is_relative_to(images.resolve()):
                    raise InputError(
                        f"{folder} is in the folder of images {images}, where it would be taken for a class.",
                        f"Choose a folder beside it with {option}.",
                    )
        if features.resolve() == out.resolve():
            raise InputError(f"{out} is --out and --features.", "Give features a folder of their own.")
        if out.is_dir() and any(out.iterdir()) and not (out / "layers").is_dir():
            raise InputError(
                f"{out} is not empty and holds no results of stimgen decode.",
                "Choose an empty or new folder with --out.",
            )
