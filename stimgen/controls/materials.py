"""What a control may use beside its source's pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from stimgen.images.sources import Photograph
from stimgen.matching.reference import Reference
from stimgen.texture.presets import Gatys2015, Multiscale


@dataclass(frozen=True)
class TextureSpec:
    """The layer set that a control refers to, without the weights of its network, and its synthesis.

    Attributes
    ----------
    network, pooling
        Of the layer set's network.
    layer_weights
        Weight of every layer's loss.
    components
        Principal components per layer that are matched; None for all channels.
    preset
        The manifest's synthesis.
    """

    network: str
    pooling: Literal["average", "max"]
    layer_weights: Mapping[str, float]
    components: int | None
    preset: Multiscale | Gatys2015


@dataclass(frozen=True, eq=False)
class Materials:
    """What a control may use beside its source's pixels and a random generator.

    Attributes
    ----------
    device
        Where PyTorch computes: "cpu", "cuda:0", …
    photograph
        Reads the image that the source was cut from.
    the_set
        The mean of all sources of the manifest; None unless the control is registered with ``uses_set``.
    texture
        The layer set that the control's option `layer_set` names; None for controls without this option.
    after_evaluation
        Called after each evaluation of a synthesis with a `stimgen.texture.problem.Evaluation`.
    """

    device: str
    photograph: Callable[[], Photograph]
    the_set: Reference | None = None
    texture: TextureSpec | None = None
    after_evaluation: Callable[[Any], None] = lambda evaluation: None
