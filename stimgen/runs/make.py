"""From a batch to float images, and from a float image to a file with its record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Literal, Self

import numpy as np
import torch

from stimgen.controls import CONTROLS, Materials, TextureSpec
from stimgen.images.masks import place_inside
from stimgen.images.pixels import Image, plane_if_grey, with_channels_of
from stimgen.images.png import decode_own_png, decode_png, encode_png, quantise
from stimgen.images.sources import Source, load_photograph
from stimgen.manifest.plan import Stimulus, measuring_network
from stimgen.manifest.schema import NetworkSpec
from stimgen.matching.apply import clip_to_display, match, residuals
from stimgen.matching.surface import surface_of
from stimgen.measure import DecodedImage, Values, measure, statistics_in_order
from stimgen.measure.gram import normalised_by, scale_columns, stage_distances
from stimgen.runs.batches import measured_layers
from stimgen.runs.environment import device_name, versions
from stimgen.runs.preparation import Preparation, power_of, shown_inside
from stimgen.runs.recipe import measured_with, stimulus_generator
from stimgen.runs.record import (
    OUTCOME,
    ControlRecord,
    ImageRecord,
    MadeRecord,
    MatchingRecord,
    Recipe,
    Record,
    SourceRecord,
    StageRecord,
    SynthesisRecord,
    sealed,
)
from stimgen.runs.steps import decode_image, encode_image
from stimgen.runs.store import sha256
from stimgen.texture.problem import Checkpoints, EvaluationHook, Problem, Synthesis
from stimgen.texture.surfaces import Surface
from stimgen.texture.synthesis import matched_distance, synthesise


@dataclass(frozen=True, eq=False)
class Rendered:
    """A float image, (H, W) or (H, W, 3), as it comes from synthesis or a control; it may leave 0..1.

    A texture has a problem and its synthesis, a control its record, and a few controls a synthesis, too.
    `file` is the content of the file in which the image is kept.
    """

    image: Image
    file: bytes
    synthesis: Synthesis | SynthesisRecord | None
    problem: Problem | None
    control: ControlRecord | None

    @classmethod
    def new(
        cls, image: Image, synthesis: Synthesis | None, problem: Problem | None, control: ControlRecord | None
    ) -> Self:
        """Return an image that was just made, as it will be kept."""
        image = image.astype(np.float32, copy=False)
        return cls(image, encode_image(image), synthesis, problem, control)


def render(
    prepared: Preparation,
    stimuli: Sequence[Stimulus],
    network: NetworkSpec,
    after_evaluation: EvaluationHook,
    checkpoints: Checkpoints | None = None,
    recipes: Mapping[str, Recipe] | None = None,
) -> list[Rendered]:
    """Make the float images of one batch, in its order: textures of one network, or one control.

    Checkpoints are kept of textures, under the hashes of what they depend on, by stimulus id.
    """
    manifest, sources, extractor = prepared.manifest, prepared.sources, prepared.networks.extractor(network)
    if stimuli[0].control is not None:
        device = str(extractor.device)
        return [_control(prepared, stimulus, device, after_evaluation) for stimulus in stimuli]
    problems = _problems(prepared, stimuli, recipes)
    synthesised = synthesise(problems, extractor, manifest.synthesis, after_evaluation, checkpoints)
    return [
        Rendered.new(
            with_channels_of(synthesis.image, sources[stimulus.source].pixels), synthesis, problem, None
        )
        for stimulus, problem, synthesis in zip(stimuli, problems, synthesised, strict=True)
    ]


def rendered_before(prepared: Preparation, stimulus: Stimulus, record: Record, file: bytes) -> Rendered:
    """Return what a record says of an image that is kept in a file."""
    image = decode_image(file, prepared.manifest.image.size_px)
    problem = None if stimulus.layer_set is None else _problems(prepared, [stimulus])[0]
    image = with_channels_of(image, prepared.sources[stimulus.source].pixels)
    return Rendered(image, file, record.synthesis, problem, record.control)


def _problems(
    prepared: Preparation, stimuli: Sequence[Stimulus], recipes: Mapping[str, Recipe] | None = None
) -> list[Problem]:
    """Return the problems of textures, which share what is the same in them."""
    names = {stimulus.source for stimulus in stimuli}
    sources = prepared.sources
    goals = prepared.goals(names)
    surfaces = {name: _surface(prepared, sources[name]) for name in names}
    problems = []
    for stimulus in stimuli:
        assert stimulus.layer_set is not None, "a batch holds textures, or one control"
        problems.append(
            Problem(
                goals[stimulus.source],
                prepared.terms(stimulus.layer_set),
                stimulus_generator(stimulus, "make"),
                name=recipes[stimulus.stimulus_id].optimised if recipes else "",
                surface=surfaces[stimulus.source],
            )
        )
    return problems


def finish(
    prepared: Preparation,
    stimulus: Stimulus,
    network: NetworkSpec,
    rendered: Rendered,
    *,
    filename: str,
    recipe: Recipe,
    made: MadeRecord,
    png: bytes | None = None,
) -> tuple[bytes, Record]:
    """Match, quantise, and measure what a viewer will see; return the PNG file and its record.

    `network` is the one that made the image. If there is a PNG file `png` of the image already, that is
    measured.
    """
    manifest, networks, source = prepared.manifest, prepared.networks, prepared.sources[stimulus.source]
    of_source = prepared.measures(source.id)
    measuring = measuring_network(manifest, stimulus)
    extractor, grams = networks.extractor(measuring), networks.grams(measuring, source)
    goals = prepared.targets(source.id)
    inside = shown_inside(source, stimulus.control)
    image = rendered.image if inside is None else rendered.image[inside][:, np.newaxis]
    image, clipped_share = clip_to_display(match(image, goals, stimulus_generator(stimulus, "match")))
    shown = image if inside is None else place_inside(image[:, 0], inside)
    if png is None:
        pixels = quantise(shown, manifest.image.bits)
        png = encode_png(pixels)
        decoded = decode_own_png(png, pixels)
    else:
        decoded = decode_png(png)
    seen = DecodedImage(decoded, manifest.image.size_deg, str(extractor.device), inside)
    statistics = measure(seen, {**of_source.prepared, "gram": grams})
    stages: dict[Literal["optimised", "matched"], Values] = {}
    if rendered.synthesis is not None:  # nobody asks what another control was before it became a file
        stages["optimised"] = stage_distances(rendered.image, grams, inside)
        stages["matched"] = stages["optimised"]
        if not np.array_equal(np.float32(shown), rendered.image):
            of_file = {name: statistics[name] for name in stages["optimised"]}
            same = np.array_equal(np.float32(shown), np.float32(seen.pixels))
            stages["matched"] = of_file if same else stage_distances(shown, grams, inside)
    record = Record(
        stimulus_id=stimulus.stimulus_id,
        filename=filename,
        png_sha256=sha256(png),
        optimised_sha256=sha256(rendered.file),
        recipe_sha256=recipe,
        condition=stimulus.condition,
        kind=stimulus.kind,
        seed=stimulus.seed,
        source=SourceRecord.model_validate(source, from_attributes=True),
        image=ImageRecord.model_validate(manifest.image, from_attributes=True),
        network=networks.record(network),
        measured_in=networks.record(measuring),
        measured_layers=measured_layers(manifest, measuring),
        measured_with=measured_with(manifest),
        synthesis=_synthesis_record(prepared, stimulus, rendered, seen.pixels, statistics),
        control=rendered.control,
        matching=MatchingRecord(settings=manifest.matching, **asdict(residuals(image, goals))),
        clipped_share=clipped_share,
        statistics=statistics,
        stages=stages,
        power=power_of(seen),
        power_source=of_source.power,
        made=made,
    )
    return png, sealed(record)


def made_now(device: torch.device, seconds: float) -> MadeRecord:
    """Return what a record says of when and with what an image was made, in how many seconds."""
    return MadeRecord(
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(seconds, 3),
        device=device_name(device),
        threads=torch.get_num_threads() if device.type == "cpu" else None,
        versions=versions(),
    )


def _surface(prepared: Preparation, source: Source) -> Surface | None:
    """Return the images to which textures of a source are confined."""
    name = prepared.manifest.confined_to
    if name is None:
        return None
    return surface_of(name, getattr(prepared.targets(source.id), name), plane_if_grey(source.pixels))


def _control(
    prepared: Preparation, stimulus: Stimulus, device: str, after_evaluation: EvaluationHook
) -> Rendered:
    assert stimulus.control is not None
    manifest, source, spec = prepared.manifest, prepared.sources[stimulus.source], stimulus.control
    control = CONTROLS[spec.name]
    asked = next(entry for entry in manifest.sources if entry.id == source.id)
    texture = None
    if (matched := spec.layer_set) is not None:
        network, weights = matched.network, matched.layer_weights
        texture = TextureSpec(
            network.name,
            network.pooling,
            network.padding,
            weights,
            matched.components,
            preset=manifest.synthesis,
            surface=_surface(prepared, source),
        )
    materials = Materials(
        device=device,
        photograph=lambda: load_photograph(asked, manifest.image, source),
        the_set=prepared.the_set if control.uses_set else None,
        texture=texture,
        inside=source.inside,
        after_evaluation=after_evaluation,
    )
    made = control.make(source.pixels, stimulus_generator(stimulus, "make"), materials, spec.options)
    record = ControlRecord(
        name=control.name,
        options=dict(spec.options),
        residuals=dict(made.residuals),
        weights_sha256=made.weights_sha256,
    )
    return Rendered.new(made.image, made.synthesis, None, record)


def _synthesis_record(
    prepared: Preparation, stimulus: Stimulus, rendered: Rendered, seen: Image, statistics: Values
) -> SynthesisRecord | None:
    """Return what the record says of the synthesis; None if there was none.

    `seen` are the pixels of the file, and `statistics` what was measured on them.
    """
    manifest, synthesis, layer_set = prepared.manifest, rendered.synthesis, stimulus.synthesised
    if synthesis is None or layer_set is None:
        return None
    if rendered.problem is None:
        assert rendered.control is not None, "what is synthesised is a texture or a control"
        residual_gram = rendered.control.residuals["gram"]
    elif layer_set.components is None and layer_set.network == measuring_network(manifest, stimulus):
        # What is matched is what is measured.
        of_layers = (statistics[f"gram_relative_{layer}"] for layer in layer_set.layer_weights)
        residual_gram = max(distance for distance in of_layers if distance is not None)
    else:
        extractor = prepared.networks.extractor(layer_set.network)
        residual_gram = matched_distance(rendered.problem, extractor, seen.astype(np.float32))
    if isinstance(synthesis, SynthesisRecord):
        return synthesis.model_copy(update={"residual_gram": residual_gram})
    return SynthesisRecord(
        preset=manifest.synthesis.preset,
        version=manifest.synthesis.version,
        settings=manifest.synthesis.model_dump(mode="json"),
        layer_weights=dict(layer_set.layer_weights),
        components=layer_set.components,
        parameters=layer_set.parameters,
        residual_gram=residual_gram,
        **{name: getattr(synthesis, name) for name in OUTCOME},
        traces=tuple(
            StageRecord(
                **vars(trace) | {"losses": trace.losses.tolist(), "accepted": trace.accepted.tolist()}
            )
            for trace in synthesis.traces
        ),
    )


def measure_again(
    prepared: Preparation, stimulus: Stimulus, record: Record, recipe: Recipe, png: bytes
) -> Record:
    """Return the record of a finished stimulus with other statistics measured on its file.

    Losses and relative distances of Gram matrices, and what was measured before the file was written, stay as
    they were. The scale of Gram distances is measured again if it has changed.
    """
    of_source, side_deg = prepared.measures(record.source.id), prepared.manifest.image.size_deg
    inside = shown_inside(prepared.sources[record.source.id], record.control)
    image = DecodedImage(decode_png(png), side_deg, prepared.networks.device, inside)
    statistics: Values = {}
    changes: dict[str, object] = {}
    for statistic in statistics_in_order():
        if not statistic.needs_network:
            statistics |= statistic.measure(image, of_source.prepared.get(statistic.name))
        elif record.measured_with.get(statistic.name) == statistic.version:
            layers = record.measured_layers
            names = {c.name.format(layer=layer) for c in statistic.columns for layer in layers}
            statistics |= {name: value for name, value in record.statistics.items() if name in names}
        else:
            network = measuring_network(prepared.manifest, stimulus)
            grams = prepared.networks.grams(network, prepared.sources[stimulus.source])
            statistics |= normalised_by(grams, record.statistics) | scale_columns(grams)
            changes["stages"] = {name: normalised_by(grams, of) for name, of in record.stages.items()}
    changes |= {
        "recipe_sha256": recipe,
        "image": ImageRecord.model_validate(prepared.manifest.image, from_attributes=True),
        "measured_with": measured_with(prepared.manifest),
        "statistics": statistics,
        "power": power_of(image),
        "power_source": of_source.power,
    }
    return sealed(Record.model_validate(record.model_dump() | changes))
