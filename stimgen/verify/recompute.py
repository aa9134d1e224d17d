"""Every PNG file of a run measured again, and compared with what its record says."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from stimgen.bounded import UnreadableError, read_regular
from stimgen.errors import InputError, StimgenError
from stimgen.images.png import decode_png
from stimgen.images.sources import Source, load_source
from stimgen.manifest.plan import Stimulus, measuring_network, plan
from stimgen.manifest.resolved import Manifest
from stimgen.manifest.schema import NetworkSpec
from stimgen.measure import DecodedImage, measure
from stimgen.measure.gram import SourceGrams
from stimgen.measure.portilla_simoncelli import load_plenoptic
from stimgen.networks.device import find_device
from stimgen.networks.weights import WeightsError, at_hand
from stimgen.runs.make import SourceMeasures, rounded
from stimgen.runs.preparation import Networks
from stimgen.runs.record import Record
from stimgen.runs.store import RunFolder
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
    where = find_device(device)
    if manifest.measure.portilla_simoncelli:
        load_plenoptic()
    networks = Networks(manifest, str(where))
    of_source: dict[str, list[Stimulus]] = {}
    for stimulus in plan(manifest):
        of_source.setdefault(stimulus.source, []).append(stimulus)
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
        comparison = _Comparison(manifest, networks, source, problems)
        for stimulus in of_source[spec.id]:
            record = folder.read_record(stimulus.stimulus_id)
            if record is not None and record.stimulus_id == stimulus.stimulus_id:
                try:
                    findings += comparison.of(folder, stimulus, record)
                    measured += 1
                except _LackingError as error:
                    findings.append(unchecked(record.filename, str(error)))
                    lacking = True
                except (UnreadableError, StimgenError):
                    pass  # no file that could be measured, which is found without measuring
            advance(1)
    return Recomputed(measured, lacking, tuple(findings))


class _LackingError(Exception):
    """A stimulus cannot be measured, because its source or its network is not at hand."""


class _Comparison:
    """Stimuli of one source, measured again."""

    def __init__(
        self, manifest: Manifest, networks: Networks, source: Source, problems: dict[NetworkSpec, str]
    ) -> None:
        self._manifest = manifest
        self._networks = networks
        self._source = source
        self._measures = SourceMeasures.of(manifest, source)
        self._problems = problems

    def of(self, folder: RunFolder, stimulus: Stimulus, record: Record) -> list[Finding]:
        """Return every number of a record that is not that of its file."""
        network = measuring_network(self._manifest, stimulus)
        if self._source.sha256 != record.source.sha256:
            raise _LackingError(f"not measured: the source {self._source.id} is another file now")
        grams = self._grams_in(network, record)
        seen = decode_png(read_regular(folder.png(stimulus.stimulus_id)))
        if seen.shape != self._source.pixels.shape:
            raise UnreadableError("has another shape than its source")
        image = DecodedImage(seen, record.image.size_deg, str(self._networks.extractor(network).device))
        again = measure(image, {**self._measures.prepared, "gram": grams})
        found = [
            *self._of_source(record),
            *_statistic_differences(record, again),
            *_power_differences("power", record.power, rounded(image.spectrum.radial)),
            *_power_differences("power_source", record.power_source, self._measures.power),
        ]
        return [wrong(record.own_name, problem, ANEW) for problem in found]

    def _grams_in(self, network: NetworkSpec, record: Record) -> SourceGrams:
        """Return what the source has in a network, whose weights must be those of the record."""
        if network not in self._problems:
            self._problems[network] = _weights_problem(self._networks, network, record)
        if self._problems[network]:
            raise _LackingError(f"not measured: {self._problems[network]}")
        return self._networks.grams(network, self._source)

    def _of_source(self, record: Record) -> Iterator[str]:
        source, recorded = self._source, record.source
        for name in ("crop_box", "original_size"):
            if getattr(source, name) != getattr(recorded, name):
                both = f"{getattr(recorded, name)}, and that of the source is {getattr(source, name)}"
                yield f"says source.{name} is {both}"
        yield from _differences(
            "source.", {"clipped_share": recorded.clipped_share}, {"clipped_share": source.clipped_share}
        )


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
        said, found = recorded.get(name), measured.get(name)
        if said is None or found is None:
            same = said is found
        else:
            same = math.isclose(said, found, rel_tol=relative, abs_tol=absolute)
        if not same:
            yield _says(f"{place}{name}", said, found)


def _says(name: str, recorded: float | None, measured: float | None) -> str:
    return f"{name} is {recorded}, and on the file it is {measured}"
