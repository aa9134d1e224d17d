"""Tables from records: CSV files that pandas and PsychoPy read, each with its data dictionary."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from stimgen.manifest.schema import AcceptSpec, MatchingSpec
from stimgen.measure.gram_distance import GramDistance, GramScale
from stimgen.runs.acceptance import reasons_to_reject
from stimgen.runs.csv_files import WHOLE_NUMBERS, csv_pieces, in_order, table_of, to_csv, to_json
from stimgen.runs.dictionary import Dictionary
from stimgen.runs.diversity import Exemplar, seed_correlations
from stimgen.runs.measured_columns import (
    Row,
    gram_columns,
    portilla_simoncelli_columns,
    statistic_columns,
)
from stimgen.runs.record import Record
from stimgen.runs.store import RunFolder, write_atomically, writing_atomically

MATCHED = ("mean", "contrast", "histogram", "spectrum")
CORRELATION = "seed_correlation"
"""The column of stimuli.csv that is measured on several files."""
TOGETHER = 64
"""How many records are turned into lines at a time."""


@dataclass(frozen=True)
class Failure:
    """A stimulus that could not be made.

    Attributes
    ----------
    stimulus_id
        Which one.
    error, cure
        Why, and what to do.
    """

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
) -> int:
    """Write all tables of a run and their data dictionaries; return how many stimuli are rejected.

    Of each record the row of stimuli.csv stays in memory until all are read, and nothing else. The PNG files
    are read for what is a statistic of several of them (`seed_correlations`).

    Parameters
    ----------
    folder
        The run.
    records
        Stimuli that are done, in the order of the plan; read once.
    failures
        Stimuli that could not be made.
    accept
        Thresholds that the table of stimuli says the verdict of.
    target
        Folder that the tables are written to; by default that of the run.

    Raises
    ------
    StimgenError
        If a PNG file is not the one that its record describes.
    StoreError
        If the folder cannot be written.
    """
    target = target or folder.path
    exemplars: list[Exemplar] = []
    with contextlib.ExitStack() as files:
        long = [LongFile(files, target, name) for name in LONG_TABLES]

        def stimuli_rows() -> Iterator[Row]:
            for some in _together(records):
                for table in long:
                    table.add(some)
                for record in some:
                    exemplars.append(Exemplar.of(record))
                    yield stimulus_row(record, accept)

        stimuli = table_of(map(plain, stimuli_rows()))
        correlations = seed_correlations(folder, exemplars)
        stimuli[CORRELATION] = [correlations[one.stimulus_id] for one in exemplars]
    _write(target, "stimuli", *described("stimuli", stimuli))
    for name in LONG_TABLES:
        write_atomically(target / f"{name}.json", as_text(name, [])[1])
    _write(target, "failures", *described("failures", table_of(plain(vars(one)) for one in failures)))
    return sum(not accepted for accepted in stimuli["accepted"]) if exemplars else 0


class LongFile:
    """A table with many rows of each stimulus, while it is written."""

    def __init__(self, files: contextlib.ExitStack, folder: Path, name: str) -> None:
        self._name = name
        self._file = files.enter_context(writing_atomically(folder / f"{name}.csv"))
        self._file.write(as_text(name, [])[0].encode())

    def add(self, records: Iterable[Record]) -> None:
        """Write the rows of some records."""
        rows = itertools.chain.from_iterable(map(LONG_TABLES[self._name], records))
        _, _, lines = as_text(self._name, rows)[0].partition("\n")
        self._file.write(lines.encode())


def _together(records: Iterable[Record]) -> Iterator[list[Record]]:
    rest = iter(records)
    while some := list(itertools.islice(rest, TOGETHER)):
        yield some


def _write(folder: Path, name: str, table: pd.DataFrame, dictionary: Dictionary) -> None:
    with writing_atomically(folder / f"{name}.csv") as file:
        for piece in csv_pieces(table):
            file.write(piece.encode())
    write_atomically(folder / f"{name}.json", to_json(dictionary))


def as_text(name: str, rows: Iterable[Row]) -> tuple[str, str]:
    """Return a table and its data dictionary as they are in their files.

    Parameters
    ----------
    name
        Name of the table.
    rows
        Its rows. Those of one stimulus give the lines that it has in the whole table, if the table is one of
        `LONG_TABLES`; the columns of stimuli.csv are those of all stimuli together.
    """
    table, dictionary = described(name, table_of(plain(row) for row in rows))
    return to_csv(table), to_json(dictionary)


def described(name: str, table: pd.DataFrame) -> tuple[pd.DataFrame, Dictionary]:
    """Return a table as it is written, and the descriptions of its columns; see `in_order`."""
    table, dictionary = in_order(name, table)
    # Whole numbers with gaps stay whole numbers.
    for column in WHOLE_NUMBERS:
        if column in table:
            table[column] = table[column].astype("Int64")
    return table, dictionary


def stimulus_row(record: Record, accept: AcceptSpec) -> Row:
    """Return what the record says of the row of stimuli.csv, with the verdict of the thresholds `accept`."""
    synthesis = record.synthesis
    residuals = record.control.residuals if record.control else {}
    measured_in = record.measured_in
    row: Row = {
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
        **statistic_columns(record, record.image.size_deg),
    }
    on_file = [distance for distance in record.distances if distance.stage == "file"]
    row |= gram_columns(
        [GramDistance(one.layer, one.gram_loss, one.gram_relative) for one in on_file],
        [GramScale(scale.layer, scale.floor, scale.ceiling) for scale in record.scales],
    )
    matched = [distance.gram_relative for distance in on_file if distance.constrained]
    held_out = [distance.gram_relative for distance in on_file if not distance.constrained]
    row |= {
        "gram_relative_matched": max(matched, default=None),
        "gram_relative_held_out": max(held_out, default=None) if record.kind == "texture" else None,
    }
    row |= portilla_simoncelli_columns(record.portilla_simoncelli or {})
    reasons = reasons_to_reject(record, accept)
    return row | {
        "accepted": not reasons,
        "reject_reason": " ".join(reasons) or None,
        "source_sha256": f"sha256:{record.source.sha256}",
        "png_sha256": f"sha256:{record.png_sha256}",
    }


def distance_rows(record: Record) -> list[Row]:
    """Return the rows of gram_distances.csv."""
    scales = {scale.layer: scale for scale in record.scales}
    return [
        {
            "stimulus_id": record.stimulus_id,
            **distance.model_dump(),
            "gram_floor": scales[distance.layer].floor,
            "gram_ceiling": scales[distance.layer].ceiling,
        }
        for distance in record.distances
    ]


def spectrum_rows(record: Record) -> list[Row]:
    """Return the rows of spectra.csv: one per whole number of cycles per image."""
    side = record.image.size_deg
    powers = zip(record.spectrum.power, record.spectrum.power_source, strict=True)
    return [
        {
            "stimulus_id": record.stimulus_id,
            "frequency_cpi": frequency,
            "frequency_cpd": frequency / side if side else None,
            "power": power,
            "power_source": power_source,
        }
        for frequency, (power, power_source) in enumerate(powers, start=1)
    ]


def trace_rows(record: Record) -> list[Row]:
    """Return the rows of traces.csv: one for the start of each stage, and one per iteration."""
    rows = []
    for number, stage in enumerate(record.synthesis.traces if record.synthesis else (), start=1):
        iteration = 0
        for evaluation, (loss, accepted) in enumerate(
            zip(stage.losses, stage.accepted, strict=True), start=1
        ):
            iteration += accepted
            if accepted or evaluation == 1:
                rows.append(
                    {
                        "stimulus_id": record.stimulus_id,
                        "synthesis_stage": number,
                        "scale_px": stage.size_px,
                        "layers": " ".join(stage.layers),
                        "precision": stage.precision,
                        "metric": stage.metric,
                        "stop_reason": stage.stop_reason,
                        "iteration": iteration,
                        "evaluations": evaluation,
                        "loss": loss,
                    }
                )
    return rows


def _words(matching: MatchingSpec) -> str | None:
    """Return what was matched in words such as "histogram=source luminance=set"; None for nothing."""
    words = [f"{name}={to}" for name, to in matching.asked.items()]
    if words and matching.channels != "rgb":
        words.append(f"channels={matching.channels}")
    if words and matching.iterations > 1:
        words.append(f"iterations={matching.iterations}")
    return " ".join(words) or None


def plain(row: Row) -> Row:
    """Return a row whose texts stay in their cells: PsychoPy reads a comma as the start of a list."""
    return {header: _in_cell(value) if isinstance(value, str) else value for header, value in row.items()}


@functools.lru_cache(maxsize=4096)
def _in_cell(text: str) -> str:
    return " ".join(text.replace(",", ";").split())


LONG_TABLES: dict[str, Callable[[Record], list[Row]]] = {
    "gram_distances": distance_rows,
    "spectra": spectrum_rows,
    "traces": trace_rows,
}
"""Tables with many rows of each stimulus: name, and what makes the rows of a record."""
