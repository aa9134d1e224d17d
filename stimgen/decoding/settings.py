"""What is decoded from what, and how (no torch)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stimgen.errors import InputError, nearest
from stimgen.manifest.schema import NetworkSpec

COLORS = ("grey", "rgb")


@dataclass(frozen=True)
class ImageSettings:
    """Size and colour that images are brought to: largest central square, colour, then size.

    Attributes
    ----------
    size_px
        Side in pixels.
    color
        "grey" or "rgb".
    """

    size_px: int
    color: str


@dataclass(frozen=True)
class TrainingSettings:
    """How a classifier is trained.

    Attributes
    ----------
    components
        Principal components that features are reduced to; None for all features.
    epochs
        Passes over the training images.
    seed
        Of the split, the order of images and the classifier.
    """

    components: int | None = None
    epochs: int = 20
    seed: int = 1


@dataclass(frozen=True)
class DecodeSettings:
    """All that the user chose.

    Attributes
    ----------
    folder
        Folder with one subfolder of images per class.
    test
        Folder with the same classes for the test; None to split `folder`.
    test_share, validation_share
        Share of each class that is held out for the test, and share of the rest that chooses the
        regularisation; above 0, below 1.
    group_by
        Regular expression that finds in a file's name, without its suffix, the name of its group; None if
        each image is a group of its own.
    network
        The network.
    layers
        Its layers.
    image, training
        Further settings.
    batch_size
        Images in one forward pass.
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


def refuse_bad_settings(settings: DecodeSettings) -> None:
    """Raise, before anything is read, with all that is wrong with the settings themselves.

    Raises
    ------
    InputError
        If a word or a number is none of those that are allowed, or a layer is named twice.
    """
    problems = []
    if settings.image.color not in COLORS:
        problems.append(f'Unknown colour "{settings.image.color}". {nearest(settings.image.color, COLORS)}')
    for option, share in (
        ("--test-share", settings.test_share),
        ("--validation-share", settings.validation_share),
    ):
        if not 0 < share < 1:
            problems.append(f"{option} {share:g}: expected a share above 0 and below 1, such as 0.25.")
    if problems:
        raise InputError("\n".join(problems))
