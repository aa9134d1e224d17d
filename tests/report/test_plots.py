"""The plots of a report show the numbers of the run."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from stimgen.report.images import HISTOGRAM_BINS
from stimgen.report.plots import ALL, plots
from stimgen.report.reported import read_runs, shown_stimuli


def numbers(packed):
    """Return the numbers of one axis of a trace."""
    if isinstance(packed, dict):
        return np.frombuffer(base64.b64decode(packed["bdata"]), packed["dtype"])
    return np.array([np.nan if value is None else value for value in packed])


@pytest.fixture(scope="module")
def run(small):
    (found,) = read_runs([small])
    return found


@pytest.fixture(scope="module")
def histograms(run):
    """One histogram for each stimulus, all of them different."""
    return np.random.default_rng(1).random((len(run.table), HISTOGRAM_BINS), np.float32)


@pytest.fixture(scope="module")
def traces(run, histograms):
    """The traces of all sources together, by plot and name."""
    found = plots([run], shown_stimuli([run]), histograms)
    views = {plot["id"]: plot["views"].get(ALL) or next(iter(plot["views"].values())) for plot in found}
    return {name: {trace["name"]: trace for trace in view} for name, view in views.items()}


def test_losses_are_those_of_every_evaluation_stage_after_stage(run, traces):
    (condition, trace), *_ = traces["losses"].items()
    seen, expected = set(), []
    for record in run.records:
        if record.condition == condition and record.source.id not in seen:
            seen.add(record.source.id)
            expected += [loss for stage in record.synthesis.traces for loss in stage.losses]
    y = numbers(trace["y"])
    np.testing.assert_allclose(y[np.isfinite(y)], expected, rtol=1e-6)
    x = numbers(trace["x"])
    assert x[0] == 1
    first = sum(len(stage.losses) for stage in next(iter(run.records)).synthesis.traces)
    assert np.nanmax(x) >= first


def test_distances_are_means_over_the_stimuli_of_a_condition(run, traces):
    trace = traces["distances"]["pool1"]
    distances = run.read_table("gram_distances")
    table = distances[distances["stage"] == "file"].merge(run.table[["stimulus_id", "condition"]])
    means = table[table["condition"] == "pool1"].groupby("layer", sort=False)["gram_relative"].mean()
    found = dict(zip(trace["x"], numbers(trace["y"]), strict=True))
    assert found == pytest.approx(means.to_dict(), rel=1e-6)


def test_spectra_are_geometric_means_of_the_power_at_each_frequency(run, traces):
    table = run.read_table("spectra").merge(run.table[["stimulus_id", "source", "condition"]])
    of_sources = table.drop_duplicates(["source", "frequency_cpi"])
    for name, rows, power in (
        ("pool1", table[table["condition"] == "pool1"], "power"),
        ("source", of_sources, "power_source"),
    ):
        expected = np.exp(np.log(rows[power]).groupby(rows["frequency_cpd"]).mean())
        trace = traces["spectra"][name]
        np.testing.assert_allclose(numbers(trace["x"]), expected.index, rtol=1e-6)
        np.testing.assert_allclose(numbers(trace["y"]), expected, rtol=1e-6)


def test_histograms_are_means_over_the_stimuli_of_a_condition(run, traces, histograms):
    assert traces["histograms"].keys() == set(run.names("condition"))
    for condition, trace in traces["histograms"].items():
        expected = histograms[run.table["condition"] == condition].mean(axis=0)
        np.testing.assert_allclose(numbers(trace["y"]), expected, rtol=1e-6)
        np.testing.assert_allclose(np.diff(numbers(trace["x"])), 1 / HISTOGRAM_BINS, rtol=1e-4)


def test_every_stimulus_has_a_point_at_its_luminance(run, traces):
    points = {
        name: point
        for trace in traces["luminance"].values()
        for name, *point in zip(trace["text"], numbers(trace["x"]), numbers(trace["y"]), strict=True)
    }
    table = run.table.set_index("stimulus_id")[["luminance_mean", "luminance_sd"]]
    assert points.keys() == set(table.index)
    for name, point in points.items():
        assert point == pytest.approx(table.loc[name].tolist(), rel=1e-6)
