"""Plots of a report by Plotly, made of the run's tables: one figure per quantity, for all sources or one."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import escape
from numpy.typing import NDArray
from plotly.colors import qualitative, sample_colorscale

from stimgen.report.images import HISTOGRAM_BINS
from stimgen.report.reported import ReportedRun

Trace = dict[str, Any]
"""One line or one set of points, as Plotly's JavaScript takes it.

Its Python classes do the same in a second, and need 50 MB."""
ALL = ""
"""The view of all sources together."""
MOST_FREQUENCIES, MOST_EVALUATIONS = 96, 24
"""Points of a spectrum, and of a stage's losses; of more, those at about equal steps of the logarithm."""
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
# What the scale of the layer sets does not have: no greens, blues and violets.
CONTROL_COLOURS = [
    *(qualitative.Dark2[n] for n in (1, 3, 6, 5, 7)),
    qualitative.Set1[0],
    *qualitative.Set1[4:],
]
LAYOUT = {
    "margin": {"l": 60, "r": 10, "t": 10, "b": 45},
    "height": 360,
    "hovermode": "closest",
    "legend": {"font": {"size": 12}},
    "font": {"family": "system-ui, sans-serif", "size": 13, "color": "#222"},
}
LOG = {"type": "log", "exponentformat": "power"}


def plots(
    runs: Sequence[ReportedRun], stimuli: pd.DataFrame, histograms: NDArray[np.float32]
) -> list[dict[str, Any]]:
    """Return the plots of some stimuli: `id`, Plotly's `layout`, and traces by source label in `views`.

    `stimuli` is what `shown_stimuli` returns of `runs`, and `histograms` (stimuli, bins) their histograms.
    """
    distances = _joined(runs, stimuli, "gram_distances")
    distances = distances[distances["stage"] == "file"]
    spectra = _joined(runs, stimuli, "spectra")
    in_degrees = spectra["frequency_cpd"].notna().all()
    unit, frequency = ("cycles/deg", "frequency_cpd") if in_degrees else ("cycles/image", "frequency_cpi")
    lines = _lines(stimuli)
    layouts: dict[str, tuple[Any, Any]] = {
        "distances": (_axis("layer", type="category"), _axis("relative Gram distance", **LOG)),
        "spectra": (_axis(f"spatial frequency, {unit}", **LOG), _axis("power", **LOG)),
        "losses": (_axis("evaluations of loss and gradient"), _axis("loss", **LOG)),
        "histograms": (_axis("luminance", range=[0, 1]), _axis("share of pixels")),
        "luminance": (_axis("mean luminance"), _axis("SD of luminance")),
    }
    sources = list(stimuli["label"].unique())
    views: dict[str, dict[str, Any]] = {name: {} for name in layouts}
    for view in sources if len(sources) == 1 else [ALL, *sources]:

        def seen(table: pd.DataFrame, view: str = view) -> pd.DataFrame:
            return table if view == ALL else table[table["label"] == view]

        shown = seen(stimuli)
        traces = {
            "distances": _distances(seen(distances), lines),
            "spectra": _spectra(seen(spectra), lines, frequency),
            "losses": _losses(runs, shown, lines),
            "histograms": _histograms(shown, histograms, lines),
            "luminance": _luminance(shown, lines),
        }
        for name, of_plot in traces.items():
            views[name][view] = of_plot
    template = json.loads(files("plotly").joinpath("package_data/templates/simple_white.json").read_bytes())
    layout = LAYOUT | {"template": template}
    return [
        {"id": name, "layout": layout | {"xaxis": x, "yaxis": y}, "views": views[name]}
        for name, (x, y) in layouts.items()
    ]


