"""The report: one HTML file that needs no network, made of records and tables by a template."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

import itables.options
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from stimgen import __version__
from stimgen.errors import InputError
from stimgen.networks.catalogue import published_weights
from stimgen.report.finished import read_dictionary, read_rows
from stimgen.report.methods import methods
from stimgen.report.plots import plots
from stimgen.report.reported import Entry, ReportedRun, entries, read_runs, unique
from stimgen.report.source_images import source_images
from stimgen.report.thumbnails import SMALLEST_PX, picture, thumbnail_side
from stimgen.runs.record import NetworkRecord
from stimgen.runs.regular_files import read_regular
from stimgen.runs.store import RunFolder, write_atomically

FILE = "report.html"
EMBEDDED = {"plotly": "Plotly", "itables": "itables with DataTables", "jinja2": "Jinja"}
COLUMNS_SHOWN = (
    "run",
    "stimulus_id",
    "source",
    "condition",
    "seed",
    "luminance_mean",
    "rms_contrast",
    "gram_relative_matched",
    "gram_relative_held_out",
    "accepted",
    "reject_reason",
)
"""Columns of stimuli.csv that the table begins with; a button shows the others."""


def write_report(folders: Sequence[Path], out: Path | None = None) -> Path:
    """Write the report on one or several runs, and return its path.

    Parameters
    ----------
    folders
        Run folders, also of interrupted runs.
    out
        The HTML file; by default report.html in the folder of the only run.

    Raises
    ------
    InputError
        If a folder is no run or damaged, or `out` is not an HTML file in a folder that exists, or is needed,
        because there are several runs.
    StoreError
        If the file cannot be written.
    """
    path = _path(folders, out)
    runs = read_runs(folders)
    write_atomically(path, render(runs, path.resolve().parent))
    return path


def _path(folders: Sequence[Path], out: Path | None) -> Path:
    if out is None:
        if len(folders) > 1:
            raise InputError(
                f"{len(folders)} runs, and no file for their report.", "Name one with --out FILE.html."
            )
        return folders[0] / FILE
    if out.suffix.lower() not in (".html", ".htm") or not out.parent.is_dir():
        raise InputError(
            f"--out {out} is not an HTML file in a folder that exists.", "Name a file that ends in .html."
        )
    return out


def render(runs: Sequence[ReportedRun], folder: Path) -> str:
    """Return the page.

    Parameters
    ----------
    runs
        What it is about.
    folder
        Where it will lie, absolute: images in full size are linked relative to it.

    Raises
    ------
    ImageError
        If a stimulus is no intact PNG file.
    """
    stimuli = entries(runs)
    largest = max((entry.record.image.size_px for entry in stimuli), default=SMALLEST_PX)
    side = min(thumbnail_side(len(stimuli)), largest)
    pictures = {str(entry.png): picture(entry, side) for entry in stimuli}
    read = source_images(runs, stimuli, side)
    environment = Environment(
        loader=PackageLoader("stimgen.report"),
        autoescape=True,  # names, messages and manifests are text, whatever is in them
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"date": _date, "breaks": _with_breaks}
    # As it is in the file, because the page names its SHA-256.
    script = files("stimgen.report").joinpath("templates/report.js").read_text(encoding="utf-8")
    bundle = Path(itables.options.dt_bundle)
    drawn = plots(stimuli, pictures) if stimuli else ()
    return environment.get_template("report.html").render(
        runs=runs,
        several=len(runs) > 1,
        title=", ".join(run.label for run in runs),
        stimuli=stimuli,
        side=side,
        shown_px=max(side, SMALLEST_PX),
        rows=_rows(runs, stimuli),
        columns=[(run, condition, condition in run.textures) for run in runs for condition in run.conditions],
        pictures=pictures,
        data=_data(stimuli, folder, read),
        plots=[{"id": plot.id, "layout": plot.layout, "views": plot.views} for plot in drawn],
        views=list(drawn[0].views) if drawn else [],
        table=_table(runs),
        methods={run.label: methods(run) for run in runs},
        networks=_networks(runs),
        manifests={run.label: _manifests(run) for run in runs},
        seconds={run.label: sum(record.made.seconds for record in run.records) for run in runs},
        devices={run.label: unique(record.made.device for record in run.records) for run in runs},
        versions=_versions(runs),
        made_with={name: version(package) for package, name in EMBEDDED.items()},
        stimgen_version=__version__,
        script=script,
        script_sha256=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        libraries={"plotly": get_plotlyjs(), "datatables": bundle.read_text(encoding="utf-8")},
        datatables_css=bundle.with_suffix(".css").read_text(encoding="utf-8"),
    )


def _rows(runs: Sequence[ReportedRun], stimuli: Sequence[Entry]) -> list[tuple[str, list[list[Any]]]]:
    """Return the grid: by source label, for each run and condition what became of each stimulus."""
    made = {(entry.run.label, entry.record.stimulus_id): n for n, entry in enumerate(stimuli)}
    failed = {(run.label, row["stimulus_id"]): row["error"] for run in runs for row in run.failures}
    labels = unique(run.source_label(source, runs) for run in runs for source in run.sources)
    rows = []
    for label in labels:
        cells: list[list[Any]] = []
        for run in runs:
            of_label = [source for source in run.sources if run.source_label(source, runs) == label]
            for condition in run.conditions:
                asked = [name for source in of_label for name in run.asked(source, condition)]
                places = [(run.label, name) for name in asked]
                cells.append(
                    [
                        {"entry": stimuli[made[place]], "n": made[place], "error": None}
                        if place in made
                        else {"entry": None, "n": None, "error": failed.get(place)}
                        for place in places
                    ]
                )
        rows.append((label, cells))
    return rows


def _data(stimuli: Sequence[Entry], folder: Path, read: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the page's script needs to know of each stimulus, in the order of `stimuli`."""
    sources: dict[str, dict[str, Any]] = {}
    for number, entry in enumerate(stimuli):
        if entry.is_source:
            sources.setdefault(entry.source, {"stimulus": number})
    sources |= {label: {"image": image.image, "note": image.note} for label, image in read.items()}
    return {
        "stimuli": [
            {
                "id": entry.record.stimulus_id,
                "source": entry.source,
                "condition": entry.condition,
                "seed": entry.record.seed,
                "href": _href(entry.png, folder),
                "size": entry.record.image.size_px,
            }
            for entry in stimuli
        ],
        "sources": sources,
    }


