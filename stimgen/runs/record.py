"""The record of one stimulus: everything needed to say what was shown, and to rebuild the tables."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SourceRecord(_Part):
    """The source image and what was cut from it; fields as in `stimgen.images.sources.Source`."""

    id: str
    origin: str
    sha256: str
    crop_box: tuple[int, int, int, int]
    original_size: tuple[int, int]
    clipped_share: float


class ImageRecord(_Part):
    """Size and colour of the stimulus; None where visual angle is unknown."""

    size_px: int
    size_deg: float | None
    ppd: float | None
    color: Literal["grey", "rgb"]


class NetworkRecord(_Part):
    """The network that the stimulus was made with, or for a control measured with.

    `input` names what its weights expect (`stimgen.networks.catalogue.InputConvention`).
    """

    name: str
    weights: str
    weights_origin: str
    file_sha256: str
    tensors_sha256: str
    input: str
    pooling: str
    normalise: bool


class StageRecord(_Part):
    """Lowest loss so far after each evaluation in one stage, and whether it ended an iteration.

    The other fields are those of `stimgen.texture.problem.StageTrace`.
    """

    size_px: int
    layers: tuple[str, ...]
    precision: str
    metric: Literal["flat", "plain"]
    stop_reason: str
    losses: tuple[float, ...]
    accepted: tuple[bool, ...]


class SynthesisRecord(_Part):
    """How a texture was synthesised; `settings` are the preset's fields."""

    preset: str
    version: int
    settings: dict[str, Any]
    layer_weights: dict[str, float]
    loss: float
    iterations: int
    evaluations: int
    stop_reason: str
    restarts: int
    traces: tuple[StageRecord, ...]


class ControlRecord(_Part):
    """Which control, with its options.

    `residuals` are those of `stimgen.controls.ImageWithResiduals`; empty for most controls.
    """

    name: str
    options: dict[str, Any]
    residuals: dict[str, float] = {}


class DistanceRecord(_Part):
    """Distances of one layer at one stage; see `stimgen.measure.gram.GramDistance`."""

    stage: Literal["optimised", "matched", "file"]
    layer: str
    constrained: bool
    gram_loss: float
    gram_relative: float


class LuminanceRecord(_Part):
    """See `stimgen.measure.luminance.LuminanceStatistics`."""

    mean: float
    sd: float
    rms_contrast: float | None
    skewness: float | None
    kurtosis: float | None
    minimum: float
    maximum: float


class SlopeRecord(_Part):
    """See `stimgen.measure.spectrum.Slope`."""

    alpha: float | None
    r_squared: float | None
    low_cpi: float
    high_cpi: float


class MadeRecord(_Part):
    """When, how long and with what; the only part that differs between two runs of one manifest."""

    finished: str
    seconds: float
    device: str
    versions: dict[str, str]


class Record(_Part):
    """One stimulus. Everything but `made` is the same whenever the stimulus is made on one machine."""

    format: Literal[1] = 1
    stimulus_id: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")
    filename: str = Field(pattern=r"^stimuli/[A-Za-z][A-Za-z0-9_-]*\.png$")
    png_sha256: str
    recipe_sha256: str
    condition: str
    kind: Literal["texture", "control"]
    seed: int | None
    source: SourceRecord
    image: ImageRecord
    network: NetworkRecord
    synthesis: SynthesisRecord | None
    control: ControlRecord | None
    histogram: Literal["none", "source"]
    clipped_share: float
    luminance: LuminanceRecord
    slope: SlopeRecord
    distances: tuple[DistanceRecord, ...]
    made: MadeRecord
