from __future__ import annotations

import csv
import json
import re
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from run_manifests import IDS
from run_records import records

from stimgen.manifest.schema import AcceptSpec
from stimgen.measure.portilla_simoncelli import FAMILIES, OVERALL
from stimgen.runs import columns, tables
from stimgen.runs.columns import RUN_TABLES, data_dictionary
from stimgen.runs.record import Record
from stimgen.runs.store import RunFolder
from stimgen.runs.tables import Failure, distance_rows, spectrum_rows, stimulus_row, trace_rows, write_tables

FAILURES = st.lists(
    st.builds(
        Failure,
        stimulus_id=st.just("brick-pool4-s1"),
        error=st.text(max_size=30).map(lambda text: f"ValueError: {text}"),
        cure=st.text(max_size=30).map(lambda text: f"Do {text}"),
    ),
    max_size=2,
)
EVERYTHING = AcceptSpec()
# One of each group: what is measured between the files of a group needs the files.
FEW = {"max_size": 3, "unique_by": lambda record: (record.source.id, record.condition)}
quickly = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def written(given_records, failures=(), accept=EVERYTHING):
    """Return, by table, the cells of the CSV file as text, header first, and the data dictionary."""
    with tempfile.TemporaryDirectory() as folder:
        write_tables(RunFolder(Path(folder)), given_records, failures, accept)
        result = {}
        for name in RUN_TABLES:
            with (Path(folder) / f"{name}.csv").open(encoding="utf-8", newline="") as file:
                cells = list(csv.reader(file, strict=True))
            dictionary = json.loads((Path(folder) / f"{name}.json").read_text("utf-8"))
            result[name] = cells, dictionary
        return result


def parses_as_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


@quickly
@given(st.lists(records(), **FEW), FAILURES)
def test_tables_are_what_psychopy_reads_without_surprise(given_records, failures):
    rows = {
        "stimuli": [stimulus_row(record, EVERYTHING) for record in given_records],
        "gram_distances": [row for record in given_records for row in distance_rows(record)],
        "spectra": [row for record in given_records for row in spectrum_rows(record)],
        "traces": [row for record in given_records for row in trace_rows(record)],
        "failures": [vars(failure) for failure in failures],
    }
    for name, ((header, *cells), _) in written(given_records, failures).items():
        texts = {key for row in rows[name] for key, value in row.items() if isinstance(value, str)}
        assert all(column.isidentifier() for column in header)
        assert len(set(header)) == len(header)
        assert len(cells) == len(rows[name])
        for row in cells:
            assert len(row) == len(header)
            assert not any("," in cell or "\n" in cell or "\r" in cell for cell in row)
            for column, cell in zip(header, row, strict=True):
                assert column not in texts or not parses_as_number(cell)


@quickly
@given(st.lists(records(), **FEW), FAILURES)
def test_every_column_is_described_and_every_described_column_is_there(given_records, failures):
    layers = {distance.layer for record in given_records for distance in record.distances}
    asked = any(record.portilla_simoncelli for record in given_records)
    for name, ((header, *_), dictionary) in written(given_records, failures).items():
        expected = {
            column.name.replace("{layer}", layer).replace("{family}", family)
            for column in RUN_TABLES[name]
            for layer in (layers if "{layer}" in column.name else [""])
            for family in (FAMILIES if "{family}" in column.name else [""])
            if asked or not column.on_request
        }
        assert list(dictionary) == header
        assert set(header) == expected
        for entry in dictionary.values():
            assert entry["LongName"]
            assert entry["Description"].endswith((".", ")"))
            assert set(entry) <= {"LongName", "Description", "Units", "Source"}
            assert "{" not in entry["LongName"]