def _href(file: Path, folder: Path) -> str:
    try:
        return quote(Path(os.path.relpath(file.resolve(), folder)).as_posix())
    except ValueError:  # another drive on Windows
        return file.resolve().as_uri()


def _table(runs: Sequence[ReportedRun]) -> dict[str, Any]:
    """Return stimuli.csv of all runs: cells as text, as they are in the file."""
    headers = unique(header for run in runs for header in run.run.table.columns if header != "path")
    dictionary: dict[str, Any] = {}
    rows = []
    for run in runs:
        folder = run.run.folder
        dictionary |= read_dictionary(folder / "stimuli.json")
        for row in read_rows(folder / "stimuli.csv") if run.records else ():
            first = [run.label] if len(runs) > 1 else []
            rows.append([*first, *(row.get(header, "") for header in headers)])
    numbers = {
        header
        for run in runs
        for header in run.run.table.select_dtypes(include="number").columns
        if run.run.table[header].notna().any()
    }
    if len(runs) > 1:
        headers = ["run", *headers]
    return {
        "columns": [
            {
                "name": header,
                "title": dictionary.get(header, {}).get("Description", "Run of the stimulus."),
                "number": header in numbers,
                "shown": header in COLUMNS_SHOWN,
            }
            for header in headers
        ],
        "rows": rows,
    }


def _networks(runs: Sequence[ReportedRun]) -> list[dict[str, Any]]:
    """Return every network that made or measured a stimulus, with the terms of published weights."""
    found: dict[NetworkRecord, None] = {}
    for run in runs:
        for record in run.records:
            found |= {record.network: None, record.measured_in: None}
    networks = []
    for network in found:
        published = published_weights(network.name, network.weights)
        terms = {"licence": published.licence, "citation": published.citation} if published else {}
        networks.append(network.model_dump() | {"licence": "", "citation": ""} | terms)
    return networks


def _manifests(run: ReportedRun) -> dict[str, str]:
    folder = RunFolder(run.run.folder).path
    names = ("manifest.yaml", "manifest.resolved.yaml")
    # A manifest of any encoding was given; it is only shown.
    return {
        name: read_regular(folder / name).decode("utf-8", errors="replace")
        for name in names
        if (folder / name).is_file() and not (folder / name).is_symlink()
    }


def _versions(runs: Sequence[ReportedRun]) -> dict[str, list[str]]:
    """Return by package the versions that made the stimuli."""
    versions: dict[str, list[str]] = {}
    for run in runs:
        for record in run.records:
            for package, number in record.made.versions.items():
                known = versions.setdefault(package, [])
                if number not in known:
                    known.append(number)
    return versions


def _with_breaks(name: str) -> Markup:
    """Return a name that may be broken after an underscore."""
    return Markup("_<wbr>").join(name.split("_"))


def _date(text: str | None) -> str:
    """Return an ISO time as people write it; empty if there is none."""
    if not text:
        return ""
    try:
        return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M %Z")
    except ValueError:  # somebody edited it
        return text
