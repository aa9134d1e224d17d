from __future__ import annotations

import csv
import io
import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from run_manifests import IDS

from stimgen.manifest.schema import AcceptSpec
from stimgen.measure.portilla_simoncelli import FAMILIES
from stimgen.runs import tables
from stimgen.runs.columns import RUN_TABLES
from stimgen.runs.csv_files import data_dictionary, rows_of
from stimgen.runs.record import Record
from stimgen.runs.store import RunFolder
from stimgen.runs.tables import LONG_TABLES, Failure, reasons_to_reject, stimulus_row, write_tables

EVERYTHING = AcceptSpec()
FAILURES = [
    Failure("brick-pool4-s1", "ValueError: [1, 2],\n no", "Do 1e5"),
    Failure("brick-pool4-s2", "=1+1", "None"),
]


@pytest.fixture
def odd_records(finished):
    """The records of a run, some with texts and values that tables must not hold as they are."""
    records = [finished.read_record(stimulus_id) for stimulus_id in IDS]
    first, second, *others = records
    weights = first.network.model_copy(update={"weights": "a, [b]\n1e5.pth"})
    image = second.image.model_copy(update={"size_deg": None, "ppd": None})
    statistics = second.statistics | {"spectral_slope": None, "luminance_mean": -1e-300}
    changed = second.model_copy(update={"image": image, "statistics": statistics})
    return [first.model_copy(update={"network": weights}), changed, *others]


def written(given_records, failures=(), accept=EVERYTHING):
    """Return, by table, the cells of the CSV file as text, header first, and the data dictionary."""
    with tempfile.TemporaryDirectory() as folder:
        # The files are somewhere else: what is measured between them is left out.
        everything = [record.stimulus_id for record in given_records]
        write_tables(RunFolder(Path(folder)), given_records, failures, accept, uncertain=everything)
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


def test_tables_hold_nothing_that_psychopy_evaluates(odd_records):
    numbers = {name: sum(len(lines(one)) for one in odd_records) for name, lines in LONG_TABLES.items()}
    numbers |= {"stimuli": len(odd_records), "failures": len(FAILURES)}
    texts = {
        "stimulus_id",
        "source",
        "condition",
        "weights",
        "layers",
        "layer",
        "stop_reason",
        "error",
        "cure",
    }
    for name, ((header, *cells), _) in written(odd_records, FAILURES).items():
        assert all(column.isidentifier() for column in header)
        assert len(set(header)) == len(header)
        assert len(cells) == numbers[name]
        for row in cells:
            assert len(row) == len(header)
            assert not any("," in cell or "\n" in cell or "\r" in cell for cell in row)
            for column, cell in zip(header, row, strict=True):
                assert column not in texts or not parses_as_number(cell)


@pytest.mark.parametrize("name", LONG_TABLES)
def test_long_tables_are_written_as_pandas_writes_them(odd_records, name):
    lines = LONG_TABLES[name]
    for record in odd_records:
        headers = [column.name for column in RUN_TABLES[name]]
        text = "".join([",".join(headers) + "\n", *lines(record)])
        types = {"gram_normalised": float, "frequency_cpd": float, "gram_floor": float}
        own = {name: kind for name, kind in types.items() if name in headers}
        table = pd.read_csv(io.StringIO(text), keep_default_na=False, na_values={c: [""] for c in own})
        assert table.to_csv(index=False, lineterminator="\n") == text
        assert next(rows_of(text.encode())) == headers


def test_every_column_is_described_and_every_described_column_is_there(odd_records):
    layers = {layer for record in odd_records for layer in record.measured_layers}
    asked = any("ps_distance" in record.statistics for record in odd_records)
    for name, ((header, *_), dictionary) in written(odd_records, FAILURES).items():
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


def test_pandas_reads_the_numbers_back(odd_records):
    (header, *cells), _ = written(odd_records)["stimuli"]
    for record, row in zip(odd_records, cells, strict=True):
        read = dict(zip(header, row, strict=True))
        assert read["stimulus_id"] == record.stimulus_id
        assert read["seed"] == ("" if record.seed is None else str(record.seed))
        assert read["iterations"] == (str(record.synthesis.iterations) if record.synthesis else "")
        assert read["evaluations"] == (str(record.synthesis.evaluations) if record.synthesis else "")
        for name in ("spectrum", "histogram"):
            residual = record.control.residuals.get(name) if record.control else None
            assert read[f"residual_{name}"] == ("" if residual is None else str(residual))
        for name, value in record.statistics.items():
            assert read[name] == ("" if value is None else str(value))
        on_file = [one for one in record.distances if one.stage == "file"]
        for column, constrained in (("gram_relative_matched", True), ("gram_relative_held_out", False)):
            found = [d.gram_relative for d in on_file if d.constrained == constrained]
            missing = not found or record.kind == "control"
            assert read[column] == ("" if missing else str(max(found)))


