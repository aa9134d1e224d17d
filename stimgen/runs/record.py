"""The record of one stimulus: everything needed to say what was shown, and to write the tables.

A record is sealed: it holds the SHA-256 of its own content, by which a later change is found. The seal shows
an accident or an edit; somebody who computes it anew after a change is not found by it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cached_property, lru_cache
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from stimgen.bounded import UnreadableError
from stimgen.manifest.schema import LARGEST_PX, LARGEST_SEED, MatchingSpec
from stimgen.measure import STATISTICS

Settings = Annotated[dict[str, Any], AfterValidator(lambda v: json.loads(json.dumps(v, allow_nan=False)))]
"""Options as JSON holds them; numbers are finite."""
STIMULUS_ID = "[A-Za-z][A-Za-z0-9_-]{0,254}"
OUTCOME = ("loss", "iterations", "evaluations", "stop_reason", "restarts", "confined_to")
"""What a record takes over from a synthesis."""
SEAL = "record_sha256"
"""Key of the seal in a record."""


def png_name(stimulus_id: str, *, spread: bool) -> str:
    """Return the PNG file of a stimulus, relative to the run folder.

    Where the files of a large set are spread over subfolders, the subfolder is the first two hexadecimal
    digits of the SHA-256 of the id.

    Examples
    --------
    >>> png_name("brick-pool4-s1", spread=False), png_name("brick-pool4-s1", spread=True)
    ('stimuli/brick-pool4-s1.png', 'stimuli/f2/brick-pool4-s1.png')
    """
    return f"stimuli/{_subfolder(stimulus_id, spread=spread)}{stimulus_id}.png"


def record_name(stimulus_id: str, *, spread: bool) -> str:
    """Return the file of the record, relative to the run folder; see `png_name`."""
    return f"records/{_subfolder(stimulus_id, spread=spread)}{stimulus_id}.json"


def optimised_name(stimulus_id: str, *, spread: bool) -> str:
    """Return the file of the optimised image, relative to the run folder; see `png_name`."""
    return f"optimised/{_subfolder(stimulus_id, spread=spread)}{stimulus_id}.safetensors"


def _subfolder(stimulus_id: str, *, spread: bool) -> str:
    # Files of somebody else may have names that are no UTF-8.
    name = stimulus_id.encode("utf-8", "surrogatepass")
    return f"{hashlib.sha256(name).hexdigest()[:2]}/" if spread else ""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Recipe(_Part):
    """The SHA-256 of all that a stimulus depends on, in the order in which it is made.

    `optimised` is of what the image depends on before it is matched, `matching` of what it is matched to,
    `distances` of the network and layers on which Gram distances are measured, and `statistics` of what else
    is measured. Where a part changes, what comes before it is kept.
    """

    optimised: str
    matching: str
    distances: str
    statistics: str


class SourceRecord(_Part):
    """The source image and what was cut from it; fields as in `stimgen.images.sources.Source`."""

    id: str
    origin: str
    sha256: str
    crop_box: tuple[int, int, int, int]
    original_size: tuple[int, int]
    clipped_share: float
    white: int | None
    linearise: Literal["none", "srgb"]
    mask: str | None


class ImageRecord(_Part):
    """Size, colour and bits of the stimulus; None where visual angle is unknown."""

    size_px: int = Field(ge=1, le=LARGEST_PX)
    size_deg: float | None = Field(gt=0)
    ppd: float | None = Field(gt=0)
    color: Literal["grey", "rgb"]
    bits: Literal[8, 16]


class NetworkRecord(_Part):
    """A network with its weights.

    `input` names their `stimgen.networks.architectures.InputConvention`, and `normalise` is the manifest's
    option. Filters that were normalised in the imported file (`weights_normalised`) are used as they are.
    """

    name: str
    weights: str
    weights_origin: str
    file_sha256: str
    tensors_sha256: str
    input: str
    pooling: str
    padding: str
    normalise: bool
    weights_normalised: bool = False

    @property
    def normalised(self) -> bool:
        """Whether the filters have a mean activation of 1, by stimgen or in the weights."""
        return self.normalise or self.weights_normalised


class StageRecord(_Part):
    """Lowest loss so far after each evaluation in one stage, and whether it ended an iteration."""

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
            raise ValueError("losses and accepted differ in length")
        return self


class SynthesisRecord(_Part):
    """How a texture was synthesised; `components` is None where all channels were matched.

    `residual_gram` is `stimgen.texture.synthesis.matched_distance` of the file, or of the image of a control.
    `confined_to` is what the image was matched to all through the synthesis, an entry of `MatchingSpec`.
    """

    preset: str
    version: int
    settings: Settings
    layer_weights: dict[str, float]
    components: int | None
    parameters: int
    residual_gram: float
    confined_to: str | None
    loss: float
    iterations: int
    evaluations: int
    stop_reason: str
    restarts: int
    traces: tuple[StageRecord, ...]


class ControlRecord(_Part):
    """Which control, and what `stimgen.controls.ImageWithResiduals` says of its image."""

    name: str
    options: Settings
    residuals: dict[str, float] = {}
    weights_sha256: str | None = None


class MatchingRecord(_Part):
    """What was matched, and the `stimgen.matching.apply.Residuals` of the image as matched and clipped."""

    settings: MatchingSpec
    mean: float | None
    contrast: float | None
    histogram: float | None
    spectrum: float | None


class MadeRecord(_Part):
    """When, how long and with what; the only part that differs between two runs of one manifest.

    It is about the optimised image; matching and measuring again leave it. `threads` are those of the CPU's
    arithmetic, whose last bits depend on it; None on a GPU.
    """

    finished: str
    seconds: float
    device: str
    threads: int | None = None
    versions: dict[str, str]


STAGES: tuple[Literal["optimised", "matched", "file"], ...] = ("optimised", "matched", "file")
SCALE = ("floor", "floor_sd", "ceiling", "ceiling_sd")


class Distance(NamedTuple):
    """Gram distances of one layer at one stage: a row of gram_distances.csv."""

    stage: Literal["optimised", "matched", "file"]
    layer: str
    constrained: bool
    gram_loss: float
    gram_relative: float
    gram_normalised: float | None
    gram_floor: float | None
    gram_floor_sd: float | None
    gram_ceiling: float | None
    gram_ceiling_sd: float | None


class Record(_Part):
    """One stimulus. Everything but `made` and the seal is the same whenever it is made on one machine."""

    format: Literal[3] = 3
    stimulus_id: str = Field(pattern=f"^{STIMULUS_ID}$")
    filename: str = Field(pattern=rf"^stimuli/(?:[0-9a-f]{{2}}/)?{STIMULUS_ID}\.png$")
    png_sha256: str
    optimised_sha256: str
    recipe_sha256: Recipe
    condition: str
    kind: Literal["texture", "control"]
    seed: int | None = Field(ge=0, le=LARGEST_SEED)
    source: SourceRecord
    image: ImageRecord
    network: NetworkRecord
    measured_in: NetworkRecord
    measured_layers: tuple[str, ...]
    measured_with: dict[str, int]
    synthesis: SynthesisRecord | None
    control: ControlRecord | None
    matching: MatchingRecord
    clipped_share: float
    statistics: dict[str, float | bool | None]
    stages: dict[Literal["optimised", "matched"], dict[str, float | None]]
    power: tuple[float, ...]
    power_source: tuple[float, ...]
    made: MadeRecord
    record_sha256: str | None = None

    @property
    def own_name(self) -> str:
        """The file of this record, relative to the run folder."""
        return record_name(self.stimulus_id, spread=self.filename.count("/") > 1)

    @property
    def matched_layers(self) -> tuple[str, ...]:
        """The measured layers that the texture was made to match."""
        if self.kind == "control" or self.synthesis is None or self.network != self.measured_in:
            return ()
        return tuple(layer for layer in self.measured_layers if layer in self.synthesis.layer_weights)

    @cached_property
    def distances(self) -> tuple[Distance, ...]:
        """Gram distances on all measured layers: of the file, at all stages of what is synthesised."""
        constrained, found = self.matched_layers, []
        on_file: Mapping[str, Any] = self.statistics
        stages: Mapping[Any, Any] = self.stages
        for stage in STAGES if self.kind == "texture" else (*stages, STAGES[-1]):
            values = on_file if stage == "file" else stages[stage]
            for layer in self.measured_layers:
                of_stage = [values[f"gram_{name}_{layer}"] for name in ("loss", "relative", "normalised")]
                # Records that are to be measured again may lack some.
                scale = [on_file.get(f"gram_{name}_{layer}") for name in SCALE]
                found.append(Distance(stage, layer, layer in constrained, *of_stage, *scale))
        return tuple(found)

    @model_validator(mode="after")
    def _names_its_own_file(self) -> Self:
        if self.filename not in (png_name(self.stimulus_id, spread=spread) for spread in (False, True)):
            raise ValueError(f"the filename is not that of {self.stimulus_id}")
        return self

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if len(self.power) != len(self.power_source) and not self.source.mask:
            raise ValueError("power and power_source differ in length")
        try:
            found = self.distances
        except KeyError as error:
            raise ValueError(f"{error.args[0]} is missing") from None
        if any(None in (one.gram_loss, one.gram_relative) for one in found):
            raise ValueError("a Gram distance is missing")
        if not self.source.mask and any(one.gram_ceiling is None for one in found):
            raise ValueError("a Gram distance is missing")
        return self


class RecordError(UnreadableError):
    """A record cannot be used; `altered` is its content where only the seal is wrong."""

    def __init__(self, problem: str, altered: Record | None = None) -> None:
        super().__init__(problem)
        self.altered = altered


def content_sha256(content: Mapping[str, Any]) -> str:
    """Return the seal of a record's content: the SHA-256 of its JSON without spaces, keys in order.

    Examples
    --------
    >>> content_sha256({"b": 1.5, "a": None}) == content_sha256({"a": None, "b": 1.5, SEAL: "any"})
    True
    """
    rest = {key: value for key, value in content.items() if key != SEAL}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def sealed(record: Record) -> Record:
    """Return a record with its seal, whatever seal it had."""
    return record.model_copy(update={SEAL: content_sha256(json.loads(record.model_dump_json()))})


_intact: set[bytes] = set()
"""Digests of files whose seal was checked by this process: most are read twice."""
MOST_REMEMBERED = 100_000


def parse_record(content: bytes) -> Record:
    """Return the record that a file holds."""
    digest = hashlib.sha256(content).digest()
    if digest in _intact:
        return Record.model_validate_json(content)
    try:
        data = json.loads(content)
        record = Record.model_validate(data)
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, detail["loc"]))
        raise RecordError(f"is damaged ({place}{': ' if place else ''}{detail['msg']})") from None
    except (ValueError, RecursionError) as error:
        raise RecordError(f"is damaged ({error})") from None
    if record.record_sha256 is None:
        raise RecordError(f"has no {SEAL}: it was altered", record)
    if content_sha256(data) != record.record_sha256:
        raise RecordError(f"was altered after it was written: its {SEAL} is not that of its content", record)
    if len(_intact) < MOST_REMEMBERED:
        _intact.add(digest)
    return record


def values_problem(record: Record) -> str | None:
    """Return which measured values are missing or unknown; None also if other statistics were measured."""
    measured = {name: STATISTICS[name].version for name in record.measured_with if name in STATISTICS}
    if measured != record.measured_with:
        return None  # and the file is measured again
    if unknown := unknown_columns(record):
        return f"holds values that stimgen does not measure: {', '.join(unknown[:5])}"
    columns, _ = _columns(tuple(measured), record.measured_layers)
    if lacking := sorted(columns - record.statistics.keys()):
        return f"lacks measured values: {', '.join(lacking[:5])}"
    return None


def unknown_columns(record: Record) -> list[str]:
    """Return the columns of a record that no registered statistic measures."""
    known = columns_among(record.statistics, STATISTICS, record.measured_layers)
    return [name for name in record.statistics if name not in known]


def columns_among(names: Iterable[str], statistics: Iterable[str], layers: tuple[str, ...]) -> set[str]:
    """Return those of some names that are columns of registered statistics, measured on these layers."""
    known, families = _columns(tuple(statistics), layers)
    return {name for name in names if name in known or name.startswith(families)}


@lru_cache(maxsize=64)
def _columns(measured: tuple[str, ...], layers: tuple[str, ...]) -> tuple[frozenset[str], tuple[str, ...]]:
    """Return the columns of some statistics, and what the names of columns of families begin with."""
    names = [column.name for name in measured for column in STATISTICS[name].columns]
    plain = {name for name in names if "{" not in name}
    of_layers = {name.format(layer=layer) for name in names if "{layer}" in name for layer in layers}
    families = tuple(name.partition("{")[0] for name in names if "{family}" in name)
    return frozenset(plain | of_layers), families
