"""What a data set of a million images would take, by what this one took."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stimgen.decoding.extraction import Cost

IMAGES = 1_000_000
CLASSES = 1000


@dataclass(frozen=True)
class TrainingCost:
    """What training took with a layer.

    Attributes
    ----------
    preparation_seconds
        Means, standard deviations and components, per image.
    epoch_seconds
        One pass with one strength of regularisation, per image.
    """

    preparation_seconds: float
    epoch_seconds: float


@dataclass(frozen=True)
class LayerCost:
    """What a layer takes for `IMAGES` images.

    Attributes
    ----------
    layer
        The layer.
    bytes_per_image
        Features of an image on disk.
    disk_gb
        Features of all images, 10^9 bytes.
    preparation_hours
        Means, standard deviations and components.
    epoch_hours
        One pass of training with one strength of regularisation and as many classes as were measured.
    epoch_hours_1000_classes
        The same with `CLASSES` classes, if all of it grows with the number of classifiers.
    """

    layer: str
    bytes_per_image: int
    disk_gb: float
    preparation_hours: float
    epoch_hours: float
    epoch_hours_1000_classes: float


@dataclass(frozen=True)
class Extrapolation:
    """What `IMAGES` images would take on the same machine with the same settings.

    Attributes
    ----------
    images
        `IMAGES`.
    extraction_seconds_per_image
        Reading, network and writing; None if less than two batches were ever measured.
    extraction_hours
        The same for all images.
    disk_gb
        Features of all layers, 10^9 bytes.
    layers
        Per layer.
    """

    images: int
    extraction_seconds_per_image: float | None
    extraction_hours: float | None
    disk_gb: float
    layers: tuple[LayerCost, ...]

    def lines(self) -> list[str]:
        """Return it in sentences."""
        extraction = (
            "extraction was not measured (it takes more than one batch of new images)"
            if self.extraction_hours is None
            else f"{self.extraction_hours:.1f} h of extraction"
        )
        training = ", ".join(
            f"{layer.layer} {layer.epoch_hours:.2g} h ({layer.epoch_hours_1000_classes:.2g} h)"
            for layer in self.layers
        )
        return [
            f"A million images, as measured here: {extraction}, {self.disk_gb:.0f} GB of features.",
            f"An epoch of training with one strength of regularisation (with {CLASSES} classes): {training}.",
        ]


def extrapolate(
    cost: Cost, sizes: Mapping[str, int], training: Mapping[str, TrainingCost], classes: int
) -> Extrapolation:
    """Return what a million images would take.

    Parameters
    ----------
    cost
        What extraction took.
    sizes
        Per layer the number of features.
    training
        Per layer what training took.
    classes
        Number of classes; there is one classifier for each, and a single one for two classes.
    """
    per_image = cost.seconds / cost.images if cost.images else None
    classifiers = 1 if classes == 2 else classes
    costs = []
    for layer, size in sizes.items():
        preparation = IMAGES * training[layer].preparation_seconds / 3600
        epoch = IMAGES * training[layer].epoch_seconds / 3600
        costs.append(
            LayerCost(
                layer=layer,
                bytes_per_image=4 * size,
                disk_gb=4e-9 * IMAGES * size,
                preparation_hours=preparation,
                epoch_hours=epoch,
                epoch_hours_1000_classes=epoch * CLASSES / classifiers,
            )
        )
    return Extrapolation(
        images=IMAGES,
        extraction_seconds_per_image=per_image,
        extraction_hours=None if per_image is None else IMAGES * per_image / 3600,
        disk_gb=sum(layer.disk_gb for layer in costs),
        layers=tuple(costs),
    )
