"""Runs as a report or a figure shows them: the table of stimuli, names in order, and what is missing."""

from __future__ import annotations

import io
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import TypeAdapter, ValidationError

from stimgen.bounded import read_file
from stimgen.controls import CONTROLS
from stimgen.errors import InputError
from stimgen.manifest.document import MAX_BYTES, parse
from stimgen.manifest.problems import ManifestError
from stimgen.runs.load import MOST_TABLE_BYTES, Run, load_run
from stimgen.runs.record import NetworkRecord, Record, SourceRecord
from stimgen.runs.store import RunFolder

_DICTIONARY = TypeAdapter(dict[str, dict[str, str]])
RUN_AGAIN = "Run stimgen run with its manifest again: it keeps what is done and writes the tables anew."


@dataclass(frozen=True, eq=False)
class ReportedRun:
    """A run in a report or a figure.

    Attributes
    ----------
    label
        Its name, or something longer that distinguishes runs of the same name.
    run
        The run that `load_run` returned.
    manifest
        The resolved manifest as plain data. Runs of other versions may have other settings, so only its
        names are relied on.
    """

    label: str
    run: Run
    manifest: Mapping[str, Any]

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.run.folder

    @property
    def table(self) -> pd.DataFrame:
        """stimuli.csv, with the absolute path of each PNG file."""
        return self.run.table

    @cached_property
    def records(self) -> tuple[Record, ...]:
        """The records, in the order of the table."""
        return tuple(self.run.records)

    @property
    def source_records(self) -> dict[str, SourceRecord]:
        """What the records say of each source, by its id."""
        return {record.source.id: record.source for record in self.records}

    @property
    def networks(self) -> list[NetworkRecord]:
        """Every network that made or measured a stimulus."""
        pairs = ((record.network, record.measured_in) for record in self.records)
        return list(dict.fromkeys(network for pair in pairs for network in pair))

    @property
    def devices(self) -> list[str]:
        """Devices on which the stimuli were made."""
        return list(dict.fromkeys(record.made.device for record in self.records))

    @property
    def seconds(self) -> float:
        """Time that all stimuli took together."""
        return sum(record.made.seconds for record in self.records)

    @property
    def versions(self) -> dict[str, list[str]]:
        """Versions of each package with which the stimuli were made."""
        versions: dict[str, dict[str, None]] = {}
        for record in self.records:
            for package, version in record.made.versions.items():
                versions.setdefault(package, {})[version] = None
        return {package: list(of_package) for package, of_package in versions.items()}

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
    def planned(self) -> int:
        """Number of stimuli that the manifest asks for."""
        return int(self.summary["stimuli"])

    @property
    def missing(self) -> int:
        """Number of stimuli that were neither made nor failed, because the run was interrupted."""
        return max(0, self.planned - len(self.table) - len(self.failures))

    @property
    def controls(self) -> dict[str, str]:
        """Name of the control by condition."""
        return {str(control["id"]): str(control["name"]) for control in self.manifest["controls"]}

    @property
    def conditions(self) -> tuple[str, ...]:
        """Conditions in the order of the manifest, layer sets before controls."""
        return self._names([*map(str, self.manifest["layer_sets"]), *self.controls], "condition")

    @property
    def shown_conditions(self) -> tuple[str, ...]:
        """Conditions in the order of a report: originals, layer sets, other controls."""
        return tuple(sorted(self.conditions, key=lambda name: name not in self.originals))

    @property
    def originals(self) -> frozenset[str]:
        """Conditions that show the source itself."""
        return frozenset(condition for condition, name in self.controls.items() if is_original(name))

    @property
    def sources(self) -> tuple[str, ...]:
        """Ids of the sources in the order of the manifest."""
        return self._names([str(source["id"]) for source in self.manifest["sources"]], "source")

    @property
    def seeds(self) -> tuple[str, ...]:
        """Seeds as text, in the order of the manifest."""
        return self._names(map(str, self.manifest["seeds"]), "seed")

    @cached_property
    def dictionary(self) -> dict[str, dict[str, str]]:
        """Description of each column of stimuli.csv; empty if there is no stimuli.json."""
        path = self.folder / "stimuli.json"
        try:
            return _DICTIONARY.validate_json(read_file(path, MOST_TABLE_BYTES), strict=True)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error}.", RUN_AGAIN) from None
        except ValidationError:
            raise InputError(f"{path} is not a data dictionary as stimgen writes it.", RUN_AGAIN) from None

    def _names(self, planned: Iterable[str], column: str) -> tuple[str, ...]:
        # The table may belong to an earlier manifest while a run with a new one is under way.
        return tuple(dict.fromkeys([*planned, *self.table[column].dropna().astype(str)]))

    def planned_ids(self, source: str, condition: str) -> list[str]:
        """Return the ids of the stimuli that the manifest asks for of one source in one condition."""
        name = self.controls.get(condition, "")
        if name in CONTROLS and not CONTROLS[name].seeded:
            return [f"{source}-{condition}"]
        return [f"{source}-{condition}-s{seed}" for seed in self.seeds]

    def read_table(self, name: str, **options: Any) -> pd.DataFrame:
        """Return another table of the run.

        Parameters
        ----------
        name
            Its name without ".csv".
        **options
            As of `pandas.read_csv`.

        Raises
        ------
        InputError
            If it cannot be read.
        """
        path = self.folder / f"{name}.csv"
        try:
            return pd.read_csv(io.BytesIO(read_file(path, MOST_TABLE_BYTES)), **options)
        except (OSError, ValueError) as error:
            raise InputError(f"{path} cannot be read: {error}.", RUN_AGAIN) from None


