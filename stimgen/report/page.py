"""The report: one HTML file that needs no network, made of records and tables by a template."""

from __future__ import annotations

import base64
import hashlib
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

import itables.options
import numpy as np
import pandas as pd
from markupsafe import Markup

from stimgen import __version__
from stimgen.bounded import read_regular
from stimgen.errors import InputError
from stimgen.networks.architectures import published_weights
from stimgen.report import templates
from stimgen.report.images import SMALLEST_PX, missing_sources, thumbnail, thumbnail_side
from stimgen.report.methods import methods
from stimgen.report.plots import plots
from stimgen.report.reported import ReportedRun, read_runs, shown_condition, shown_stimuli, source_labels
from stimgen.runs.store import writing_atomically

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
    """Write the report on one or several runs, and return its path."""
    if out is None and len(folders) > 1:
        message = f"{len(folders)} runs, and no file for their report."
        raise InputError(message, "Name one with --out FILE.html.")
    path = folders[0] / FILE if out is None else out
    if path.suffix.lower() not in (".html", ".htm") or (out is not None and not out.parent.is_dir()):
        message = f"--out {out} is not an HTML file in a folder that exists."
        raise InputError(message, "Name a file that ends in .html.")
    runs = read_runs(folders)
    parts = _render(runs, path.resolve().parent)
    with writing_atomically(path) as file:
        file.writelines(part.encode() for part in parts)
    return path


def _render(runs: Sequence[ReportedRun], folder: Path) -> Iterator[str]:
    """Return the page in parts; images in full size are linked relative to `folder`, where it will lie."""
    stimuli = shown_stimuli(runs)
    largest = stimuli["size_px"].max() if len(stimuli) else SMALLEST_PX
    side = min(thumbnail_side(len(stimuli)), int(largest))
    pictures = [thumbnail(Path(path), side) for path in stimuli["path"]]
    histograms = np.array([histogram for _, histogram in pictures])
    # As it is in the file, because the page names its SHA-256.
    script = files("stimgen.report").joinpath("templates/report.js").read_text(encoding="utf-8")
    plotly = files("plotly").joinpath("package_data/plotly.min.js").read_text(encoding="utf-8")
    bundle = Path(itables.options.dt_bundle)
    drawn = plots(runs, stimuli, histograms) if len(stimuli) else []
    pairs = [(record.network, record.measured_in) for run in runs for record in run.records]
    environment = templates()
    environment.tests["missing"] = pd.isna
    environment.filters["date"] = _date
    environment.filters["breaks"] = lambda name: Markup("_<wbr>").join(name.split("_"))
    return environment.get_template("report.html").generate(
        runs=runs,
        several=len(runs) > 1,
        title=", ".join(run.label for run in runs),
        stimuli=stimuli.to_dict("records"),
        side=side,
        shown_px=max(side, SMALLEST_PX),
        rows=_rows(runs, stimuli),
        columns=[shown_condition(run, name, runs) for run in runs for name in run.shown_conditions],
        thumbnails=[uri for uri, _ in pictures],
        data=_data(runs, stimuli, folder, side),
        plots=drawn,
        views=list(drawn[0]["views"]) if drawn else [],
        table=_table(runs),
        methods={run.label: methods(run) for run in runs},
        networks=list(dict.fromkeys(itertools.chain.from_iterable(pairs))),
        published_weights=published_weights,
        manifests={run.label: _manifests(run) for run in runs},
        made_with={name: version(package) for package, name in EMBEDDED.items()},
        stimgen_version=__version__,
        script=script,
        script_sha256=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        libraries={"plotly": plotly, "datatables": bundle.read_text(encoding="utf-8")},
        datatables_css=bundle.with_suffix(".css").read_text(encoding="utf-8"),
    )


def _rows(runs: Sequence[ReportedRun], stimuli: pd.DataFrame) -> dict[str, list[list[dict[str, Any]]]]:
    """Return the grid: by label of the source, the stimuli of each run and condition, made or not."""
    made = stimuli.set_index(["run", "stimulus_id"])["n"].to_dict()
    failed = {(run.label, row["stimulus_id"]): row["error"] for run in runs for row in run.failures}
    labels = [source_labels(run, runs) for run in runs]
    rows: dict[str, list[list[dict[str, Any]]]] = {}
    for label in dict.fromkeys(label for of_run in labels for label in of_run.values()):
        cells = rows[label] = []
        for run, of_run in zip(runs, labels, strict=True):
            sources = [source for source in run.names("source") if of_run[source] == label]
            for condition in run.shown_conditions:
                ids = [name for source in sources for name in run.planned_ids(source, condition)]
                keys = [(run.label, name) for name in ids]
                cells.append([{"n": made.get(key), "error": failed.get(key)} for key in keys])
    return rows


def _data(runs: Sequence[ReportedRun], stimuli: pd.DataFrame, folder: Path, side: int) -> dict[str, Any]:
    """Return what the page's script needs to know of each stimulus and source."""
    shown = stimuli[stimuli["is_source"]].drop_duplicates("label").set_index("label")["n"]
    sources: dict[str, Any] = {str(label): {"stimulus": n} for label, n in shown.items()}
    return {
        "stimuli": [
            {
                "id": row["stimulus_id"],
                "source": row["label"],
                "condition": row["shown"],
                "seed": None if pd.isna(row["seed"]) else row["seed"],
                "href": _href(Path(row["path"]), folder),
                "size": row["size_px"],
            }
            for row in stimuli.to_dict("records")
        ],
        "sources": sources | missing_sources(runs, stimuli, side),
    }


def _href(file: Path, folder: Path) -> str:
    try:
        return quote(Path(os.path.relpath(file.resolve(), folder)).as_posix())
    except ValueError:  # another drive on Windows
        return file.resolve().as_uri()


def _table(runs: Sequence[ReportedRun]) -> dict[str, Any]:
    """Return stimuli.csv of all runs: cells as text, as they are in the file."""
    tables, dictionary, numbers = [], {"run": {"Description": "Run of the stimulus."}}, set()
    for run in runs:
        table = run.read_table("stimuli", dtype=str, keep_default_na=False)
        tables.append(table.assign(run=run.label) if len(runs) > 1 else table)
        dictionary |= run.dictionary
        filled = run.table.dropna(axis="columns", how="all")
        numbers |= set(filled.select_dtypes(include="number").columns)
    cells = pd.concat(tables).fillna("")
    columns = sorted(cells.columns, key=lambda name: name != "run")
    return {
        "columns": [
            {
                "name": name,
                "title": dictionary.get(name, {}).get("Description", ""),
                "number": name in numbers,
                "shown": name in COLUMNS_SHOWN,
            }
            for name in columns
        ],
        "rows": cells[columns].to_numpy().tolist(),
    }


def _manifests(run: ReportedRun) -> Mapping[str, str]:
    paths = [run.folder / name for name in ("manifest.yaml", "manifest.resolved.yaml")]
    # A manifest in any encoding may have been given; it is only shown.
    return {
        path.name: read_regular(path).decode("utf-8", errors="replace")
        for path in paths
        if path.is_file() and not path.is_symlink()
    }


def _date(text: str | None) -> str:
    """Return an ISO time as people write it, and any other text as it is."""
    try:
        return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M %Z") if text else ""
    except ValueError:
        return text or ""