def test_the_rows_of_a_run(finished):
    stimuli = pd.read_csv(finished.path / "stimuli.csv")
    distances = pd.read_csv(finished.path / "gram_distances.csv")
    traces = pd.read_csv(finished.path / "traces.csv")
    assert list(stimuli["stimulus_id"]) == IDS
    assert stimuli["filename"].tolist() == [f"stimuli/{stimulus_id}.png" for stimulus_id in IDS]
    assert list(distances["stimulus_id"].unique()) == IDS
    # Two layers; textures at three stages, controls on their files.
    assert distances.groupby("stimulus_id")["stage"].unique().map(tuple).to_dict() == {
        name: ("optimised", "matched", "file") if name in IDS[:4] else ("file",) for name in IDS
    }
    assert len(distances) == (4 * 3 + 3) * 2
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


def test_spectra_of_a_run(finished):
    spectra = pd.read_csv(finished.path / "spectra.csv")
    stimuli = pd.read_csv(finished.path / "stimuli.csv").set_index("stimulus_id")
    assert list(spectra["stimulus_id"].unique()) == IDS
    for stimulus_id, own in spectra.groupby("stimulus_id"):
        assert own["frequency_cpi"].tolist() == list(range(1, 17))
        assert own["frequency_cpd"].tolist() == pytest.approx([k * 41 / 32 for k in range(1, 17)])
        assert own["power"].tolist() == list(finished.read_record(stimulus_id).power)
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


def test_a_standard_deviation_is_not_described_as_the_floor_of_a_layer():
    described = data_dictionary("stimuli", ["gram_floor_sd_pool1", "gram_floor_pool1"])
    assert list(described) == ["gram_floor_pool1", "gram_floor_sd_pool1"]
    assert described["gram_floor_sd_pool1"]["LongName"] == "SD of the floor, pool1"


def on_file(layer, value):
    normalised = None if value > 1 else 2 * value - 1
    return {f"gram_relative_{layer}": value, f"gram_normalised_{layer}": normalised}


def changed(record, statistics, **changes):
    return Record.model_validate(
        record.model_dump() | {"statistics": record.statistics | statistics} | changes
    )


@pytest.mark.parametrize(
    ("thresholds", "reasons"),
    [
        ({}, []),
        ({"gram_relative_max": 0.3, "clipped_share_max": 0.02, "gram_normalised_max": -0.4}, []),
        (
            {"gram_relative_max": 0.1},
            ["The relative Gram distance on pool1 is 0.3 and gram_relative_max is 0.1."],
        ),
        (
            {"gram_relative_max": 0.2999999},
            ["The relative Gram distance on pool1 is 0.3 and gram_relative_max is 0.2999999."],
        ),
        (
            {"gram_normalised_max": -0.5},
            ["The normalised Gram distance on pool1 is -0.4 and gram_normalised_max is -0.5."],
        ),
        (
            {"gram_relative_max": 0.2, "clipped_share_max": 0},
            [
                "The relative Gram distance on pool1 is 0.3 and gram_relative_max is 0.2.",
                "The clipped share is 0.02 and clipped_share_max is 0.0.",
            ],
        ),
    ],
)
def test_each_exceeded_threshold_is_a_reason_to_reject(finished, thresholds, reasons):
    record = finished.read_record("brick-pool1-s1")  # matched on conv1_1 and pool1
    texture = changed(record, on_file("conv1_1", 0.1234) | on_file("pool1", 0.3), clipped_share=0.02)
    assert reasons_to_reject(texture, AcceptSpec(**thresholds)) == tuple(reasons)


def test_a_layer_without_a_normalised_distance_is_not_judged(finished):
    texture = changed(finished.read_record("brick-pool1-s1"), on_file("conv1_1", 5) | on_file("pool1", 5))
    assert reasons_to_reject(texture, AcceptSpec(gram_normalised_max=-9)) == ()


def test_a_control_is_judged_by_its_clipped_share_alone(finished):
    control = changed(finished.read_record("brick-phase_scrambled-s1"), {}, clipped_share=0.5)
    assert reasons_to_reject(control, AcceptSpec(gram_relative_max=1e-9)) == ()
    assert len(reasons_to_reject(control, AcceptSpec(clipped_share_max=0.4))) == 1
