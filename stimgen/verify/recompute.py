"""Every PNG file of a run measured again, and compared with what its record says."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

from stimgen.bounded import UnreadableError, read_regular
from stimgen.errors import InputError, StimgenError
from stimgen.images.masks import Inside
from stimgen.images.png import decode_png
from stimgen.images.sources import Source, load_source
from stimgen.manifest.plan import measuring_network, plan
from stimgen.manifest.schema import NetworkSpec
from stimgen.measure import DecodedImage, measure
from stimgen.measure.gram import SourceGrams, stage_distances
from stimgen.measure.portilla_simoncelli import load_plenoptic
from stimgen.networks.device import find_device
from stimgen.networks.weights import WeightsError, at_hand
from stimgen.runs.preparation import Networks, SourceMeasures, power_of, shown_inside
from stimgen.runs.recipe import measured_with
from stimgen.runs.record import Record, columns_among, unknown_columns
from stimgen.runs.steps import decode_image, read_image
from stimgen.runs.store import RunFolder
from stimgen.verify.finding import ANEW, Finding, unchecked, wrong
from stimgen.verify.folder import ONLY_BY_READING
from stimgen.verify.run import Advance, Verification, open_run

PIXEL_TOLERANCE = 1e-9
"""Relative and absolute, of what is computed in float64 from the pixels of the file."""
POWER_TOLERANCE = 2e-5
"""Relative, of power spectra, which a record has to six digits."""
DISTANCE_TOLERANCE = 1e-3
"""Relative, of what is computed with float32 convolutions: other libraries change 1e-6."""
DISTANCE_FLOOR = 2e-5
"""The same, absolute, in units of the norm of the source's Gram matrix: small distances are differences."""

Numbers = Mapping[str, float | None]


def recompute_statistics(
    result: Verification, *, device: str = "auto", advance: Advance = lambda more: None
) -> Verification:
    """Measure every stimulus of a verified run again, and add what is found to what was.

    Where the image before matching is kept, its Gram distances are measured again, too. Those of the matched
    image, the synthesis, residuals and clipped pixels cannot be measured again. Damaged records and files are
    left to `stimgen.verify.run.verify_run`.
    """
    folder, manifest = open_run(result.folder)
    if manifest.measure.portilla_simoncelli:
        load_plenoptic()
    networks = Networks(manifest, str(find_device(device)))
    asked = measured_with(manifest)
    stimuli = plan(manifest)
    missed: list[Finding] = []
    different: list[Finding] = []
    measured = 0
    problems: dict[NetworkSpec, str] = {}
    for spec in manifest.sources:
        try:
            source = load_source(spec, manifest.image, name=manifest.name)
        except InputError as error:
            missed.append(unchecked(spec.image, f"stimuli of {spec.id} not measured: {error.problem}"))
            continue
        measures = SourceMeasures.of(manifest, source)
        for stimulus in (stimulus for stimulus in stimuli if stimulus.source == spec.id):
            advance(1)
            record = folder.read_record(stimulus.stimulus_id)
            if record is None:
                continue
            network = measuring_network(manifest, stimulus)
            if network not in problems:
                problems[network] = _weights_problem(networks, network, record)
            problem = problems[network]
            if (source.sha256, source.mask) != (record.source.sha256, record.source.mask):
                problem = f"the source {source.id} or its mask is another file now"
            if problem:
                missed.append(unchecked(record.filename, f"not measured: {problem}"))
                continue
            try:
                seen = decode_png(read_regular(folder.png(stimulus.stimulus_id)))
            except (UnreadableError, StimgenError):
                continue  # which is found without measuring
            if seen.shape == source.pixels.shape:
                measured += 1
                inside = shown_inside(source, record.control)
                image = DecodedImage(seen, record.image.size_deg, networks.device, inside)
                grams = networks.grams(network, source)
                again = measure(image, {**measures.prepared, "gram": grams})
                texts = [
                    *_differences_of(*_in_common(record, again, asked), source, image, measures),
                    *_optimised_differences(folder, record, grams, inside),
                ]
                different += [wrong(record.own_name, text, cures=ANEW) for text in texts]
    # What can be compared only by reading it was read.
    before = [finding for finding in result.findings if ONLY_BY_READING not in finding.problem]
    new = {finding.file for finding in different} - {finding.file for finding in before if finding.bad}
    return replace(
        result,
        verified=result.verified - len(new),
        stimuli_sha256=None if different else result.stimuli_sha256,
        findings=(*before, *missed, *different),
        recomputed=measured,
        unmeasured=bool(missed),
    )


