"""Synthesis presets: what a manifest's `synthesis` may say, and the stages that follow from it (no torch)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from stimgen.networks.architectures import Architecture
from stimgen.references import BYRD_1995, LIU_1989, Reference

Count = Annotated[int, Field(ge=1, le=100_000)]


class Multiscale(BaseModel):
    """Coarse-to-fine synthesis: each scale starts from the upsampled result of the one below it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    version: ClassVar[int] = 6
    title: ClassVar[str] = "a coarse-to-fine procedure with L-BFGS ({citations}), at {sides} px"
    references: ClassVar[tuple[Reference, ...]] = (LIU_1989,)

    preset: Literal["multiscale"] = Field("multiscale", description="Name of the preset.")
    smallest_px: int = Field(
        32,
        ge=16,
        le=4096,
        description="Synthesis starts at the smallest halving of the image with this side, px. What starts "
        "at full size keeps the low contrast of the start noise at its border.",
    )
    evaluations: tuple[Count, ...] = Field(
        (60, 80),
        min_length=1,
        description="Most evaluations of loss and gradient at each scale with all its layers, full size "
        "last; the first number is repeated for coarser scales.",
    )
    shallow_evaluations: tuple[Count, ...] = Field(
        (10, 10, 10),
        description="In an enlarged image, most evaluations before these with only the layers whose stride "
        "is at most 2 px, then 4 px, and so on; [] for none.",
    )
    stop_distance: float = Field(
        0.001,
        ge=0,
        le=1,
        description="A stage ends when sqrt(loss / loss of zero Gram matrices) is not above this; 0 for "
        "never.",
    )
    patience: int = Field(
        30,
        ge=1,
        le=100_000,
        description="A stage ends when its loss fell by less than 1 % over so many evaluations.",
    )
    history: int = Field(20, ge=1, le=200, description="Pairs of steps and gradients that L-BFGS remembers.")
    noise_sd: float = Field(
        0.05,
        gt=0,
        le=1,
        description="Standard deviation of the start noise around the source's mean; black is 0, white is 1.",
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="Precision of the convolutions while the image is optimised; auto is bfloat16 where a "
        "trial finds it faster, else float32. Targets, Gram matrices, losses, the end of the "
        "synthesis and all measurements are float32.",
    )
    flatness: float = Field(
        0.5,
        ge=0,
        le=0.5,
        description="Exponent a of the metric (T + e I)^(-a/2) in which differences of Gram matrices count "
        "until the last stage: 0.5 makes the loss flattest, 0 leaves the differences as they are, and layers "
        "weighted by their number of channels.",
    )
    plain_evaluations: int = Field(
        6,
        ge=1,
        le=100_000,
        description="Evaluations of the last stage: full size, all layers, float32, plain loss.",
    )
    confined_evaluations: int = Field(
        45,
        ge=1,
        le=100_000,
        description="The same where the histogram, luminance or spectrum is matched in the synthesis.",
    )
    boost: float = Field(
        1.0,
        ge=0,
        le=2,
        description="Exponent by which L-BFGS prefers high spatial frequencies in images that were enlarged; "
        "0 for none.",
    )
    decorrelation: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Exponent of the covariance of the source's channels in the start matrix of L-BFGS, by "
        "which it prefers the colours that the source has; 0 for none.",
    )

    def scales(self, size_px: int) -> tuple[int, ...]:
        """Return the image sides of the schedule, px, from the coarsest to `size_px`: its halvings.

        Examples
        --------
        >>> Multiscale().scales(256)
        (32, 64, 128, 256)
        >>> Multiscale(smallest_px=100).scales(90)
        (90,)
        """
        sides = [size_px]
        while sides[-1] // 2 >= self.smallest_px:
            sides.append(sides[-1] // 2)
        return tuple(reversed(sides))

    def schedule(self, size_px: int) -> tuple[tuple[int, int], ...]:
        """Return (side in px, evaluations) of each scale, from the coarsest to `size_px`.

        Examples
        --------
        >>> Multiscale(evaluations=(50, 100)).schedule(256)
        ((32, 50), (64, 50), (128, 50), (256, 100))
        """
        sides = self.scales(size_px)
        coarser = self.evaluations[:1] * (len(sides) - len(self.evaluations))
        return tuple(zip(sides, (coarser + self.evaluations)[-len(sides) :], strict=True))


class Gatys2015(BaseModel):
    """The published procedure: scipy's L-BFGS-B at full size, from noise (Gatys, Ecker & Bethge 2015)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    version: ClassVar[int] = 1
    title: ClassVar[str] = "the published procedure, L-BFGS-B ({citations}) at full size from noise"
    references: ClassVar[tuple[Reference, ...]] = (BYRD_1995,)

    preset: Literal["gatys2015"] = Field("gatys2015", description="Name of the preset.")
    iterations: Count = Field(2000, description="Most L-BFGS-B iterations (scipy's maxiter).")
    history: int = Field(
        20, ge=1, le=200, description="Corrections that L-BFGS-B remembers (scipy's maxcor)."
    )


PRESETS: dict[str, type[Multiscale | Gatys2015]] = {"multiscale": Multiscale, "gatys2015": Gatys2015}
"""Presets by name. `title` is what a Methods text says of one, with its `references` as citations."""

FLOOR = 0.01
"""What a flat target adds to all eigenvalues, relative to the largest (`Statistic.flat_target`)."""

SHALLOW_FLOOR = 0.001
"""The same while shallow layers are matched alone. Their statistics can be reached, and sooner with less."""

FIRST_EVALUATIONS, FIRST_FLOOR = 12, 0.1
"""Evaluations with all layers at full size before the floor is adapted to the texture, and their floor. With
less than twice as many, it is not adapted."""

HIGHEST_FLOOR, FLOOR_PER_DISTANCE = 0.3, 0.5
"""An adapted floor is the layer's relative distance times this, from `FLOOR` to `HIGHEST_FLOOR`. A small one
would spend the descent of photographs, whose statistics cannot all be reached, on what hardly matters."""


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
    floor: float | None  # of the metric, relative to the largest eigenvalue; 0 if plain, None if adapted
    continues: bool = False  # whether L-BFGS keeps what it has seen in the stage before


def stages(
    preset: Multiscale | Gatys2015,
    architecture: Architecture,
    layers: Iterable[str],
    full_px: int,
    halvings: int | None = None,
    confined: bool = False,
) -> tuple[Stage, ...]:
    """Return the stages in which a preset synthesises a layer set.

    `halvings` limits how small images get; `confined` is whether histogram, luminance or spectrum are matched
    in the synthesis.
    """
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
        if size_px < full_px:
            found.append(Stage(size_px, halved, rung, used, evaluations, enlarged, False, FLOOR))
            continue
        first = evaluations if evaluations < 2 * FIRST_EVALUATIONS else FIRST_EVALUATIONS
        found.append(Stage(size_px, halved, rung, used, first, enlarged, False, FIRST_FLOOR))
        if rest := evaluations - first:
            found.append(Stage(size_px, halved, rung + 1, used, rest, enlarged, False, None, continues=True))
        most = preset.confined_evaluations if confined else preset.plain_evaluations
        found.append(Stage(size_px, halved, rung + 2, used, most, enlarged, True, 0.0, continues=True))
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
