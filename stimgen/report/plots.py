"""Plots of a report, by Plotly: one figure per quantity, and the same for each source."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from markupsafe import escape
from numpy.typing import NDArray
from plotly.colors import qualitative, sample_colorscale

from stimgen.report.reported import Entry, unique
from stimgen.report.thumbnails import HISTOGRAM_BINS, Picture
from stimgen.runs.record import Record

ALL = ""
"""The view of all sources together."""
MOST_FREQUENCIES = 96
"""Points of a spectrum; where there are more frequencies, those nearest to equal steps of the logarithm."""
MOST_EVALUATIONS = 24
"""Points of a stage's loss trace; likewise."""
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
Values = NDArray[np.floating]


@dataclass(frozen=True)
class Plot:
    """A plot of the report.

    Attributes
    ----------
    id
        Name in the page.
    layout
        Plotly's layout.
    views
        Traces by source label, and by `ALL`.
    """

    id: str
    layout: Mapping[str, Any]
    views: Mapping[str, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True)
class _Style:
    colours: Mapping[str, str]
    dashes: Mapping[str, str]

    def line(self, entry: Entry) -> dict[str, Any]:
        colour = self.colours[entry.record.condition]
        return {"color": colour, "dash": self.dashes[entry.run.label], "width": 2}


def plots(stimuli: Sequence[Entry], pictures: Mapping[str, Picture]) -> tuple[Plot, ...]:
    """Return the plots of some stimuli.

    Parameters
    ----------
    stimuli
        All stimuli of the report.
    pictures
        What was measured on the file of each, by its path.
    """
    style = _style(stimuli)
    degrees = all(entry.record.image.size_deg for entry in stimuli)
    unit = "cycles/deg" if degrees else "cycles/image"
    sources = unique(entry.source for entry in stimuli)
    by_source = {source: [entry for entry in stimuli if entry.source == source] for source in sources}
    views = by_source if len(sources) == 1 else {ALL: list(stimuli)} | by_source

    def plot(name: str, layout: Mapping[str, Any], traces: Callable[[list[Entry]], list[go.Scatter]]) -> Plot:
        return Plot(name, _layout(layout), {view: _plain(traces(shown)) for view, shown in views.items()})

    log = {"type": "log", "exponentformat": "power"}
    return (
        plot(
            "distances",
            {
                "xaxis": {"title": "layer", "type": "category"},
                "yaxis": {"title": "relative Gram distance", **log},
            },
            lambda shown: _distances(shown, style),
        ),
        plot(
            "spectra",
            {"xaxis": {"title": f"spatial frequency, {unit}", **log}, "yaxis": {"title": "power", **log}},
            lambda shown: _spectra(shown, style, degrees),
        ),
        plot(
            "losses",
            {"xaxis": {"title": "evaluations of loss and gradient"}, "yaxis": {"title": "loss", **log}},
            lambda shown: _losses(shown, style),
        ),
        plot(
            "histograms",
            {"xaxis": {"title": "luminance", "range": [0, 1]}, "yaxis": {"title": "share of pixels"}},
            lambda shown: _histograms(shown, style, pictures),
        ),
        plot(
            "luminance",
            {"xaxis": {"title": "mean luminance"}, "yaxis": {"title": "SD of luminance"}},
            lambda shown: _luminance(shown, style),
        ),
    )


def _style(stimuli: Sequence[Entry]) -> _Style:
    """Return colours by condition, from light to dark over the layer sets, and line styles by run."""
    kinds = {entry.record.condition: entry.record.kind for entry in stimuli}
    textures = [condition for condition, kind in kinds.items() if kind == "texture"]
    controls = [condition for condition, kind in kinds.items() if kind == "control"]
    # The lightest fifth of the scale cannot be seen on white.
    ramp = sample_colorscale("Viridis_r", np.linspace(0.2, 1, max(len(textures), 2)).tolist())
    # What the scale of the layer sets does not have: no greens, blues and violets.
    warm = [qualitative.Dark2[place] for place in (1, 3, 6, 5, 7)] + [
        qualitative.Set1[0],
        *qualitative.Set1[4:],
    ]
    colours = dict(zip(textures, ramp, strict=False))
    colours |= {condition: warm[place % len(warm)] for place, condition in enumerate(controls)}
    runs = unique(entry.run.label for entry in stimuli)
    return _Style(colours, {run: DASHES[place % len(DASHES)] for place, run in enumerate(runs)})