def _optimised_differences(
    folder: RunFolder, record: Record, grams: SourceGrams, inside: Inside | None
) -> Iterator[str]:
    """Yield the Gram distances of the optimised image that differ from those of its record."""
    if "optimised" not in record.stages:
        return
    with contextlib.suppress(UnreadableError, StimgenError):  # which is found without measuring
        if (content := read_image(folder, record)) is not None:
            again = stage_distances(decode_image(content, record.image.size_px), grams, inside)
            recorded = record.model_copy(update={"statistics": record.stages["optimised"]})
            for text in _statistic_differences(recorded, again, "the optimised image"):
                yield f"stages.optimised.{text}"


def _in_common(record: Record, again: Numbers, asked: Mapping[str, int]) -> tuple[Record, Numbers]:
    """Return a record and what was measured again, both without what only one of them measured.

    These are new columns, columns that are not known, and those of other versions. Values that a record has
    are compared whatever it says that it was measured with.
    """
    recorded, layers = record.measured_with, record.measured_layers
    new = columns_among(again, asked.keys() - recorded.keys(), layers) - record.statistics.keys()
    changed = [name for name in asked.keys() & recorded.keys() if asked[name] != recorded[name]]
    other = columns_among({**record.statistics, **again}, changed, layers)
    skipped = {*new, *other, *unknown_columns(record)}
    statistics, measured = (
        {name: of[name] for name in of if name not in skipped} for of in (record.statistics, again)
    )
    return record.model_copy(update={"statistics": statistics}), measured


def _differences_of(
    record: Record, again: Numbers, source: Source, image: DecodedImage, measures: SourceMeasures
) -> Iterator[str]:
    """Yield every number of a record that is not that of its file."""
    for name in ("crop_box", "original_size"):
        recorded, found = getattr(record.source, name), getattr(source, name)
        if recorded != found:
            yield f"says source.{name} is {recorded}, and that of the source is {found}"
    yield from _difference("source.clipped_share", record.source.clipped_share, source.clipped_share)
    yield from _statistic_differences(record, again)
    for name, powers in (
        ("power", (record.power, power_of(image))),
        ("power_source", (record.power_source, measures.power)),
    ):
        # Where there is next to no power, it is rounding of where there is much.
        noise = 1e-12 * max(powers[1], default=0.0)
        for place, pair in enumerate(itertools.zip_longest(*powers)):
            yield from _difference(f"{name}[{place}]", *pair, POWER_TOLERANCE, noise)


def _weights_problem(networks: Networks, network: NetworkSpec, record: Record) -> str:
    """Return why distances in a network cannot be compared; empty if they can."""
    if not at_hand(network.name, network.weights):
        return f"the weights {network.weights} of {network.name} are not at hand"
    try:
        weights = networks.weights(network)
    except (InputError, WeightsError) as error:
        return error.problem
    if weights.tensors_sha256 != record.measured_in.tensors_sha256:
        return f"the weights {network.weights} of {network.name} here are others than those of the record"
    return ""


def _statistic_differences(record: Record, again: Numbers, where: str = "the file") -> Iterator[str]:
    """Yield the statistics that differ from those of the file by more than their tolerance."""
    recorded = record.statistics
    for name in dict.fromkeys([*recorded, *again]):
        relative, absolute = PIXEL_TOLERANCE, PIXEL_TOLERANCE
        if name.startswith(("gram_", "ps_")):
            relative = DISTANCE_TOLERANCE
        if name.startswith(("gram_relative_", "gram_floor_", "gram_ceiling_")):
            absolute = DISTANCE_FLOOR
        pair = recorded.get(name), again.get(name)
        layer = name.removeprefix("gram_loss_")
        if layer in record.measured_layers and (distance := again[f"gram_relative_{layer}"]):
            # The loss is a square; in its root, errors are those of the distance.
            roots = [math.sqrt(max(loss or 0.0, 0.0)) for loss in pair]
            if math.isclose(*roots, rel_tol=relative, abs_tol=DISTANCE_FLOOR * roots[1] / distance):
                continue
        if not name.startswith("gram_normalised_"):  # which follows from the others
            yield from _difference(name, *pair, relative, absolute, where)


def _difference(
    name: str,
    recorded: float | None,
    measured: float | None,
    relative: float = PIXEL_TOLERANCE,
    absolute: float = PIXEL_TOLERANCE,
    where: str = "the file",
) -> Iterator[str]:
    """Yield that a number differs by more than the tolerances."""
    if recorded is None or measured is None:
        same = recorded is measured
    else:
        same = math.isclose(recorded, measured, rel_tol=relative, abs_tol=absolute)
    if not same:
        yield f"{name} is {recorded}, and on {where} it is {measured}"
