"""From a batch to float images, and from a float image to a file with its record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from torch import Tensor

from stimgen.controls import CONTROLS
from stimgen.images.pixels import Image
from stimgen.images.png import decode_png, encode_png, quantise
from stimgen.images.sources import Source
from stimgen.manifest.plan import Stimulus
from stimgen.manifest.resolved import Manifest
from stimgen.matching.histogram import match_histogram_exact
from stimgen.matching.range import clip_to_display
from stimgen.measure.gram import gram_distances
from stimgen.measure.spectrum import PowerSpectrum
from stimgen.networks.extractor import FeatureExtractor
from stimgen.runs.recipe import generator
from stimgen.runs.record import (
    ControlRecord,
    DistanceRecord,
    StageRecord,
    SynthesisRecord,
)
from stimgen.runs.statistics import Statistics, measure
from stimgen.texture.problem import EvaluationHook, Problem, Synthesis
from stimgen.texture.synthesis import synthesise


@dataclass(frozen=True, eq=False)
class Rendered:
    """A float image as it comes from synthesis or a control.

    Attributes
    ----------
    image
        (H, W) or (H, W, 3); may leave 0..1.
    synthesis
        How it was synthesised; None for a control.
    control
        Which control; None for a texture.
    """

    image: Image
    synthesis: SynthesisRecord | None
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
    distances
        Gram distances at all stages.
    statistics
        Of the pixels read back from `png`.
    """

    png: bytes
    clipped_share: float
    distances: tuple[DistanceRecord, ...]
    statistics: Statistics


def render(
    manifest: Manifest,
    stimuli: Sequence[Stimulus],
    sources: Mapping[str, Source],
    extractor: FeatureExtractor,
    after_evaluation: EvaluationHook,
) -> list[Rendered]:
    """Make the float images of one batch, in its order."""
    if stimuli[0].control is not None:
        return [_control(stimulus, sources[stimulus.source]) for stimulus in stimuli]
    problems = [
        Problem(
            sources[stimulus.source].pixels,
            stimulus.layer_set.layer_weights if stimulus.layer_set else {},
            generator(stimulus, "make"),
        )
        for stimulus in stimuli
    ]
    synthesised = synthesise(problems, extractor, manifest.synthesis, after_evaluation)
    return [
        Rendered(synthesis.image, _synthesis_record(manifest, problem, synthesis), None)
        for problem, synthesis in zip(problems, synthesised, strict=True)
    ]


def finish(
    manifest: Manifest,
    stimulus: Stimulus,
    source: Source,
    image: Image,
    extractor: FeatureExtractor,
    targets: Mapping[str, Tensor],
    source_spectrum: PowerSpectrum,
) -> Finished:
    """Match, quantise, and measure what a viewer will see.

    Parameters
    ----------
    manifest, stimulus, source
        What the image is.
    image
        Float image as rendered.
    extractor, targets
        The network that measures, and the Gram matrices of `source` in it.
    source_spectrum
        Of the luminance of `source`.
    """
    matched = image
    if manifest.matching.histogram == "source":
        matched = match_histogram_exact(image, source.pixels, generator(stimulus, "match"))
    shown, clipped_share = clip_to_display(matched)
    png = encode_png(quantise(shown))
    seen = decode_png(png)
    constrained = stimulus.layer_set.layers if stimulus.layer_set else ()
    stages = ("optimised", "matched", "file")
    measured = gram_distances(extractor, [image, shown, seen], targets)
    return Finished(
        png=png,
        clipped_share=clipped_share,
        distances=tuple(
            DistanceRecord.model_validate(
                {"stage": stage, "constrained": distance.layer in constrained, **asdict(distance)}
            )
            for stage, distances in zip(stages, measured, strict=True)
            for distance in distances
        ),
        statistics=measure(seen, source.pixels, source_spectrum),
    )


def _control(stimulus: Stimulus, source: Source) -> Rendered:
    assert stimulus.control is not None
    control = CONTROLS[stimulus.control.name]
    made = control.make(source.pixels, generator(stimulus, "make"), stimulus.control.options)
    record = ControlRecord(
        name=control.name, options=dict(stimulus.control.options), residuals=dict(made.residuals)
    )
    return Rendered(made.image, None, record)


def _synthesis_record(manifest: Manifest, problem: Problem, synthesis: Synthesis) -> SynthesisRecord:
    return SynthesisRecord(
        preset=manifest.synthesis.preset,
        version=manifest.synthesis.version,
        settings=manifest.synthesis.model_dump(mode="json"),
        layer_weights=dict(problem.layer_weights),
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
