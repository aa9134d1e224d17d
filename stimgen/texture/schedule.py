"""The stages of a synthesis: image sizes from coarse to fine, and the layers that take part (no torch)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from stimgen.networks.architectures import Architecture
from stimgen.texture.presets import Gatys2015, Multiscale

FLOOR = 0.01
"""What a flat target adds to all eigenvalues, relative to the largest (`Statistic.flat_target`). With less,
the descent of photographs, whose statistics cannot all be reached, is spent on what hardly matters."""

SHALLOW_FLOOR = 0.001
"""The same while shallow layers are matched alone. Their statistics can be reached, and sooner with less."""


@dataclass(frozen=True, order=True)
class Stage:
    """A part of a synthesis with one image size and one set of layers.

    Stages sort in the order in which they are done. Problems with other layer sets have the same `size_px`
    and `rung` for what is done together in a batch.

    Attributes
    ----------
    size_px, halvings
        Side of the image, and how often the full size is halved to come to it.
    rung
        Place among the stages of this size: 0 for the shallowest layers.
    layers, evaluations
        Layers that are matched, shallowest first, and most evaluations of loss and gradient.
    enlarged
        Whether the image was enlarged from a coarser scale.
    plain
        Whether it minimises the plain loss in float32, as the last stage does.
    floor
        What the metric adds to the eigenvalues, relative to the largest; 0 in plain stages, which have none.
    """

    size_px: int
    halvings: int
    rung: int
    layers: tuple[str, ...]
    evaluations: int
    enlarged: bool
    plain: bool
    floor: float


def stages(
    preset: Multiscale | Gatys2015,
    architecture: Architecture,
    layers: Iterable[str],
    full_px: int,
    halvings: int | None = None,
) -> tuple[Stage, ...]:
    """Return the stages in which a preset synthesises a layer set.

    Examples
    --------
    >>> from stimgen.networks.architectures import NETWORKS
    >>> preset = Multiscale(evaluations=(150, 100, 100), shallow_evaluations=(15,), plain_evaluations=20)
    >>> for stage in stages(preset, NETWORKS["vgg16"](), ["conv1_1", "pool1", "pool2"], 256):
    ...     print(stage.size_px, stage.evaluations, *stage.layers)
    64 150 conv1_1
    128 100 conv1_1 pool1
    256 15 conv1_1 pool1
    256 100 conv1_1 pool1 pool2
    256 20 conv1_1 pool1 pool2
    """
    wanted = tuple(layers)
    if isinstance(preset, Gatys2015):
        ordered = tuple(layer for layer in architecture.layers if layer in wanted)
        return (Stage(full_px, 0, 0, ordered, preset.iterations, enlarged=False, plain=True, floor=0.0),)
    return tuple(_multiscale(preset, architecture, wanted, full_px, halvings))


def _multiscale(
    preset: Multiscale, architecture: Architecture, wanted: tuple[str, ...], full_px: int, most: int | None
) -> Iterator[Stage]:
    enlarged = False
    schedule = preset.schedule(full_px)
    for index, (size_px, evaluations) in enumerate(schedule):
        halved = len(schedule) - 1 - index
        if most is not None and halved > most:
            continue
        layers = layers_at(architecture, wanted, size_px, full_px)
        if wanted and not layers:
            continue
        done: tuple[str, ...] = ()
        if enlarged:
            for rung, shallow_evaluations in enumerate(preset.shallow_evaluations):
                stride = 2 ** (rung + 1)
                shallow = tuple(layer for layer in layers if architecture.stride(layer) <= stride)
                if shallow not in {(), done, layers}:
                    yield Stage(
                        size_px, halved, rung, shallow, shallow_evaluations, enlarged, False, SHALLOW_FLOOR
                    )
                    done = shallow
        rung = len(preset.shallow_evaluations)
        yield Stage(size_px, halved, rung, layers, evaluations, enlarged, False, FLOOR)
        if size_px == full_px:
            yield Stage(size_px, halved, rung + 1, layers, preset.plain_evaluations, enlarged, True, 0.0)
        enlarged = True


def layers_at(
    architecture: Architecture, layers: Iterable[str], size_px: int, full_px: int
) -> tuple[str, ...]:
    """Return the layers of a layer set that are matched when the image is shrunk to `size_px`.

    In an image shrunk by a factor s a layer sees structure s times as large. Matching all layers there
    would constrain more than the layer set does: conv1_1 at a quarter of the size knows about bricks.
    So a layer takes part only while its receptive field, counted in pixels of the full size, is not larger
    than the largest receptive field of the layer set, and while the shrunken image has a position for it. At
    full size all layers take part. The shallowest layer comes first; there may be none at coarse scales.

    Examples
    --------
    >>> from stimgen.networks.architectures import NETWORKS
    >>> vgg16 = NETWORKS["vgg16"]()
    >>> layers_at(vgg16, ["conv1_1", "pool1", "pool2"], 128, 256)
    ('conv1_1', 'pool1')
    >>> layers_at(vgg16, ["conv1_1"], 128, 256)
    ()
    """
    wanted = set(layers)
    largest = max((architecture.receptive_field(layer) for layer in wanted), default=0)
    return tuple(
        layer
        for layer in architecture.layers
        if layer in wanted
        and architecture.receptive_field(layer) * full_px <= largest * size_px
        and (size_px == full_px or architecture.smallest_px(layer) <= size_px)
    )


def layers_at_scale(architecture: Architecture, layers: Iterable[str], halvings: int) -> tuple[str, ...]:
    """Return the layers that are matched when an image is halved, if it is large enough for all of them."""
    large = 2**20
    return layers_at(architecture, layers, large, large << halvings)
