"""The stages of a synthesis: image sizes from coarse to fine, and the layers that take part (no torch)."""

from __future__ import annotations

from collections.abc import Iterable
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
    """A part of a synthesis with one image size and one set of layers; stages sort in their order.

    Problems of a batch share the stages of one `size_px` and `rung`, even if their layer sets differ.
    """

    size_px: int
    halvings: int  # from the full size
    rung: int  # place among the stages of this size: 0 for the shallowest layers
    layers: tuple[str, ...]  # shallowest first
    evaluations: int  # at most
    enlarged: bool  # whether the image comes from a coarser scale
    plain: bool  # whether it minimises the plain loss in float32, as the last stage does
    floor: float  # what the metric adds to the eigenvalues, relative to the largest; 0 in plain stages


def stages(
    preset: Multiscale | Gatys2015,
    architecture: Architecture,
    layers: Iterable[str],
    full_px: int,
    halvings: int | None = None,
) -> tuple[Stage, ...]:
    """Return the stages in which a preset synthesises a layer set; `halvings` limits how small images get."""
    wanted = tuple(layers)
    if isinstance(preset, Gatys2015):
        ordered = layers_at(architecture, wanted, full_px, full_px)
        return (Stage(full_px, 0, 0, ordered, preset.iterations, enlarged=False, plain=True, floor=0.0),)
    found: list[Stage] = []
    schedule = preset.schedule(full_px)
    for index, (size_px, evaluations) in enumerate(schedule):
        halved = len(schedule) - 1 - index
        used = layers_at(architecture, wanted, size_px, full_px)
        if (halvings is not None and halved > halvings) or (wanted and not used):
            continue
        enlarged = bool(found)
        done: tuple[str, ...] = ()
        for rung, most in enumerate(preset.shallow_evaluations if enlarged else ()):
            shallow = tuple(layer for layer in used if architecture.stride(layer) <= 2 ** (rung + 1))
            if shallow not in {(), done, used}:
                found.append(Stage(size_px, halved, rung, shallow, most, enlarged, False, SHALLOW_FLOOR))
                done = shallow
        rung = len(preset.shallow_evaluations)
        found.append(Stage(size_px, halved, rung, used, evaluations, enlarged, False, FLOOR))
        if size_px == full_px:
            most = preset.plain_evaluations
            found.append(Stage(size_px, halved, rung + 1, used, most, enlarged, True, 0.0))
    return tuple(found)


def layers_at(
    architecture: Architecture, layers: Iterable[str], size_px: int, full_px: int
) -> tuple[str, ...]:
    """Return the layers of a layer set that are matched when the image is shrunk to `size_px`.

    A layer takes part while its receptive field, counted in pixels of the full size, is not larger than the
    largest receptive field of the layer set: more would constrain larger structure than the layer set does.
    At full size all layers take part, in smaller images those that have a position there; there may be none.
    The shallowest comes first.
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


def gram_parameters(channels: int) -> int:
    """Return the number of different numbers in a Gram matrix of N channels, N (N + 1) / 2."""
    return channels * (channels + 1) // 2


def layers_at_scale(architecture: Architecture, layers: Iterable[str], halvings: int) -> tuple[str, ...]:
    """Return the layers that are matched when an image is halved, if it is large enough for all of them."""
    large = 2**20
    return layers_at(architecture, layers, large, large << halvings)
