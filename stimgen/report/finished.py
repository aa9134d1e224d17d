"""A finished run as a figure needs it: names in the order of its manifest, and the rows of its table."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from stimgen.bounded import read_file
from stimgen.controls import shows_source
from stimgen.errors import InputError
from stimgen.manifest.document import MAX_BYTES, parse, shorten
from stimgen.manifest.problems import ManifestError
from stimgen.runs.record import SUBFOLDER

MOST_TABLE_BYTES = 2**30
_DICTIONARY = TypeAdapter(dict[str, dict[str, str]])
FILENAME = re.compile(rf"stimuli/(?:{SUBFOLDER}/)?[A-Za-z][A-Za-z0-9_-]*\.png")

NEEDED = ("stimulus_id", "filename", "source", "condition", "seed", "source_sha256", "png_sha256")
RUN_AGAIN = "Run stimgen run with its manifest again: it keeps what is done and writes the tables anew."


@dataclass(frozen=True)
class FinishedRun:
    """Names and table of a run.

    Attributes
    ----------
    folder
        The run folder, as named.
    name
        Name of the stimulus set.
    conditions, sources, seeds
        What the run was asked for, in the order of its manifest; of conditions the layer sets first.
    originals
        Conditions that are the control `original`, under whatever name.
    rows
        Rows of stimuli.csv, each by header; all cells are text, empty where a value is not defined.
    units
        Unit by column, from the data dictionary, of columns that have one.
    """

    folder: Path
    name: str
    conditions: tuple[str, ...]
    sources: tuple[str, ...]
    seeds: tuple[str, ...]
    originals: frozenset[str]
    rows: tuple[Mapping[str, str], ...] = field(repr=False)
    units: Mapping[str, str] = field(repr=False)


def read_run(folder: Path) -> FinishedRun:
    """Return what a run folder holds; no image is read.

    Raises
    ------
    InputError
        If it is no run folder, or its table is missing, empty or without a column that is needed.
    """
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}.", "Name the folder that stimgen run wrote.")
    rows = read_rows(folder / "stimuli.csv")
    manifest = read_manifest(folder / "manifest.resolved.yaml")
    controls = {str(control["id"]): control["name"] for control in manifest["controls"]}

    def names(asked: list[str], column: str) -> tuple[str, ...]:
        # The table may be of an earlier manifest, while a run with a new one is under way.
        return tuple(dict.fromkeys([*asked, *(row[column] for row in rows if row[column])]))

    return FinishedRun(
        folder=folder,
        name=str(manifest["name"]),
        conditions=names([*map(str, manifest["layer_sets"]), *controls], "condition"),
        sources=names([str(source["id"]) for source in manifest["sources"]], "source"),
        seeds=names([str(seed) for seed in manifest["seeds"]], "seed"),
        originals=frozenset(condition for condition, name in controls.items() if shows_source(name)),
        rows=rows,
        units=_units(folder / "stimuli.json"),
    )


def read_rows(path: Path) -> tuple[Mapping[str, str], ...]:
    """Return the rows of a table of stimuli by header, all cells as text.

    Raises
    ------
    InputError
        If it cannot be read, is empty, lacks a column that is needed, or names files elsewhere.
    """
    text = _text(path)
    try:
        rows = tuple(csv.DictReader(io.StringIO(text, newline=""), restval="", restkey="", strict=True))
    except csv.Error as error:
        raise InputError(f"{path} is no table as stimgen writes it: {error}.", RUN_AGAIN) from None
    if not rows:
        raise InputError(f"{path} has no rows: the run made no stimulus.", RUN_AGAIN)
    lacking = [column for column in NEEDED if column not in rows[0]]
    if lacking:
        raise InputError(f"{path} has no column {lacking[0]}: stimgen did not write it.", RUN_AGAIN)
    names = ((row["filename"], row["stimulus_id"]) for row in rows)
    elsewhere = next(
        (file for file, name in names if not FILENAME.fullmatch(file) or Path(file).stem != name), None
    )
    if elsewhere is not None:
        message = f'{path} names the file "{shorten(elsewhere)}", which is none of the run\'s stimuli.'
        raise InputError(message, RUN_AGAIN)
    return rows


def read_manifest(path: Path) -> Any:
    """Return the resolved manifest. Only names are read: runs of other versions have other settings."""
    data: Any = None
    try:
        data = parse(_text(path, MAX_BYTES), str(path)).data
        complete = (
            isinstance(data["name"], str)
            and isinstance(data["layer_sets"], dict)
            and isinstance(data["seeds"], list)
            and all(isinstance(source["id"], str) for source in data["sources"])
            and all(isinstance(control[key], str) for control in data["controls"] for key in ("id", "name"))
        )
    except (ManifestError, KeyError, TypeError):
        complete = False
    if not complete:
        raise InputError(f"{path} is not a resolved manifest as stimgen writes it.", RUN_AGAIN)
    return data


def _units(path: Path) -> dict[str, str]:
    """Return the units in a data dictionary; none if there is no dictionary."""
    entries = read_dictionary(path) if path.is_file() else {}
    return {column: entry["Units"] for column, entry in entries.items() if "Units" in entry}


def read_dictionary(path: Path) -> dict[str, dict[str, str]]:
    """Return a data dictionary.

    Raises
    ------
    InputError
        If there is none as stimgen writes it.
    """
    try:
        return _DICTIONARY.validate_json(_text(path), strict=True)
    except ValidationError:
        raise InputError(f"{path} is not a data dictionary as stimgen writes it.", RUN_AGAIN) from None


def _text(path: Path, most_bytes: int = MOST_TABLE_BYTES) -> str:
    try:
        return read_file(path, most_bytes).decode("utf-8")
    except FileNotFoundError:
        raise InputError(f"There is no {path.name} in {path.parent}.", RUN_AGAIN) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}.", RUN_AGAIN) from None
