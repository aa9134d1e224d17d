"""Runs as a report needs them: records, tables, what is missing, and names that tell the runs apart."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stimgen.bounded import read_file
from stimgen.controls import CONTROLS, shows_source
from stimgen.errors import InputError
from stimgen.report.finished import RUN_AGAIN, read_manifest
from stimgen.runs.load import MOST_TABLE_BYTES, Run, load_run
from stimgen.runs.record import Record
from stimgen.runs.store import RunFolder

FAILURE_COLUMNS = ("stimulus_id", "error", "cure")


@dataclass(frozen=True, eq=False)
class ReportedRun:
    """A run in a report.

    Attributes
    ----------
    label
        Its name, or where runs have the same name something longer that tells them apart.
    run
        Folder and table of what was made.
    records
        The same, in the order of the plan; read once, because a report asks for them often.
    manifest
        The resolved manifest, plain data.
    summary
        run.json.
    failures
        What could not be made: stimulus_id, error and cure.
    rejected
        Reason by the id of a stimulus that is not accepted.
    """

    label: str
    run: Run
    records: tuple[Record, ...]
    manifest: Mapping[str, Any]
    summary: Mapping[str, Any]
    failures: tuple[Mapping[str, str], ...]
    rejected: Mapping[str, str]

    @property
    def planned(self) -> int:
        """How many stimuli the manifest asks for."""
        return int(self.summary["stimuli"])

    @property
    def missing(self) -> int:
        """How many stimuli were neither made nor failed, because the run was interrupted."""
        return max(0, self.planned - len(self.records) - len(self.failures))

    @property
    def sources(self) -> tuple[str, ...]:
        """Ids of the sources, in the order of the manifest."""
        return tuple(str(source["id"]) for source in self.manifest["sources"])

    @property
    def conditions(self) -> tuple[str, ...]:
        """Names of the conditions: originals, layer sets, other controls, in the order of the manifest."""
        controls = {str(control["id"]): str(control["name"]) for control in self.manifest["controls"]}
        originals = [condition for condition, name in controls.items() if shows_source(name)]
        others = [condition for condition in controls if condition not in originals]
        return (*originals, *map(str, self.manifest["layer_sets"]), *others)

    @property
    def textures(self) -> frozenset[str]:
        """Conditions that are layer sets."""
        return frozenset(map(str, self.manifest["layer_sets"]))

    def asked(self, source: str, condition: str) -> list[str]:
        """Return the ids of the stimuli that the manifest asks for of one source in one condition."""
        names = {str(control["id"]): str(control["name"]) for control in self.manifest["controls"]}
        if condition in names and names[condition] in CONTROLS and not CONTROLS[names[condition]].seeded:
            return [f"{source}-{condition}"]
        return [f"{source}-{condition}-s{seed}" for seed in self.manifest["seeds"]]

    def source_label(self, source: str, runs: Sequence[ReportedRun]) -> str:
        """Return the source's id, with the run's label if it is another image in another run."""
        images = {image for run in runs if (image := run.image_of(source)) is not None}
        return f"{source} ({self.label})" if len(images) > 1 else source

    def image_of(self, source: str) -> tuple[Any, ...] | None:
        """Return what a source's image depends on; None if no stimulus of it was made."""
        record = next((record for record in self.records if record.source.id == source), None)
        if record is None:
            return None
        return record.source.sha256, record.source.crop_box, record.image.size_px, record.image.color


def read_runs(folders: Sequence[Path]) -> tuple[ReportedRun, ...]:
    """Read run folders, also those of interrupted runs.

    Raises
    ------
    InputError
        If a folder is no run or damaged (`load_run`), its resolved manifest or failures.csv cannot be read,
        or a folder is named twice.
    """
    places = [folder.resolve() for folder in folders]
    if twice := [str(folder) for folder in folders if places.count(folder.resolve()) > 1]:
        raise InputError(f"{twice[0]} is named twice.", "Name each run once.")
    runs = [load_run(folder, complete=False) for folder in folders]
    return tuple(_reported(run, label) for run, label in zip(runs, _labels(runs), strict=True))


def _labels(runs: Sequence[Run]) -> list[str]:
    """Return names that are all different: of manifests, else of folders, else whole paths."""
    choices: list[list[str]] = [
        [run.name for run in runs],
        [f"{run.name} ({run.folder.name})" for run in runs],
    ]
    for labels in choices:
        if len(set(labels)) == len(labels):
            return labels
    return [f"{run.name} ({run.folder})" for run in runs]


def _reported(run: Run, label: str) -> ReportedRun:
    folder = RunFolder(run.folder)
    table = run.table
    reasons = table.loc[~table["accepted"].astype(bool), ["stimulus_id", "reject_reason"]]
    return ReportedRun(
        label=label,
        run=run,
        records=tuple(run.records),
        manifest=read_manifest(folder.path / "manifest.resolved.yaml"),
        summary=folder.read_summary(),
        failures=_failures(folder.path / "failures.csv"),
        rejected={str(name): str(reason) for name, reason in reasons.itertuples(index=False)},
    )


def _failures(path: Path) -> tuple[Mapping[str, str], ...]:
    try:
        text = read_file(path, MOST_TABLE_BYTES).decode("utf-8")
        reader = csv.DictReader(io.StringIO(text, newline=""), restval="", restkey="")
        rows = tuple(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read: {error}.", RUN_AGAIN) from None
    if tuple(reader.fieldnames or ()) != FAILURE_COLUMNS:
        raise InputError(f"{path} is not a table of failures as stimgen writes it.", RUN_AGAIN)
    return rows


@dataclass(frozen=True, eq=False)
class Entry:
    """A stimulus in a report.

    Attributes
    ----------
    run
        Its run.
    record
        Its record.
    source
        Label of its source, the same for the same image in several runs.
    condition
        Name of its condition; in a report on several runs with the run's label.
    """

    run: ReportedRun = field(repr=False)
    record: Record = field(repr=False)
    source: str
    condition: str

    @property
    def png(self) -> Path:
        """The file that is shown."""
        return RunFolder(self.run.run.folder).png(self.record.stimulus_id)

    @property
    def distance(self) -> float | None:
        """Relative Gram distance of the file on the worst matched layer; None for what matched none."""
        found = [d.gram_relative for d in self.record.distances if d.stage == "file" and d.constrained]
        return max(found, default=None)

    @property
    def is_source(self) -> bool:
        """Whether the file is the source itself: the control original, with nothing matched to a set."""
        control = self.record.control
        asked = self.record.matching.settings.asked.values()
        return control is not None and shows_source(control.name) and "set" not in asked


def entries(runs: Sequence[ReportedRun]) -> tuple[Entry, ...]:
    """Return the stimuli of all runs."""
    return tuple(
        Entry(
            run,
            record,
            run.source_label(record.source.id, runs),
            condition_label(run, record.condition, runs),
        )
        for run in runs
        for record in run.records
    )


def condition_label(run: ReportedRun, condition: str, runs: Sequence[ReportedRun]) -> str:
    """Return the name of a condition, with the run's label in a report on several runs."""
    return f"{run.label}: {condition}" if len(runs) > 1 else condition


def unique(names: Iterable[str]) -> list[str]:
    """Return names in the order of their first appearance."""
    return list(dict.fromkeys(names))
