"""From a batch to float images, and from a float image to a file with its record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from stimgen.controls import CONTROLS, Materials, TextureSpec
from stimgen.images.pixels import Image
from stimgen.images.png import decode_png, encode_png, quantise
from stimgen.images.sources import Source, load_photograph
from stimgen.manifest.plan import Stimulus, measuring_network
from stimgen.manifest.resolved import LayerSet, Manifest
from stimgen.matching.apply import Residuals, Targets, match, residuals
from stimgen.matching.range import clip_to_display
from stimgen.matching.reference import Reference
from stimgen.measure.gram import gram_distances
from stimgen.measure.portilla_simoncelli import portilla_simoncelli_distances
from stimgen.networks.extractor import FeatureExtractor
from stimgen.runs.recipe import stimulus_generator
from stimgen.runs.record import (
    ControlRecord,
    DistanceRecord,
    PortillaSimoncelliRecord,
    Stage,
    StageRecord,
    SynthesisRecord,
)
from stimgen.runs.source_grams import SourceGrams
from stimgen.runs.statistics import SourceStatistics, Statistics, measure
from stimgen.texture.problem import Checkpoints, EvaluationHook, Problem, SourceImage, Synthesis
from stimgen.texture.statistic import weighted_terms
from stimgen.texture.synthesis import matched_distance, synthesise


@dataclass(frozen=True, eq=False)
class Rendered:
    """A float image as it comes from synthesis or a control.

    Attributes
    ----------
    image
        (H, W) or (H, W, 3); may leave 0..1.
    synthesis
        How it was synthesised; None for most controls.
    problem
        What the synthesis was to reach; None for controls.
    control
        Which control; None for a texture.
    """

    image: Image
    synthesis: Synthesis | None
    problem: Problem | None
    control: ControlRecord | None


@dataclass(frozen=True, eq=False)
class Finished:
    """A stimulus ready to be written.

    Attributes
    ----------
    png
        The file's bytes.
    clipped_share
        Share of the pixels that left the display's range before quantisation.
    residuals
        How far the image, clipped but not quantised, is from what it was matched to.
    distances
        Gram distances at all stages.
    statistics
        Of the pixels read back from `png`.
    portilla_simoncelli
        Distances of these pixels; None if the manifest does not ask for them.
    """

    png: bytes
    clipped_share: float
    residuals: Residuals
    distances: tuple[DistanceRecord, ...]
    statistics: Statistics
    portilla_simoncelli: PortillaSimoncelliRecord | None


def render(
    manifest: Manifest,
    stimuli: Sequence[Stimulus],
    sources: Mapping[str, Source],
    the_set: Reference,
    extractor: FeatureExtractor,
    bases_of: Callable[[LayerSet], Mapping[str, Tensor]],
    after_evaluation: EvaluationHook,
    checkpoints: Checkpoints | None = None,
    hashes: Mapping[str, str] | None = None,
) -> list[Rendered]:
    """Make the float images of one batch, in its order.

    Parameters
    ----------
    manifest, stimuli
        What to make: textures of one network, or one control.
    sources, the_set
        By id; and all of them together, as `set_reference` returns them.
    extractor
        The network that makes textures; controls use its device alone.
    bases_of
        Returns the principal components that a layer set matches, by layer.
    after_evaluation
        Called after each evaluation of a synthesis.
    checkpoints
        Of textures; controls that synthesise are made in one go.
    hashes
        Of the recipes by stimulus id, for which checkpoints are kept.
    """
    if stimuli[0].control is not None:
        device = str(extractor.device)
        return [_control(manifest, one, sources, the_set, device, after_evaluation) for one in stimuli]
    goals = {name: SourceImage(sources[name].pixels) for name in {one.source for one in stimuli}}
    terms = {
        layer_set: weighted_terms(layer_set.layer_weights, bases_of(layer_set))
        for layer_set in {stimulus.layer_set for stimulus in stimuli}
        if layer_set is not None
    }
    problems = []
    for stimulus in stimuli:
        assert stimulus.layer_set is not None, "a batch holds textures, or one control"
        problems.append(
            Problem(
                goals[stimulus.source],
                terms[stimulus.layer_set],
                stimulus_generator(stimulus, "make"),
                name=hashes[stimulus.stimulus_id] if hashes else "",
            )
        )
    synthesised = synthesise(problems, extractor, manifest.synthesis, after_evaluation, checkpoints)
    return [
        Rendered(synthesis.image, synthesis, problem, None)
        for problem, synthesis in zip(problems, synthesised, strict=True)
    ]


def finish(
    manifest: Manifest,
    stimulus: Stimulus,
    source: Source,
    image: Image,
    extractor: FeatureExtractor,
    grams: SourceGrams,
    source_statistics: SourceStatistics,
    the_set: Reference,
) -> Finished:
    """Match, quantise, and measure what a viewer will see.

    Parameters
    ----------
    manifest, stimulus, source
        What the image is.
    image
        Float image as rendered.
    extractor, grams
        The network that measures, and the Gram matrices of `source` in it with their scale.
    source_statistics
        Of `source`.
    the_set
        All sources of the manifest, as `set_reference` returns them.
    """
    goals = _targets(manifest, source, the_set)
    shown, clipped_share = clip_to_display(match(image, goals, stimulus_generator(stimulus, "match")))
    png = encode_png(quantise(shown))
    seen = decode_png(png)
    own = stimulus.layer_set
    constrained = own.layers if own and own.network == measuring_network(manifest, stimulus) else ()
    stages: tuple[Stage, ...] = ("optimised", "matched", "file")
    measured = gram_distances(extractor, [image, shown, seen], grams.targets)
    return Finished(
        png=png,
        clipped_share=clipped_share,
        residuals=residuals(shown, goals),
        distances=tuple(
            DistanceRecord(
                stage=stage,
                layer=distance.layer,
                constrained=distance.layer in constrained,
                gram_loss=distance.gram_loss,
                gram_relative=distance.gram_relative,
                gram_normalised=grams.scales[distance.layer].normalised(distance.gram_relative),
            )
            for stage, distances in zip(stages, measured, strict=True)
            for distance in distances
        ),
        statistics=measure(seen, source_statistics),
        portilla_simoncelli=portilla_simoncelli_distances(seen, source.pixels, device=str(extractor.device))
        if manifest.measure.portilla_simoncelli
        else None,
    )


def set_reference(manifest: Manifest, sources: Mapping[str, Source]) -> Reference:
    """Return what stimuli are matched to where the manifest says "set"."""
    return Reference(tuple(source.pixels for source in sources.values()), manifest.matching.channels)


def _targets(manifest: Manifest, source: Source, the_set: Reference) -> Targets:
    spec = manifest.matching
    references = {"source": Reference((source.pixels,), spec.channels), "set": the_set}
    asked = {name: references[to] for name, to in spec.asked.items()}
    return Targets(**asked, channels=spec.channels, iterations=spec.iterations)


def _control(
    manifest: Manifest,
    stimulus: Stimulus,
    sources: Mapping[str, Source],
    the_set: Reference,
    device: str,
    after_evaluation: EvaluationHook,
) -> Rendered:
    assert stimulus.control is not None
    control, spec, source = CONTROLS[stimulus.control.name], stimulus.control, sources[stimulus.source]
    asked = next(one for one in manifest.sources if one.id == source.id)
    materials = Materials(
        device=device,
        photograph=lambda: load_photograph(asked, manifest.image, source),
        the_set=the_set if control.uses_set else None,
        texture=_texture_spec(manifest, spec.layer_set) if spec.layer_set else None,
        after_evaluation=after_evaluation,
    )
    made = control.make(source.pixels, stimulus_generator(stimulus, "make"), materials, spec.options)
    record = ControlRecord(
        name=control.name,
        options=dict(spec.options),
        residuals=dict(made.residuals),
        weights_sha256=made.weights_sha256,
    )
    return Rendered(made.image, made.synthesis, None, record)


def _texture_spec(manifest: Manifest, layer_set: LayerSet) -> TextureSpec:
    network = layer_set.network
    return TextureSpec(
        network=network.name,
        pooling=network.pooling,
        layer_weights=layer_set.layer_weights,
        components=layer_set.components,
        preset=manifest.synthesis,
    )


def synthesis_record(
    manifest: Manifest, stimulus: Stimulus, rendered: Rendered, extractor: FeatureExtractor
) -> SynthesisRecord | None:
    """Return what the record says of the synthesis; None if there was none.

    Parameters
    ----------
    manifest, stimulus
        What the image is.
    rendered
        The image, with its synthesis.
    extractor
        The network that made it, if it is a texture.
    """
    synthesis, layer_set = rendered.synthesis, stimulus.synthesised
    if synthesis is None or layer_set is None:
        return None
    if rendered.problem is not None:
        residual_gram = matched_distance(rendered.problem, extractor, synthesis.image)
    else:
        assert rendered.control is not None, "what is synthesised is a texture or a control"
        residual_gram = rendered.control.residuals["gram"]
    return SynthesisRecord(
        preset=manifest.synthesis.preset,
        version=manifest.synthesis.version,
        settings=manifest.synthesis.model_dump(mode="json"),
        layer_weights=dict(layer_set.layer_weights),
        components=layer_set.components,
        parameters=layer_set.parameters,
        residual_gram=residual_gram,
        loss=synthesis.loss,
        iterations=synthesis.iterations,
        evaluations=synthesis.evaluations,
        stop_reason=synthesis.stop_reason,
        restarts=synthesis.restarts,
        traces=tuple(
            StageRecord(
                size_px=trace.size_px,
                layers=trace.layers,
                precision=trace.precision,
                metric=trace.metric,
                stop_reason=trace.stop_reason,
                losses=tuple(trace.losses.tolist()),
                accepted=tuple(trace.accepted.tolist()),
            )
            for trace in synthesis.traces
        ),
    )
