"""Tables from records: CSV files that pandas and PsychoPy read, each with its data dictionary."""

from __future__ import annotations

import contextlib
import csv
import functools
import io
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from stimgen.manifest.schema import AcceptSpec, MatchingSpec
from stimgen.runs.columns import TABLES
from stimgen.runs.csv_files import (
    WHOLE_NUMBERS,
    csv_pieces,
    data_dictionary,
    encodable,
    harmless,
    in_order,
    table_of,
    to_json,
)
from stimgen.runs.diversity import Exemplar, seed_correlations
from stimgen.runs.record import Record
from stimgen.runs.store import RunFolder, write_atomically, writing_atomically

Row = dict[str, Any]

MATCHED = ("mean", "contrast", "histogram", "spectrum")
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

    Of each record the row of stimuli.csv stays in memory until all are read, and nothing else. The PNG files
    are read for what is a statistic of several of them (`seed_correlations`).
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

        stimuli = table_of(map(_plain, stimuli_rows()))
        sure = [exemplar for exemplar in exemplars if exemplar.stimulus_id not in uncertain]
        correlations = seed_correlations(folder, sure)
        stimuli[CORRELATION] = [correlations.get(exemplar.stimulus_id) for exemplar in exemplars]
    _write(target, "stimuli", stimuli)
    _write(target, "failures", table_of(_plain(vars(failure)) for failure in failures))
    return sum(not accepted for accepted in stimuli["accepted"]) if exemplars else 0


def _write(folder: Path, name: str, table: pd.DataFrame) -> None:
    table, dictionary = in_order(name, table)
    for column in WHOLE_NUMBERS:
        if column in table:
            table[column] = table[column].astype("Int64")  # with gaps, whole numbers stay whole numbers
    with writing_atomically(folder / f"{name}.csv") as file:
        for piece in csv_pieces(table):
            file.write(piece.encode())
    write_atomically(folder / f"{name}.json", to_json(dictionary))


def stimulus_row(record: Record, accept: AcceptSpec) -> Row:
    """Return what the record says of the row of stimuli.csv, with the verdict of the thresholds `accept`."""
    synthesis = record.synthesis
    residuals = record.control.residuals if record.control else {}
    measured_in = record.measured_in
    on_file = [distance for distance in record.distances if distance.stage == "file"]
    matched = [distance.gram_relative for distance in on_file if distance.constrained]
    held_out = [distance.gram_relative for distance in on_file if not distance.constrained]
    reasons = reasons_to_reject(record, accept)
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
        "normalised": record.network.normalised,
        "layers": " ".join(synthesis.layer_weights) if synthesis else None,
        "components": synthesis.components if synthesis else None,
        "parameters": synthesis.parameters if synthesis else None,
        "preset": f"{synthesis.preset} v{synthesis.version}" if synthesis else None,
        "loss": synthesis.loss if synthesis else None,
        "iterations": synthesis.iterations if synthesis else None,
        "evaluations": synthesis.evaluations if synthesis else None,
        "stop_reason": synthesis.stop_reason if synthesis else None,
        "restarts": synthesis.restarts if synthesis else None,
        "residual_spectrum": residuals.get("spectrum"),
        "residual_histogram": residuals.get("histogram"),
        "residual_gram": synthesis.residual_gram if synthesis else None,
        "measured_in": f"{measured_in.name} {measured_in.weights}",
        "measured_in_sha256": f"sha256:{measured_in.tensors_sha256}",
        "matching": _words(record.matching.settings),
        **{f"matched_residual_{name}": getattr(record.matching, name) for name in MATCHED},
        "clipped_share": record.clipped_share,
        **record.statistics,
        "gram_relative_matched": max(matched, default=None),
        "gram_relative_held_out": max(held_out, default=None) if record.kind == "texture" else None,
        "accepted": not reasons,
        "reject_reason": " ".join(reasons) or None,
        "source_sha256": f"sha256:{record.source.sha256}",
        "png_sha256": f"sha256:{record.png_sha256}",
    }


def reasons_to_reject(record: Record, accept: AcceptSpec) -> tuple[str, ...]:
    """Return a sentence for every threshold that the stimulus exceeds; none if it is accepted.

    Gram distances are those of its file, on the layers that it was made to match. A value that equals its
    threshold is accepted.
    """
    on_file = [distance for distance in record.distances if distance.stage == "file" and distance.constrained]
    relative = max(((d.gram_relative, d.layer) for d in on_file), key=lambda pair: pair[0], default=None)
    scaled = [(d.gram_normalised, d.layer) for d in on_file if d.gram_normalised is not None]
    normalised = max(scaled, default=None)
    values = {
        "gram_relative_max": (f"relative Gram distance on {relative[1]}", relative[0]) if relative else None,
        "gram_normalised_max": (f"normalised Gram distance on {normalised[1]}", normalised[0])
        if normalised
        else None,
        "clipped_share_max": ("clipped share", record.clipped_share),
    }
    reasons = []
    for threshold, value in values.items():
        limit = getattr(accept, threshold)
        if value and limit is not None and value[1] > limit:
            short = f"{value[1]:.3g}"  # or as many digits as it takes to see that it is above
            number = short if float(short) > limit else value[1]
            reasons.append(f"The {value[0]} is {number} and {threshold} is {limit}.")
    return tuple(reasons)


def distance_lines(record: Record) -> list[str]:
    """Return the lines of gram_distances.csv."""
    return [_line(record.stimulus_id, *distance) for distance in record.distances]


def spectrum_lines(record: Record) -> list[str]:
    """Return the lines of spectra.csv: one per whole number of cycles per image."""
    stimulus_id, side = _cell(record.stimulus_id), record.image.size_deg
    powers = enumerate(zip(record.power, record.power_source, strict=True), start=1)
    return [
        f"{stimulus_id},{frequency},{frequency / side if side else ''},{power!r},{power_source!r}\n"
        for frequency, (power, power_source) in powers
    ]


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
    lines = io.StringIO()
    csv.writer(lines, lineterminator="").writerow([harmless(_in_cell(encodable(text))), ""])
    return lines.getvalue()[:-1]


LONG_TABLES: dict[str, Callable[[Record], list[str]]] = {
    "gram_distances": distance_lines,
    "spectra": spectrum_lines,
    "traces": trace_lines,
}
"""Tables with many rows of each stimulus: name, and what makes the lines of a record."""
