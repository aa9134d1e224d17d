"""Every PNG file of a run measured again, and compared with what its record says."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from stimgen.bounded import UnreadableError, read_regular
from stimgen.errors import InputError, StimgenError
from stimgen.images.pixels import Image
from stimgen.images.png import decode_png
from stimgen.images.sources import Source, load_source
from stimgen.manifest.plan import measuring_network, plan
from stimgen.manifest.schema import NetworkSpec
from stimgen.measure import DecodedImage, measure
from stimgen.measure.gram import SourceGrams
from stimgen.measure.portilla_simoncelli import load_plenoptic
from stimgen.networks.device import find_device
from stimgen.networks.weights import WeightsError, at_hand
from stimgen.runs.preparation import Networks, SourceMeasures, rounded
from stimgen.runs.record import Record
from stimgen.verify.finding import Finding, unchecked, wrong
from stimgen.verify.records import ANEW
from stimgen.verify.run import Advance, Recomputed, open_run

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
    path: Path, *, device: str = "auto", advance: Advance = lambda more: None
) -> Recomputed:
    """Measure every stimulus of a run again and compare.

    What was measured before the file was written (the stages `optimised` and `matched`, the synthesis,
    residuals and clipped pixels) cannot be measured again. Damaged records and files are left to
    `stimgen.verify.run.verify_run`.
    """
    folder, manifest = open_run(path)
    if manifest.measure.portilla_simoncelli:
        load_plenoptic()
    networks = Networks(manifest, str(find_device(device)))
    stimuli = plan(manifest)
    findings: list[Finding] = []
    measured, lacking = 0, False
    problems: dict[NetworkSpec, str] = {}
    for spec in manifest.sources:
        try:
            source = load_source(spec, manifest.image, name=manifest.name)
        except InputError as error:
            findings.append(unchecked(spec.image, f"stimuli of {spec.id} not measured: {error.problem}"))
            lacking = True
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
            if source.sha256 != record.source.sha256:
                problem = f"the source {source.id} is another file now"
            if problem:
                findings.append(unchecked(record.filename, f"not measured: {problem}"))
                lacking = True
                continue
            try:
                seen = decode_png(read_regular(folder.png(stimulus.stimulus_id)))
            except (UnreadableError, StimgenError):
                continue  # which is found without measuring
            if seen.shape == source.pixels.shape:
                grams = networks.grams(network, source)
                different = _differences_of(record, source, seen, measures, grams, networks.device)
                findings += [wrong(record.own_name, text, ANEW) for text in different]
                measured += 1
    return Recomputed(measured, lacking, tuple(findings))


def _differences_of(
    record: Record,
    source: Source,
    seen: Image,
    measures: SourceMeasures,
    grams: SourceGrams,
    device: str,
) -> Iterator[str]:
    """Yield every number of a record that is not that of its file."""
    image = DecodedImage(seen, record.image.size_deg, device)
    again = measure(image, {**measures.prepared, "gram": grams})
    for name in ("crop_box", "original_size"):
        recorded, found = getattr(record.source, name), getattr(source, name)
        if recorded != found:
            yield f"says source.{name} is {recorded}, and that of the source is {found}"
    yield from _differences(
        "source.", {"clipped_share": record.source.clipped_share}, {"clipped_share": source.clipped_share}
    )
    yield from _statistic_differences(record, again)
    yield from _power_differences("power", record.power, rounded(image.spectrum.radial))
    yield from _power_differences("power_source", record.power_source, measures.power)


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


def _statistic_differences(record: Record, again: Numbers) -> Iterator[str]:
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
        if name.startswith("gram_normalised_"):
            continue  # follows from the others
        yield from _differences("", {name: pair[0]}, {name: pair[1]}, relative, absolute)


def _power_differences(name: str, recorded: Sequence[float], measured: Sequence[float]) -> Iterator[str]:
    # Where there is next to no power, it is rounding of where there is much.
    noise = 1e-12 * max(measured, default=0.0)
    pair = [{f"[{place}]": value for place, value in enumerate(values)} for values in (recorded, measured)]
    yield from _differences(name, pair[0], pair[1], POWER_TOLERANCE, noise)


def _differences(
    place: str,
    recorded: Numbers,
    measured: Numbers,
    relative: float = PIXEL_TOLERANCE,
    absolute: float = PIXEL_TOLERANCE,
) -> Iterator[str]:
    """Yield the numbers that differ by more than the tolerances, with both."""
    for name in dict.fromkeys([*recorded, *measured]):
        known, found = recorded.get(name), measured.get(name)
        if known is None or found is None:
            same = known is found
        else:
            same = math.isclose(known, found, rel_tol=relative, abs_tol=absolute)
        if not same:
            yield f"{place}{name} is {known}, and on the file it is {found}"