def _joined(runs: Sequence[ReportedRun], stimuli: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return a table of all runs, with the columns of a report in each row of a stimulus."""
    columns = ["run", "label", "shown", "stimulus_id", "size_px", "measured_in"]
    tables = [run.read_table(name).assign(run=run.label) for run in runs]
    return stimuli[columns].merge(pd.concat(tables), on=["run", "stimulus_id"])


def _lines(stimuli: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return the line of each condition: colours from light to dark over the layer sets, dashes by run."""
    kinds = dict(zip(stimuli["condition"], stimuli["kind"], strict=True))
    textures = [condition for condition, kind in kinds.items() if kind == "texture"]
    controls = [condition for condition, kind in kinds.items() if kind != "texture"]
    # The lightest fifth of the scale cannot be seen on white.
    ramp = sample_colorscale("Viridis_r", np.linspace(0.2, 1, max(len(textures), 2)).tolist())
    colours = dict(zip(textures, ramp, strict=False))
    colours |= {name: CONTROL_COLOURS[n % len(CONTROL_COLOURS)] for n, name in enumerate(controls)}
    dashes = {run: DASHES[n % len(DASHES)] for n, run in enumerate(stimuli["run"].unique())}
    first = stimuli.drop_duplicates("shown")
    return {
        shown: {"color": colours[condition], "dash": dashes[run], "width": 2}
        for shown, condition, run in zip(first["shown"], first["condition"], first["run"], strict=True)
    }


def _axis(title: str, **options: Any) -> dict[str, Any]:
    return {"title": {"text": title}, **options}


def _trace(name: str, x: Any, y: Any, **options: Any) -> Trace:
    """Return a trace whose numbers are packed, and whose name Plotly does not take for markup."""
    x = x if isinstance(x, list) else _packed(x)
    return {"type": "scatter", "mode": "lines", "name": str(escape(name)), "x": x, "y": _packed(y), **options}


def _packed(values: Any) -> dict[str, str]:
    """Return numbers, shape (n,), as Plotly reads them from base64: in float32."""
    content = np.asarray(values, "<f4").tobytes()
    return {"dtype": "f4", "bdata": base64.b64encode(content).decode()}


def _distances(shown: pd.DataFrame, lines: Mapping[str, Any]) -> list[Trace]:
    several = shown["measured_in"].nunique() > 1
    layers = shown.assign(at=shown["measured_in"] + " " + shown["layer"] if several else shown["layer"])
    # A distance of 0 has no place on a logarithmic axis.
    positive = layers[layers["gram_relative"] > 0]
    traces = []
    for condition in (name for name in lines if (positive["shown"] == name).any()):
        table = positive[positive["shown"] == condition]
        values = table.groupby("at", sort=False)["gram_relative"].agg(["mean", "min", "max"])
        above, below = values["max"] - values["mean"], values["mean"] - values["min"]
        bars = {"array": _packed(above), "arrayminus": _packed(below)}
        error = {**bars, "thickness": 1, "width": 3}
        options = {"error_y": error, "line": lines[str(condition)], "mode": "lines+markers"}
        traces.append(_trace(str(condition), list(map(escape, values.index)), values["mean"], **options))
    for name, colour in (("floor", "#767676"), ("ceiling", "#222")):
        # One of each source, whatever the number of its stimuli.
        scales = layers[layers[f"gram_{name}"] > 0].drop_duplicates(["run", "label", "at"], keep="last")
        means = scales.groupby("at", sort=False)[f"gram_{name}"].mean()
        line = {"color": colour, "width": 1.5, "dash": "4px,3px"}
        traces.append(_trace(name, list(map(escape, means.index)), means, line=line))
    return traces


def _spectra(shown: pd.DataFrame, lines: Mapping[str, Any], frequency: str) -> list[Trace]:
    traces = [
        _trace(str(condition), *_mean_spectrum(table, "power", frequency), line=lines[str(condition)])
        for condition, table in shown.groupby("shown", sort=False)
    ]
    sources = shown.drop_duplicates(["run", "label", "frequency_cpi"])
    for size_px, table in sources.groupby("size_px", sort=False):
        name = "source" if sources["size_px"].nunique() == 1 else f"source, {size_px} px"
        spectrum = _mean_spectrum(table, "power_source", frequency)
        traces.append(_trace(name, *spectrum, line={"color": "#000", "width": 3}))
    return traces


def _mean_spectrum(table: pd.DataFrame, power: str, frequency: str) -> tuple[Any, Any]:
    """Return frequencies and the geometric mean of the power at each."""
    # What has no power at a frequency has no logarithm.
    with np.errstate(divide="ignore"):
        means = np.exp(np.log(table[power]).groupby(table["frequency_cpi"]).mean())
    kept = _steps(len(means), MOST_FREQUENCIES)
    x = table.groupby("frequency_cpi")[frequency].first().to_numpy()
    return x[kept], means.where(means > 0).to_numpy()[kept]


def _steps(number: int, most: int) -> NDArray[np.intp]:
    """Return at most `most` of the indices 0 … number − 1, in about equal steps of their logarithm."""
    if number <= most:
        return np.arange(number)
    return np.unique(np.rint(np.geomspace(1, number, most)).astype(np.intp)) - 1


def _losses(runs: Sequence[ReportedRun], shown: pd.DataFrame, lines: Mapping[str, Any]) -> list[Trace]:
    """Return the losses of the first exemplar of each source and condition, stage after stage."""
    places = {(run.label, name): (run, n) for run in runs for n, name in enumerate(run.table["stimulus_id"])}
    traces = []
    for condition, table in shown.groupby("shown", sort=False):
        x: list[float] = []
        y: list[float] = []
        first = table.drop_duplicates("label")
        for key in zip(first["run"], first["stimulus_id"], strict=True):
            run, place = places[key]
            synthesis, before = run.records[place].synthesis, 0
            for stage in synthesis.traces if synthesis else ():
                kept = _steps(len(stage.losses), MOST_EVALUATIONS)
                x += [*(before + kept + 1).tolist(), np.nan]
                # A loss of 0 has no place on a logarithmic axis.
                y += [*(stage.losses[n] or np.nan for n in kept), np.nan]
                before += len(stage.losses)
        if x:
            traces.append(_trace(str(condition), np.array(x), y, line=lines[str(condition)] | {"width": 1.2}))
    return traces


def _histograms(
    shown: pd.DataFrame, histograms: NDArray[np.float32], lines: Mapping[str, Any]
) -> list[Trace]:
    centres = (np.arange(HISTOGRAM_BINS) + 0.5) / HISTOGRAM_BINS
    return [
        _trace(
            str(condition),
            centres,
            histograms[table["n"]].mean(axis=0, dtype=np.float32),
            line=lines[str(condition)] | {"shape": "hvh", "width": 1.5},
        )
        for condition, table in shown.groupby("shown", sort=False)
    ]


def _luminance(shown: pd.DataFrame, lines: Mapping[str, Any]) -> list[Trace]:
    traces = []
    for condition, table in shown.groupby("shown", sort=False):
        symbol = "circle" if table["kind"].iloc[0] == "texture" else "diamond-open"
        marker = {"color": lines[str(condition)]["color"], "size": 7, "opacity": 0.8, "symbol": symbol}
        options = {"text": list(map(escape, table["stimulus_id"])), "marker": marker, "mode": "markers"}
        traces.append(_trace(str(condition), table["luminance_mean"], table["luminance_sd"], **options))
    return traces
