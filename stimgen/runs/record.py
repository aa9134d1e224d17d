"""The record of one stimulus: everything needed to say what was shown, and to rebuild the tables."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from stimgen.manifest.schema import LARGEST_PX, LARGEST_SEED, MatchingSpec


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    json.dumps(values, allow_nan=False)  # ValueError
    return values


Settings = Annotated[dict[str, Any], AfterValidator(_finite)]
STIMULUS_ID = "[A-Za-z][A-Za-z0-9_-]{0,254}"
SUBFOLDER = "[0-9a-f]{2}"
Stage = Literal["optimised", "matched", "file"]


def png_name(stimulus_id: str, *, spread: bool) -> str:
    """Return the file that is shown, relative to the run folder.

    Parameters
    ----------
    stimulus_id
        Which stimulus.
    spread
        Whether the files of the run are spread over subfolders, as those of large sets are: the subfolder is
        the first two hexadecimal digits of the SHA-256 of the id.

    Examples
    --------
    >>> png_name("brick-pool4-s1", spread=False), png_name("brick-pool4-s1", spread=True)
    ('stimuli/brick-pool4-s1.png', 'stimuli/f2/brick-pool4-s1.png')
    """
    return f"stimuli/{_subfolder(stimulus_id, spread=spread)}{stimulus_id}.png"


def record_name(stimulus_id: str, *, spread: bool) -> str:
    """Return the file of the record, relative to the run folder; see `png_name`."""
    return f"records/{_subfolder(stimulus_id, spread=spread)}{stimulus_id}.json"


def _subfolder(stimulus_id: str, *, spread: bool) -> str:
    # Files of somebody else may have names that are no UTF-8.
    name = stimulus_id.encode("utf-8", "surrogatepass")
    return f"{hashlib.sha256(name).hexdigest()[:2]}/" if spread else ""


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

    size_px: int = Field(ge=1, le=LARGEST_PX)
    size_deg: float | None = Field(gt=0)
    ppd: float | None = Field(gt=0)
    color: Literal["grey", "rgb"]


class NetworkRecord(_Part):
    """A network, with its weights.

    `input` names what its weights expect (`stimgen.networks.catalogue.InputConvention`). `normalise` is what
    the manifest asks for. With `weights_normalised` the filters were normalised already in the imported file,
    and are used as they are whatever the manifest asks for.
    """

    name: str
    weights: str
    weights_origin: str
    file_sha256: str
    tensors_sha256: str
    input: str
    pooling: str
    normalise: bool
    weights_normalised: bool = False

    @property
    def normalised(self) -> bool:
        """Whether the filters have a mean activation of 1, by stimgen or in the weights."""
        return self.normalise or self.weights_normalised


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

    @model_validator(mode="after")
    def _has_one_of_each(self) -> Self:
        if len(self.losses) != len(self.accepted):
            raise ValueError("losses and accepted have not the same length")
        return self


class SynthesisRecord(_Part):
    """How a texture was synthesised; `settings` are the preset's fields.

    `components` is None where all channels were matched. `residual_gram` is what
    `stimgen.texture.synthesis.matched_distance` returns for the image before matching.
    """

    preset: str
    version: int
    settings: Settings
    layer_weights: dict[str, float]
    components: int | None
    parameters: int
    residual_gram: float
    loss: float
    iterations: int
    evaluations: int
    stop_reason: str
    restarts: int
    traces: tuple[StageRecord, ...]


class ControlRecord(_Part):
    """Which control, with its options.

    `residuals` and `weights_sha256` are those of `stimgen.controls.ImageWithResiduals`; most controls have
    none.
    """

    name: str
    options: Settings
    residuals: dict[str, float] = {}
    weights_sha256: str | None = None


class MatchingRecord(_Part):
    """What was matched, and how far the image as matched and clipped is from it.

    The residuals are those of `stimgen.matching.apply.Residuals`.
    """

    settings: MatchingSpec
    mean: float | None
    contrast: float | None
    histogram: float | None
    spectrum: float | None


class DistanceRecord(_Part):
    """Distances of one layer at one stage; see `stimgen.measure.gram_distance` and `ScaleRecord`."""

    stage: Stage
    layer: str
    constrained: bool
    gram_loss: float
    gram_relative: float
    gram_normalised: float | None


class ScaleRecord(_Part):
    """Floor and ceiling of the distances of one layer; see `stimgen.measure.gram_distance.GramScale`."""

    layer: str
    floor: float | None = Field(ge=0)
    ceiling: float = Field(ge=0)


class LuminanceRecord(_Part):
    """See `stimgen.measure.luminance.LuminanceStatistics`, for the last two `stimgen.measure.histogram`."""

    mean: float
    sd: float
    rms_contrast: float | None
    skewness: float | None
    kurtosis: float | None
    minimum: float
    maximum: float
    entropy: float
    histogram_w1: float | None


class SlopeRecord(_Part):
    """See `stimgen.measure.slope.Slope`."""

    alpha: float | None
    r_squared: float | None
    low_cpi: float
    high_cpi: float


class SpectrumRecord(_Part):
    """See `stimgen.measure.spectral_distance` and `stimgen.measure.spectral_share`.

    `power` and `power_source` are the rotational averages of the stimulus and of its source at 1, 2, … cycles
    per image (`stimgen.measure.spectrum.PowerSpectrum.radial`), to six significant digits.
    """

    amplitude_error: float | None
    radial_error_db: float | None
    orientation_0: float | None
    orientation_45: float | None
    orientation_90: float | None
    orientation_135: float | None
    high_frequency_share: float | None
    power: tuple[float, ...]
    power_source: tuple[float, ...]


class CopyingRecord(_Part):
    """How much parts of `crop_px` × `crop_px` are like the source's; see `stimgen.measure.copying`."""

    crop_px: Literal[32, 64, 128]
    similarity: float | None
    baseline: float | None