def _layout(changes: Mapping[str, Any]) -> dict[str, Any]:
    figure = go.Figure(
        layout={
            "template": "simple_white",
            "margin": {"l": 60, "r": 10, "t": 10, "b": 45},
            "height": 360,
            "hovermode": "closest",
            "legend": {"font": {"size": 12}},
            "font": {"family": "system-ui, sans-serif", "size": 13, "color": "#222"},
            **changes,
        }
    )
    layout: dict[str, Any] = json.loads(figure.to_json())["layout"]
    return layout


def _plain(traces: Iterable[go.Scatter]) -> list[dict[str, Any]]:
    """Return traces as plain data; Plotly packs arrays of numbers."""
    data: list[dict[str, Any]] = json.loads(go.Figure(list(traces)).to_json())["data"]
    return data


def _name(text: str) -> str:
    """Return a text that Plotly shows as it is: it takes a few tags for markup."""
    return str(escape(text))


def _by_condition(shown: Iterable[Entry]) -> dict[str, list[Entry]]:
    groups: dict[str, list[Entry]] = {}
    for entry in shown:
        groups.setdefault(entry.condition, []).append(entry)
    return groups


def _packed(values: Iterable[float | None]) -> NDArray[np.float32]:
    return np.asarray(list(values), dtype=np.float32)


def _networks(record: Record) -> str:
    return f"{record.measured_in.name} {record.measured_in.weights}"


def _distances(shown: list[Entry], style: _Style) -> list[go.Scatter]:
    several = len({_networks(entry.record) for entry in shown}) > 1
    traces = []
    for condition, group in _by_condition(shown).items():
        values: dict[str, list[float]] = {}
        for entry in group:
            for distance in entry.record.distances:
                if distance.stage == "file" and distance.gram_relative > 0:
                    values.setdefault(_layer(entry, distance.layer, several), []).append(
                        distance.gram_relative
                    )
        means = {layer: float(np.mean(of_layer)) for layer, of_layer in values.items()}
        if means:
            above = _packed(max(values[layer]) - mean for layer, mean in means.items())
            below = _packed(mean - min(values[layer]) for layer, mean in means.items())
            traces.append(
                go.Scatter(
                    name=_name(condition),
                    x=list(means),
                    y=_packed(means.values()),
                    error_y={"array": above, "arrayminus": below, "thickness": 1, "width": 3},
                    line=style.line(group[0]),
                    mode="lines+markers",
                )
            )
    for name, colour in (("floor", "#767676"), ("ceiling", "#222")):
        scales: dict[str, dict[tuple[str, str], float]] = {}
        for entry in shown:
            for layer in entry.record.measured_layers:
                value = entry.record.statistics[f"gram_{name}_{layer}"]
                if value:
                    # One of each source, whatever the number of its stimuli.
                    of_layer = scales.setdefault(_layer(entry, layer, several), {})
                    of_layer[entry.run.label, entry.source] = value
        traces.append(
            go.Scatter(
                name=name,
                x=list(scales),
                y=_packed(float(np.mean(list(of_layer.values()))) for of_layer in scales.values()),
                line={"color": colour, "width": 1.5, "dash": "4px,3px"},
                mode="lines",
            )
        )
    return traces


def _layer(entry: Entry, layer: str, several: bool) -> str:
    return _name(f"{_networks(entry.record)} {layer}") if several else layer