@quickly
@given(st.lists(records(), min_size=1, **FEW))
def test_pandas_reads_the_numbers_back(given_records):
    (header, *cells), _ = written(given_records)["stimuli"]
    for record, row in zip(given_records, cells, strict=True):
        read = dict(zip(header, row, strict=True))
        assert read["stimulus_id"] == record.stimulus_id
        assert read["seed"] == ("" if record.seed is None else str(record.seed))
        assert read["iterations"] == (str(record.synthesis.iterations) if record.synthesis else "")
        assert read["evaluations"] == (str(record.synthesis.evaluations) if record.synthesis else "")
        assert float(read["luminance_mean"]) == record.luminance.mean
        for name in ("spectrum", "histogram"):
            residual = record.control.residuals.get(name) if record.control else None
            assert read[f"residual_{name}"] == ("" if residual is None else str(residual))
        for distance in record.distances:
            if distance.stage == "file":
                assert float(read[f"gram_relative_{distance.layer}"]) == distance.gram_relative
                assert float(read[f"gram_loss_{distance.layer}"]) == distance.gram_loss
        for family, distance in (record.portilla_simoncelli or {}).items():
            column = "ps_distance" if family == OVERALL else f"ps_distance_{family}"
            assert read[column] == ("" if distance is None else str(distance))


@quickly
@given(st.lists(records(), min_size=1, **FEW), st.floats(0, 1))
def test_the_verdict_is_a_truth_value_with_a_reason_where_it_is_false(given_records, share):
    (header, *cells), _ = written(given_records, accept=AcceptSpec(clipped_share_max=share))["stimuli"]
    for record, row in zip(given_records, cells, strict=True):
        read = dict(zip(header, row, strict=True))
        assert read["accepted"] == str(record.clipped_share <= share)
        assert bool(read["reject_reason"]) == (read["accepted"] == "False")


@quickly
@given(st.lists(records(), min_size=1, **FEW))
def test_what_is_copied_follows_from_the_values_beside_it(given_records):
    (header, *cells), _ = written(given_records)["stimuli"]
    for row in cells:
        read = dict(zip(header, row, strict=True))
        pairs = [(read[f"copying_{side}"], read[f"copying_baseline_{side}"]) for side in (32, 64, 128)]
        telling = [(float(r), float(b)) for r, b in pairs if r and b and float(b) <= 0.99]
        expected = str(any((r - b) / (1 - b) > 0.9 for r, b in telling)) if telling else ""
        assert read["copied"] == expected


@quickly
@given(records())
def test_a_record_survives_its_file(record):
    assert Record.model_validate_json(record.model_dump_json(indent=1)) == record


def test_the_rows_of_a_run(finished):
    stimuli = pd.read_csv(finished.path / "stimuli.csv")
    distances = pd.read_csv(finished.path / "gram_distances.csv")
    traces = pd.read_csv(finished.path / "traces.csv")
    assert list(stimuli["stimulus_id"]) == IDS
    assert stimuli["filename"].tolist() == [f"stimuli/{stimulus_id}.png" for stimulus_id in IDS]
    assert list(distances["stimulus_id"].unique()) == IDS
    assert len(distances) == 7 * 3 * 2
    assert set(distances["stage"]) == {"optimised", "matched", "file"}
    assert set(traces["stimulus_id"]) == set(IDS[:4])
    assert (traces["loss"] > 0).all()
    constrained = distances[distances["constrained"]].groupby("stimulus_id")["layer"].unique()
    assert {k: list(v) for k, v in constrained.items()} == {
        "brick-conv1_1-s1": ["conv1_1"],
        "brick-conv1_1-s2": ["conv1_1"],
        "brick-pool1-s1": ["conv1_1", "pool1"],
        "brick-pool1-s2": ["conv1_1", "pool1"],
    }
    on_file = distances[distances["stage"] == "file"].pivot(index="stimulus_id", columns="layer")
    for layer in ("conv1_1", "pool1"):
        long = on_file["gram_relative"][layer].loc[IDS].tolist()
        assert stimuli[f"gram_relative_{layer}"].tolist() == long