PortillaSimoncelliRecord = dict[str, float | None]
"""What `stimgen.measure.portilla_simoncelli.portilla_simoncelli_distances` returns."""


class MadeRecord(_Part):
    """When, how long and with what; the only part that differs between two runs of one manifest."""

    finished: str
    seconds: float
    device: str
    threads: int | None = None  # of the CPU's arithmetic, whose last bits depend on it; None on a GPU
    versions: dict[str, str]


class Record(_Part):
    """One stimulus. Everything but `made` and the seal is the same whenever it is made on one machine.

    `network` is the one that made the texture, or for a control the one of `measured_in`, in which Gram
    distances are measured. `portilla_simoncelli` is None where the manifest does not ask for it.
    `record_sha256` is the seal (`stimgen.runs.seal`), None before it is sealed.
    """

    format: Literal[1] = 1
    stimulus_id: str = Field(pattern=f"^{STIMULUS_ID}$")
    filename: str = Field(pattern=rf"^stimuli/(?:{SUBFOLDER}/)?{STIMULUS_ID}\.png$")
    png_sha256: str
    recipe_sha256: str
    condition: str
    kind: Literal["texture", "control"]
    seed: int | None = Field(ge=0, le=LARGEST_SEED)
    source: SourceRecord
    image: ImageRecord
    network: NetworkRecord
    measured_in: NetworkRecord
    synthesis: SynthesisRecord | None
    control: ControlRecord | None
    matching: MatchingRecord
    clipped_share: float
    luminance: LuminanceRecord
    slope: SlopeRecord
    spectrum: SpectrumRecord
    copying: tuple[CopyingRecord, ...]
    distances: tuple[DistanceRecord, ...]
    scales: tuple[ScaleRecord, ...]
    portilla_simoncelli: PortillaSimoncelliRecord | None
    made: MadeRecord
    record_sha256: str | None = None

    @property
    def own_name(self) -> str:
        """The file of this record, relative to the run folder."""
        return record_name(self.stimulus_id, spread=self.filename.count("/") > 1)

    @model_validator(mode="after")
    def _names_its_own_file(self) -> Self:
        if self.filename not in (png_name(self.stimulus_id, spread=spread) for spread in (False, True)):
            raise ValueError(f"the filename is not that of {self.stimulus_id}")
        return self

    @model_validator(mode="after")
    def _holds_what_goes_together(self) -> Self:
        if len(self.spectrum.power) != len(self.spectrum.power_source):
            raise ValueError("power and power_source have not the same length")
        if lacking := {one.layer for one in self.distances} - {one.layer for one in self.scales}:
            raise ValueError(f"floor and ceiling are missing for {', '.join(sorted(lacking))}")
        return self
