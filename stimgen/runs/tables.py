"""Tables from records: CSV files that pandas and PsychoPy read, each with its data dictionary."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stimgen.manifest.schema import AcceptSpec, MatchingSpec
from stimgen.runs.columns import TABLES
from stimgen.runs.csv_files import (
    Columns,
    columns_of,
    csv_pieces,
    data_dictionary,
    dictionary_of,
    encodable,
    harmless,
    to_json,
)
from stimgen.runs.diversity import Exemplar, seed_correlations
from stimgen.runs.record import OUTCOME, Record, unknown_columns
from stimgen.runs.store import RunFolder, write_atomically, writing_atomically

Row = dict[str, Any]

MATCHED = ("mean", "contrast", "histogram", "spectrum")
OF_SYNTHESIS = ("components", "parameters", "residual_gram", *OUTCOME)
"""Columns that are fields of `stimgen.runs.record.SynthesisRecord`."""
CORRELATION = "seed_correlation"
"""The column of stimuli.csv that is measured on several files."""


@dataclass(frozen=True)
class Failure:
    """A stimulus that could not be made, why, and what to do."""

    stimulus_id: str
    error: str
    cure: str


def write_tables(
    folder: RunFolder,
    records: Iterable[Record],
    failures: Sequence[Failure],
    accept: AcceptSpec,
    *,
    target: Path | None = None,
    uncertain: Collection[str] = (),
) -> int:
    """Write all tables of a run and their data dictionaries; return how many stimuli are rejected.

    Of each record only the row of stimuli.csv stays in memory. PNG files are read for `seed_correlations`.
    """
    target = target or folder.path
    exemplars: list[Exemplar] = []
    with contextlib.ExitStack() as files:
        long = {name: files.enter_context(writing_atomically(target / f"{name}.csv")) for name in LONG_TABLES}
        for name, file in long.items():
            headers = [column.name for column in TABLES[name]]
            file.write(_line(*headers).encode())
            write_atomically(target / f"{name}.json", to_json(data_dictionary(name, headers)))

        def stimuli_rows() -> Iterator[Row]:
            for record in records:
                for name, file in long.items():
                    file.write("".join(LONG_TABLES[name](record)).encode())
                exemplars.append(Exemplar.of(record))
                yield stimulus_row(record, accept)

        stimuli = columns_of(map(_plain, stimuli_rows()))
        sure = [exemplar for exemplar in exemplars if exemplar.stimulus_id not in uncertain]
        correlations = seed_correlations(folder, sure)
        stimuli[CORRELATION] = [correlations.get(exemplar.stimulus_id) for exemplar in exemplars]
    _write(target, "stimuli", stimuli)
    _write(target, "failures", columns_of(_plain(vars(failure)) for failure in failures))
    return sum(not accepted for accepted in stimuli["accepted"]) if exemplars else 0


def _write(folder: Path, name: str, columns: Columns) -> None:
    dictionary = dictionary_of(name, [header for header, cells in columns.items() if cells])
    with writing_atomically(folder / f"{name}.csv") as file:
        for piece in csv_pieces({header: columns.get(header, []) for header in dictionary}):
            file.write(piece.encode())
    write_atomically(folder / f"{name}.json", to_json(dictionary))


def stimulus_row(record: Record, accept: AcceptSpec) -> Row:
    """Return what the record says of the row of stimuli.csv, with the verdict of the thresholds `accept`.

    What was measured by a statistic that is not registered now is left out.
    """
    synthesis = record.synthesis
    residuals = record.control.residuals if record.control else {}
    measured_in = record.measured_in
    on_file = [distance for distance in record.distances if distance.stage == "file"]
    matched = [distance.gram_relative for distance in on_file if distance.constrained]
    held_out = [distance.gram_relative for distance in on_file if not distance.constrained]
    reasons = reasons_to_reject(record, accept)
    unknown = unknown_columns(record)
    return {
        "stimulus_id": record.stimulus_id,
        "filename": record.filename,
        "source": record.source.id,
        "condition": record.condition,
        "kind": record.kind,
        "seed": record.seed,
        **record.image.model_dump(),
        "network": record.network.name,
        "weights": record.network.weights,
        "weights_sha256": f"sha256:{record.network.tensors_sha256}",
        "pooling": record.network.pooling,
        "padding": record.network.padding,
        "normalised": record.network.normalised,
        "layers": " ".join(synthesis.layer_weights) if synthesis else None,
        "preset": f"{synthesis.preset} v{synthesis.version}" if synthesis else None,
        **{name: getattr(synthesis, name, None) for name in OF_SYNTHESIS},
        "residual_spectrum": residuals.get("spectrum"),
        "residual_histogram": residuals.get("histogram"),
        "measured_in": f"{measured_in.name} {measured_in.weights} {measured_in.padding}",
        "measured_in_sha256": f"sha256:{measured_in.tensors_sha256}",
        "matching": _words(record.matching.settings),
        **{f"matched_residual_{name}": getattr(record.matching, name) for name in MATCHED},
        "clipped_share": record.clipped_share,
        **{name: value for name, value in record.statistics.items() if name not in unknown},
        "gram_relative_matched": max(matched, default=None),
        "gram_relative_held_out": max(held_out, default=None) if record.kind == "texture" else None,
        "accepted": not reasons,
        "reject_reason": " ".join(reasons) or None,
        "source_linearise": record.source.linearise,
        "source_mask": record.source.mask,
        "source_sha256": f"sha256:{record.source.sha256}",
        "png_sha256": f"sha256:{record.png_sha256}",
    }


def reasons_to_reject(record: Record, accept: AcceptSpec) -> tuple[str, ...]:
    """Return a sentence for every threshold that the stimulus exceeds; none if it is accepted.

    Gram distances are those of its file, on the layers that it was made to match. A value that equals its
    threshold is accepted.
    """
    matched = [distance for distance in record.distances if distance.stage == "file" and distance.constrained]
    values: dict[str, tuple[str, float]] = {}
    for name in ("relative", "normalised"):
        by_layer = {distance.layer: getattr(distance, f"gram_{name}") for distance in matched}
        by_layer = {layer: value for layer, value in by_layer.items() if value is not None}
        if by_layer:
            worst = max(by_layer, key=by_layer.__getitem__)
            values[f"gram_{name}_max"] = f"{name} Gram distance on {worst}", by_layer[worst]
    values["clipped_share_max"] = "clipped share", record.clipped_share
    reasons = []
    for threshold, (name, value) in values.items():
        limit = getattr(accept, threshold)
        if limit is not None and value > limit:
            short = f"{value:.3g}"  # or as many digits as it takes to see that it is above
            number = short if float(short) > limit else value
            reasons.append(f"The {name} is {number} and {threshold} is {limit}.")
    return tuple(reasons)


def distance_lines(record: Record) -> list[str]:
    """Return the lines of gram_distances.csv."""
    return [_line(record.stimulus_id, *distance) for distance in record.distances]


def spectrum_lines(record: Record) -> list[str]:
    """Return the lines of spectra.csv: one per whole number of cycles per image."""
    stimulus_id, side = _cell(record.stimulus_id), record.image.size_deg
    lines = []
    powers = itertools.zip_longest(record.power, record.power_source)
    for frequency, (power, of_source) in enumerate(powers, start=1):
        cells = (frequency, frequency / side if side else "", power, "" if of_source is None else of_source)
        lines.append(f"{stimulus_id},{','.join(map(str, cells))}\n")
    return lines


def trace_lines(record: Record) -> list[str]:
    """Return the lines of traces.csv: one for the start of each stage, and one per iteration."""
    lines = []
    for number, stage in enumerate(record.synthesis.traces if record.synthesis else (), start=1):
        layers, iteration = " ".join(stage.layers), 0
        of_stage = (number, stage.size_px, layers, stage.precision, stage.metric, stage.stop_reason)
        start = ",".join(map(_cell, (record.stimulus_id, *of_stage)))
        losses = enumerate(zip(stage.losses, stage.accepted, strict=True), start=1)
        for evaluation, (loss, accepted) in losses:
            iteration += accepted
            if accepted or evaluation == 1:
                lines.append(f"{start},{iteration},{evaluation},{loss!r}\n")
    return lines


def _words(matching: MatchingSpec) -> str | None:
    """Return what was matched in words such as "histogram=source luminance=set"; None for nothing."""
    words = [f"{name}={to}" for name, to in matching.asked.items()]
    if words and matching.channels != "rgb":
        words.append(f"channels={matching.channels}")
    if words and matching.iterations > 1:
        words.append(f"iterations={matching.iterations}")
    return " ".join(words) or None


def _plain(row: Row) -> Row:
    """Return a row whose texts stay in their cells: PsychoPy reads a comma as the start of a list."""
    return {header: _in_cell(value) if isinstance(value, str) else value for header, value in row.items()}


def _in_cell(text: str) -> str:
    return " ".join(text.replace(",", ";").split())


def _line(*cells: object) -> str:
    return f"{','.join(map(_cell, cells))}\n"


def _cell(value: object) -> str:
    """Return a cell of a CSV file, as pandas writes it."""
    return _text(value) if isinstance(value, str) else "" if value is None else repr(value)


@functools.lru_cache(maxsize=4096)
def _text(text: str) -> str:
    text = harmless(_in_cell(encodable(text)))
    return '"' + text.replace('"', '""') + '"' if '"' in text else text


LONG_TABLES: dict[str, Callable[[Record], list[str]]] = {
    "gram_distances": distance_lines,
    "spectra": spectrum_lines,
    "traces": trace_lines,
}
"""Tables with many rows of each stimulus: name, and what makes the lines of a record."""
