"""Runs as a report or a figure shows them: the table of stimuli, names in order, and what is missing."""

from __future__ import annotations

import io
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import TypeAdapter, ValidationError

from stimgen.bounded import MOST_TABLE_BYTES, read_file
from stimgen.controls import CONTROLS
from stimgen.errors import InputError
from stimgen.manifest.document import MAX_BYTES, ManifestError, parse
from stimgen.runs.load import Run, load_run
from stimgen.runs.record import SourceRecord
from stimgen.runs.store import RunFolder

_DICTIONARY = TypeAdapter(dict[str, dict[str, str]])
NEEDED = ("source", "condition", "kind", "seed", "matching", "source_sha256", "accepted")
RUN_AGAIN = "Run stimgen run with its manifest again: it keeps what is done and writes the tables anew."


@dataclass(frozen=True, eq=False)
class ReportedRun(Run):
    """A run in a report or a figure.

    `label` distinguishes runs of the same name. `manifest` is the resolved manifest as plain data, of which
    only names are relied on: other versions have other settings.
    """

    label: str
    manifest: Mapping[str, Any]

    @cached_property
    def summary(self) -> Mapping[str, Any]:
        """run.json."""
        return RunFolder(self.folder).read_summary()

    @cached_property
    def failures(self) -> list[dict[Hashable, Any]]:
        """stimulus_id, error and cure of every stimulus that could not be made."""
        columns = ["stimulus_id", "error", "cure"]
        table = self.read_table("failures", usecols=columns, dtype=str, keep_default_na=False)
        return table.to_dict("records")

    @property
    def rejected(self) -> dict[str, str]:
        """Reason by the id of every stimulus that is not accepted."""
        rows = self.table[~self.table["accepted"].astype(bool)]
        return dict(zip(rows["stimulus_id"], rows["reject_reason"], strict=True))

    @property
    def missing(self) -> int:
        """Number of stimuli that were neither made nor failed, because the run was interrupted."""
        return max(0, int(self.summary["stimuli"]) - len(self.table) - len(self.failures))

    @property
    def controls(self) -> dict[str, str]:
        """Name of the control by condition."""
        return {str(control["id"]): str(control["name"]) for control in self.manifest["controls"]}

    def names(self, key: Literal["condition", "source", "seed"]) -> tuple[str, ...]:
        """Return the conditions (layer sets before controls), source ids or seeds, as in the manifest."""
        planned = {
            "condition": [*self.manifest["layer_sets"], *self.controls],
            "source": [source["id"] for source in self.manifest["sources"]],
            "seed": self.manifest["seeds"],
        }[key]
        # The table may belong to an earlier manifest while a run with a new one is under way.
        return tuple(dict.fromkeys(map(str, [*planned, *self.table[key].dropna()])))

    @property
    def originals(self) -> frozenset[str]:
        """Conditions that show the source itself."""
        registered = {condition: name for condition, name in self.controls.items() if name in CONTROLS}
        return frozenset(condition for condition, name in registered.items() if CONTROLS[name].is_source)

    @property
    def shown_conditions(self) -> tuple[str, ...]:
        """Conditions in the order of a report: originals, layer sets, other controls."""
        return tuple(sorted(self.names("condition"), key=lambda name: name not in self.originals))

    def planned_ids(self, source: str, condition: str) -> list[str]:
        """Return the ids of the stimuli that the manifest asks for of one source in one condition."""
        name = self.controls.get(condition, "")
        if name in CONTROLS and not CONTROLS[name].seeded:
            return [f"{source}-{condition}"]
        return [f"{source}-{condition}-s{seed}" for seed in self.names("seed")]

    @property
    def source_records(self) -> dict[str, SourceRecord]:
        """What the records say of each source, by its id."""
        return {record.source.id: record.source for record in self.records}

    @property
    def versions(self) -> dict[str, list[str]]:
        """Versions of each package with which the stimuli were made."""
        pairs = dict.fromkeys(pair for record in self.records for pair in record.made.versions.items())
        names = dict.fromkeys(name for name, _ in pairs)
        return {name: [version for package, version in pairs if package == name] for name in names}

    @cached_property
    def dictionary(self) -> dict[str, dict[str, str]]:
        """Description of each column of stimuli.csv; empty if there is no stimuli.json."""
        path = self.folder / "stimuli.json"
        if not path.exists():
            return {}
        try:
            return _DICTIONARY.validate_json(read_file(path, MOST_TABLE_BYTES), strict=True)
        except (OSError, ValidationError):
            raise InputError(f"{path} is not a data dictionary as stimgen writes it.", RUN_AGAIN) from None

    def read_table(self, name: str, **options: Any) -> pd.DataFrame:
        """Return the table NAME.csv of the run; `options` are those of `pandas.read_csv`."""
        path = self.folder / f"{name}.csv"
        try:
            table: pd.DataFrame = pd.read_csv(io.BytesIO(read_file(path, MOST_TABLE_BYTES)), **options)
        except (OSError, ValueError) as error:
            raise InputError(f"{path} cannot be read: {error}.", RUN_AGAIN) from None
        return table