def _spectra(shown: list[Entry], style: _Style, degrees: bool) -> list[go.Scatter]:
    traces = []
    for condition, group in _by_condition(shown).items():
        traces.append((condition, style.line(group[0]), [entry.record for entry in group], "power"))
    firsts = {(entry.run.label, entry.source): entry.record for entry in shown}
    sources = {"color": "#000", "width": 3}
    lengths: dict[int, list[Record]] = {}
    for record in firsts.values():
        lengths.setdefault(record.image.size_px, []).append(record)
    for size_px, records in lengths.items():
        name = "source" if len(lengths) == 1 else f"source, {size_px} px"
        traces.append((name, sources, records, "power_source"))
    return [
        go.Scatter(name=_name(name), x=x, y=y, line=line, mode="lines")
        for name, line, records, field in traces
        for x, y in [_mean_spectrum(records, field, degrees)]
    ]


def _mean_spectrum(records: Sequence[Record], field: str, degrees: bool) -> tuple[Values, Values]:
    powers = np.asarray([getattr(record, field) for record in records])
    kept = _steps(powers.shape[1], MOST_FREQUENCIES)
    # What has no power at a frequency has no logarithm either.
    with np.errstate(divide="ignore"):
        mean = np.exp(np.mean(np.log(powers[:, kept]), axis=0))
    mean[mean == 0] = np.nan
    frequency = (kept + 1) / ((records[0].image.size_deg or 1) if degrees else 1)
    return frequency.astype(np.float32), mean.astype(np.float32)


def _steps(number: int, most: int) -> NDArray[np.intp]:
    """Return at most `most` of the indices 0 … number − 1, in about equal steps of their logarithm."""
    if number <= most:
        return np.arange(number)
    return np.unique(np.rint(np.geomspace(1, number, most)).astype(np.intp)) - 1


def _losses(shown: list[Entry], style: _Style) -> list[go.Scatter]:
    traces = []
    for condition, group in _by_condition(shown).items():
        first = {entry.source: entry for entry in reversed(group)}
        x: list[float] = []
        y: list[float] = []
        for entry in first.values():
            before = 0
            for stage in entry.record.synthesis.traces if entry.record.synthesis else ():
                kept = _steps(len(stage.losses), MOST_EVALUATIONS)
                x += [*(before + kept + 1).tolist(), np.nan]
                # A loss of 0 has no place on a logarithmic axis.
                y += [*(stage.losses[place] or np.nan for place in kept), np.nan]
                before += len(stage.losses)
        if x:
            line = style.line(group[0]) | {"width": 1.2}
            traces.append(
                go.Scatter(name=_name(condition), x=_packed(x), y=_packed(y), line=line, mode="lines")
            )
    return traces


def _histograms(shown: list[Entry], style: _Style, pictures: Mapping[str, Picture]) -> list[go.Scatter]:
    centres = ((np.arange(HISTOGRAM_BINS) + 0.5) / HISTOGRAM_BINS).astype(np.float32)
    return [
        go.Scatter(
            name=_name(condition),
            x=centres,
            y=np.mean([pictures[str(entry.png)].histogram for entry in group], axis=0, dtype=np.float32),
            line=style.line(group[0]) | {"shape": "hvh", "width": 1.5},
            mode="lines",
        )
        for condition, group in _by_condition(shown).items()
    ]


def _luminance(shown: list[Entry], style: _Style) -> list[go.Scatter]:
    return [
        go.Scatter(
            name=_name(condition),
            x=_packed(entry.record.statistics["luminance_mean"] for entry in group),
            y=_packed(entry.record.statistics["luminance_sd"] for entry in group),
            text=[_name(entry.record.stimulus_id) for entry in group],
            marker={
                "color": style.colours[group[0].record.condition],
                "size": 7,
                "opacity": 0.8,
                "symbol": "circle" if group[0].record.kind == "texture" else "diamond-open",
            },
            mode="markers",
        )
        for condition, group in _by_condition(shown).items()
    ]