def test_iterations_of_a_trace_count_up_and_end_at_the_record(finished):
    traces = pd.read_csv(finished.path / "traces.csv")
    for stimulus_id in IDS[:4]:
        synthesis = finished.read_record(stimulus_id).synthesis
        own = traces[traces["stimulus_id"] == stimulus_id]
        assert own.groupby("synthesis_stage")["iteration"].max().sum() == synthesis.iterations
        starts = own[own["iteration"] == 0]
        assert starts["scale_px"].tolist() == [trace.size_px for trace in synthesis.traces]
        assert len(own) == synthesis.iterations + len(starts)
        last = synthesis.traces[-1]
        assert len(last.losses) == 4
        assert last.losses[-1] == synthesis.loss


@quickly
@given(st.lists(records(), min_size=1, **FEW))
def test_frequencies_in_degrees_are_empty_where_the_angle_is_unknown(given_records):
    tables = written(given_records)
    sides = {record.stimulus_id: record.image.size_deg for record in given_records}
    pairs = {
        "stimuli": [(f"spectral_slope_{end}_cpi", f"spectral_slope_{end}_cpd") for end in ("low", "high")],
        "spectra": [("frequency_cpi", "frequency_cpd")],
    }
    for name, names in pairs.items():
        (header, *cells), _ = tables[name]
        for row in cells:
            read = dict(zip(header, row, strict=True))
            side = sides[read["stimulus_id"]]
            for per_image, per_degree in names:
                expected = "" if side is None else float(read[per_image]) / side
                assert (read[per_degree] and float(read[per_degree])) == expected


def test_spectra_of_a_run(finished):
    spectra = pd.read_csv(finished.path / "spectra.csv")
    stimuli = pd.read_csv(finished.path / "stimuli.csv").set_index("stimulus_id")
    assert list(spectra["stimulus_id"].unique()) == IDS
    for stimulus_id, own in spectra.groupby("stimulus_id"):
        assert own["frequency_cpi"].tolist() == list(range(1, 17))
        assert own["frequency_cpd"].tolist() == pytest.approx([k * 41 / 32 for k in range(1, 17)])
        assert own["power"].tolist() == list(finished.read_record(stimulus_id).spectrum.power)
        decibels = 10 * np.log10(own["power"] / own["power_source"])
        assert stimuli["radial_error_db"][stimulus_id] == pytest.approx((decibels**2).mean() ** 0.5, rel=1e-3)


def test_a_table_without_rows_has_its_header():
    result = written([])
    for name, (cells, _) in result.items():
        assert cells == [[column.name for column in RUN_TABLES[name] if column.always]]


def test_a_column_without_description_raises(finished, tmp_path, monkeypatch):
    record = finished.read_record(IDS[0])
    monkeypatch.setattr(tables, "stimulus_row", lambda *given: {**stimulus_row(*given), "mood": 1})
    with pytest.raises(KeyError, match="the table stimuli has no columns mood"):
        write_tables(RunFolder(tmp_path), [record], [], EVERYTHING)
    with pytest.raises(KeyError, match="gram_losses_pool1"):
        data_dictionary("stimuli", ["stimulus_id", "gram_losses_pool1"])


def test_layers_are_named_in_the_long_names():
    entry = data_dictionary("stimuli", ["gram_relative_conv4_2"])["gram_relative_conv4_2"]
    assert entry["LongName"] == "Relative Gram distance, conv4_2"
    entry = data_dictionary("stimuli", ["ps_distance_magnitude_std"])["ps_distance_magnitude_std"]
    assert entry["LongName"] == "Portilla-Simoncelli distance, magnitude_std"


def test_descriptions_name_no_column_twice():
    for table in columns.TABLES.values():
        names = [column.name for column in table]
        assert len(set(names)) == len(names)
        assert all(re.fullmatch(r"[a-z][a-z0-9_]*(\{(layer|family)\})?", name) for name in names)