def read_runs(folders: Sequence[Path], *, check: bool = True) -> tuple[ReportedRun, ...]:
    """Read run folders, also of interrupted runs; with `check`, compare PNG files with their records."""
    places = [folder.resolve() for folder in folders]
    if twice := [str(folder) for folder in folders if places.count(folder.resolve()) > 1]:
        raise InputError(f"{twice[0]} is named twice.", "Name each run once.")
    runs = [load_run(folder, check_hashes=check, complete=False) for folder in folders]
    for run in runs:
        if lacking := [name for name in NEEDED if name not in run.table]:
            message = f"{run.folder / 'stimuli.csv'} has no column {lacking[0]}: stimgen did not write it."
            raise InputError(message, RUN_AGAIN)
    # Runs of one name are distinguished by their folder, or else by its path.
    labels = [run.name for run in runs]
    for longer in ([run.folder.name for run in runs], [str(run.folder) for run in runs]):
        if len(set(labels)) < len(runs):
            labels = [f"{run.name} ({folder})" for run, folder in zip(runs, longer, strict=True)]
    return tuple(
        ReportedRun(
            folder=folder,  # as the user named it
            name=run.name,
            records=tuple(run.records) if check else run.records,
            table=run.table,
            label=label,
            manifest=_manifest(run.folder / "manifest.resolved.yaml"),
        )
        for folder, run, label in zip(folders, runs, labels, strict=True)
    )


def _manifest(path: Path) -> Mapping[str, Any]:
    data: Any = None
    try:
        data = parse(read_file(path, MAX_BYTES).decode("utf-8"), str(path)).data
        is_manifest = (
            isinstance(data["layer_sets"], dict)
            and isinstance(data["seeds"], list)
            and all(source["id"] for source in data["sources"])
            and all(control["id"] and control["name"] for control in data["controls"])
        )
    except FileNotFoundError:
        raise InputError(f"There is no {path.name} in {path.parent}.", RUN_AGAIN) from None
    except (OSError, UnicodeDecodeError, ManifestError, KeyError, TypeError):
        is_manifest = False
    if not is_manifest:
        raise InputError(f"{path} is not a resolved manifest as stimgen writes it.", RUN_AGAIN)
    return dict(data)


def shown_stimuli(runs: Sequence[ReportedRun]) -> pd.DataFrame:
    """Return stimuli.csv of all runs in one table, with more columns.

    `n` is the number of the row, `run` the label of the run, `label` that of the source (`source_labels`),
    `shown` that of the condition, and `is_source` whether the image is the source itself.
    """
    tables = []
    for run in runs:
        table, labels = run.table, source_labels(run, runs)
        matched_to_set = table["matching"].astype(str).str.contains("=set")
        more = {
            "run": run.label,
            "label": table["source"].map(labels),
            "shown": [shown_condition(run, condition, runs) for condition in table["condition"]],
            "is_source": table["condition"].isin(run.originals) & ~matched_to_set,
        }
        tables.append(pd.concat([pd.DataFrame(more, index=table.index), table], axis=1))
    stimuli = pd.concat(tables, ignore_index=True)
    return stimuli.assign(n=range(len(stimuli)))


def shown_condition(run: ReportedRun, condition: str, runs: Sequence[ReportedRun]) -> str:
    """Return the name of a condition, with the run's label in a report on several runs."""
    return f"{run.label}: {condition}" if len(runs) > 1 else condition


def source_labels(run: ReportedRun, runs: Sequence[ReportedRun]) -> dict[str, str]:
    """Return the label of each source of a run: its id, and the run's label if runs differ in its image."""
    images: dict[str, set[object]] = {}
    for record in (record for other in runs for record in other.records):
        image = (record.source.sha256, record.source.crop_box, record.image)
        images.setdefault(record.source.id, set()).add(image)
    several = {source for source, found in images.items() if len(found) > 1}
    ids = run.names("source")
    return {source: f"{source} ({run.label})" if source in several else source for source in ids}