def is_original(control: str) -> bool:
    """Return whether a control shows the source itself."""
    return control in CONTROLS and CONTROLS[control].is_source


def read_runs(folders: Sequence[Path], *, check_hashes: bool = True) -> tuple[ReportedRun, ...]:
    """Read run folders, also those of interrupted runs.

    Parameters
    ----------
    folders
        The folders.
    check_hashes
        Whether to compare every PNG file with the SHA-256 in its record.

    Raises
    ------
    InputError
        If a folder is no run or damaged (`load_run`), its resolved manifest cannot be read, or a folder is
        named twice.
    """
    places = [folder.resolve() for folder in folders]
    if twice := [str(folder) for folder in folders if places.count(folder.resolve()) > 1]:
        raise InputError(f"{twice[0]} is named twice.", "Name each run once.")
    runs = [load_run(folder, check_hashes=check_hashes, complete=False) for folder in folders]
    return tuple(
        ReportedRun(label, run, _manifest(run.folder)) for run, label in zip(runs, _labels(runs), strict=True)
    )


def _labels(runs: Sequence[Run]) -> list[str]:
    """Return names that are all different: of manifests, else with the folder, else with its path."""
    by_name = [run.name for run in runs]
    by_folder = [f"{run.name} ({run.folder.name})" for run in runs]
    for labels in (by_name, by_folder):
        if len(set(labels)) == len(labels):
            return labels
    return [f"{run.name} ({run.folder})" for run in runs]


def _manifest(folder: Path) -> Mapping[str, Any]:
    path = folder / "manifest.resolved.yaml"
    try:
        data: Any = parse(read_file(path, MAX_BYTES).decode("utf-8"), str(path)).data
        complete = (
            isinstance(data["layer_sets"], dict)
            and isinstance(data["seeds"], list)
            and all(isinstance(source["id"], str) for source in data["sources"])
            and all(isinstance(control[key], str) for control in data["controls"] for key in ("id", "name"))
        )
    except FileNotFoundError:
        raise InputError(f"There is no {path.name} in {folder}.", RUN_AGAIN) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}.", RUN_AGAIN) from None
    except (ManifestError, KeyError, TypeError):
        complete = False
    if not complete:
        raise InputError(f"{path} is not a resolved manifest as stimgen writes it.", RUN_AGAIN)
    return data  # type: ignore[no-any-return]  # checked above


def shown_stimuli(runs: Sequence[ReportedRun]) -> pd.DataFrame:
    """Return the stimuli of all runs in one table, with columns of a report in front of those of stimuli.csv.

    `n` is the number of the row and `run` the label of the run. `label` is the source's id, with the run's
    label if another run has another image under this id. `shown` is the condition, with the run's label if
    there are several runs. `is_source` says whether the image is the source itself.
    """
    tables = []
    for run in runs:
        labels = source_labels(run, runs)
        table = run.table
        is_source = table["condition"].isin(run.originals) & ~table["matching"].astype(str).str.contains(
            "=set"
        )
        first = pd.DataFrame(
            {
                "run": run.label,
                "label": table["source"].map(labels),
                "shown": [shown_condition(run, condition, runs) for condition in table["condition"]],
                "is_source": is_source,
            },
            index=table.index,
        )
        tables.append(pd.concat([first, table], axis=1))
    stimuli = pd.concat(tables, ignore_index=True)
    return stimuli.assign(n=range(len(stimuli)))


def shown_condition(run: ReportedRun, condition: str, runs: Sequence[ReportedRun]) -> str:
    """Return the name of a condition, with the run's label in a report on several runs."""
    return f"{run.label}: {condition}" if len(runs) > 1 else condition


def source_labels(run: ReportedRun, runs: Sequence[ReportedRun]) -> dict[str, str]:
    """Return the label of each source of a run: its id, and the run's label if runs differ in its image."""
    images: dict[str, set[object]] = {}
    for other in runs:
        for record in other.records:
            image = (record.source.sha256, record.source.crop_box, record.image.size_px, record.image.color)
            images.setdefault(record.source.id, set()).add(image)
    return {
        source: f"{source} ({run.label})" if len(images.get(source, ())) > 1 else source
        for source in run.sources
    }
