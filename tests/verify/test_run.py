"""Runs as they are found: whole, unfinished, archived, at work, or no runs at all."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import sys
from dataclasses import replace

import pytest
from tampering import (
    ID,
    IDS,
    LONG,
    PNG,
    RECORD,
    TABLE,
    change_pixel,
    edit_cell,
    edit_record,
    edit_summary,
    found,
    stimgen,
)

from stimgen.errors import InputError, StimgenError
from stimgen.verify.finding import RUN, Finding
from stimgen.verify.report import sentences
from stimgen.verify.run import verify_run


def remove(folder, *ids):
    for name in ids:
        folder.png(name).unlink()
        folder.record(name).unlink()


def test_an_untouched_run_is_right(there):
    there.figures.mkdir()
    (there.figures / "condition-by-source.png").write_bytes(b"a figure is not of the run")
    result = verify_run(there.path)
    assert (result.findings, result.right, result.planned, result.verified) == ((), True, 5, 5)
    (there.path / "notes.txt").write_text("mine")
    (there.stimuli / ".DS_Store").write_bytes(b"\0")
    strange = dict.fromkeys(["notes.txt", "stimuli/.DS_Store"], "is no part of the run")
    assert found(there, "warning") == strange
    assert verify_run(there.path).right


def test_a_run_is_verified_where_its_sources_and_weights_are_not(made, tmp_path):
    shutil.copytree(made / "results" / "tiny", tmp_path / "archive")
    result = verify_run(tmp_path / "archive")
    assert result.right
    assert result.stimuli_sha256 == verify_run(made / "results" / "tiny").stimuli_sha256
    (finding,) = result.findings
    assert (finding.severity, "not at hand" in finding.problem) == ("unchecked", True)
    again = stimgen("verify", tmp_path / "archive", "--recompute")
    assert again.exit_code == 4
    assert "stimuli of brick not measured: There is no file" in again.stdout
    assert "Not everything could be measured again" in again.stderr


def test_a_run_that_was_interrupted_lacks_stimuli_and_nothing_is_wrong(there):
    """As an interrupt leaves it: tables and summary are of what is there."""
    remove(there, *IDS[1:3])
    shutil.rmtree(there.trials)
    stimgen("tables", there.path)
    assert found(there) == {}
    assert found(there, "incomplete").keys() == {"stimuli"}
    assert "lacks 2 stimuli, which are not made yet" in found(there, "incomplete")["stimuli"]


def test_a_run_that_was_killed_is_incomplete_and_nothing_is_wrong(there):
    """As a kill leaves it: tables of what was there before, and a file that was being written."""
    pngs = {name: there.png(name).read_bytes() for name in IDS[2:]}
    records = {name: there.record(name).read_bytes() for name in IDS[2:4]}
    remove(there, *IDS[2:])
    shutil.rmtree(there.trials)
    stimgen("tables", there.path)
    for name, content in pngs.items():  # the record of the last was next
        there.png(name).write_bytes(content)
    for name, content in records.items():
        there.record(name).write_bytes(content)
    (there.stimuli / ".tmp-abc").write_bytes(b"half")
    assert found(there) == {}
    tables = {TABLE, LONG, "spectra.csv"}
    assert found(there, "incomplete").keys() == {"stimuli", "stimuli/.tmp-abc", "run.json"} | tables
    assert stimgen("verify", there.path).exit_code == 3
    edit_cell(there.path / TABLE, 2, "luminance_mean", "0.5")
    assert found(there).keys() == {TABLE}


def test_what_could_not_be_made_is_named_and_steers_neither_shell_nor_terminal(there):
    remove(there, ID)
    escapes = "\x1b[2J\x1b[Hall right"
    (there.path / "failures.csv").write_text(f'stimulus_id,error,cure\n{ID},"{escapes}\nall right",Rest.\n')
    stimgen("tables", there.path)
    assert found(there) == {}
    assert found(there, "incomplete")[PNG].endswith("all right all right Rest.")
    edit_summary(there, overrides={"network": "vgg16; touch PWNED", "seeds": [1, 2], "x": "$(y)"})
    said = stimgen("verify", there.path).stdout
    assert "\x1b" not in said
    assert "could not be made: \\x1b[2J\\x1b[Hall right all right" in said
    assert "PWNED" not in said
    assert "$(" not in said
    assert f"stimgen run MANIFEST --seeds 1,2 --out {there.path}" in said


def test_verification_writes_nothing_works_in_a_read_only_folder_and_without_torch(there):
    before = {path: path.stat().st_mtime_ns for path in [there.path, *there.path.rglob("*")]}
    for path in before:
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    script = (
        "import sys\nfrom pathlib import Path\nfrom stimgen.verify.run import verify_run\n"
        "assert verify_run(Path(sys.argv[1])).right\nassert 'torch' not in sys.modules\n"
    )
    try:
        subprocess.run([sys.executable, "-c", script, there.path], check=True)
    finally:
        for path in before:
            path.chmod(path.stat().st_mode | stat.S_IWUSR)
    assert {path: path.stat().st_mtime_ns for path in [there.path, *there.path.rglob("*")]} == before


def test_a_run_at_work_is_waited_for_and_what_is_no_run_is_refused(tmp_path, there):
    with there.locked(), pytest.raises(StimgenError, match="A stimgen run is at work"):
        verify_run(there.path)
    with pytest.raises(InputError, match="holds no stimgen run"):
        verify_run(tmp_path)
    with pytest.raises(InputError, match="is no folder"):
        verify_run(tmp_path / "nope")
    (there.path / "manifest.resolved.yaml").write_text("stimgen: 1\nname: [\n")
    with pytest.raises(InputError, match="cannot be read, so nothing can be compared"):
        verify_run(there.path)


def test_the_command_says_what_it_found(there):
    clean = stimgen("verify", there.path)
    assert clean.exit_code == 0
    sentence, fingerprint = clean.stdout.splitlines()
    assert sentence.startswith("5 stimuli: every file is the one its record describes")
    assert fingerprint.startswith("sha256sum stimuli/*.png | sha256sum: ")
    change_pixel(there)
    wrong = stimgen("verify", there.path)
    assert wrong.exit_code == 3
    assert wrong.stdout.startswith(f"WRONG  {PNG}: was altered")
    assert "4 of 5 stimuli are what their records describe, and 1 thing is wrong" in wrong.stdout
    result = json.loads(stimgen("verify", there.path, "--json").stdout)
    assert (result["right"], result["verified"], result["stimuli_sha256"]) == (False, 4, None)
    assert [one["file"] for one in result["findings"] if one["severity"] == "wrong"] == [PNG]


def test_the_manifest_in_the_folder_is_named_if_it_can_be_run_from_there(as_finished):
    remove(as_finished, IDS[2])
    *_, again = stimgen("verify", as_finished.path).stdout.splitlines()
    path = as_finished.path
    assert again.startswith(f"  stimgen run {path / 'manifest.yaml'} --out {path}  (")
    with (path / "manifest.yaml").open("a") as file:
        file.write("# altered\n")
    assert "stimgen run MANIFEST --out" in stimgen("verify", path).stdout


def test_many_findings_of_one_kind_are_told_in_a_few_lines(there):
    more = [Finding("wrong", f"stimuli/{n}.png", f"was altered: {n}", RUN) for n in range(500)]
    result = replace(verify_run(there.path), findings=tuple(more))
    told = [line for line in sentences(result) if line.startswith("WRONG")]
    assert told[:3] == [f"WRONG  stimuli/{n}.png: was altered: {n}" for n in range(3)]
    names = "stimuli/3.png, stimuli/4.png, stimuli/5.png"
    assert told[3:] == [f"WRONG  {names} and 494 more: likewise (--json tells each)"]
    told = [line for line in sentences(replace(result, findings=tuple(more[:5]))) if line.startswith("WRONG")]
    assert len(told) == 5


def test_recompute_finds_a_forgery_that_is_consistent(there):
    """PNG file, hash in the record, tables, trial lists and summary agree, and the numbers are old."""
    edit_record(there, png_sha256=change_pixel(there))
    assert stimgen("tables", there.path).exit_code == 0
    assert verify_run(there.path).findings == ()
    result = stimgen("verify", there.path, "--recompute")
    assert result.exit_code == 3
    lines = [line for line in result.stdout.splitlines() if line.startswith("WRONG")]
    assert {line.split()[1] for line in lines} == {f"{RECORD}:"}
    assert any("luminance_mean" in line for line in lines)
    assert "4 of 5 stimuli are what their records describe" in result.stdout
    assert "sha256sum" not in result.stdout
    assert json.loads(stimgen("verify", there.path, "--recompute", "--json").stdout)["verified"] == 4


def test_recompute_compares_also_what_a_record_does_not_claim_to_measure(there):
    edit_record(there, measured_with={}, statistics__luminance_mean=0.5)
    assert stimgen("tables", there.path).exit_code == 0
    assert "was measured without the columns" in found(there, "warning")[RECORD]
    result = stimgen("verify", there.path, "--recompute")
    assert f"WRONG  {RECORD}: luminance_mean is 0.5, and on the file it is" in result.stdout


def test_a_statistic_of_another_version_is_noted(there):
    versions = there.read_record(ID).measured_with
    edit_record(there, measured_with=versions | {"luminance": 99}, statistics__luminance_mean=0.5)
    assert stimgen("tables", there.path).exit_code == 0
    assert "was measured with another version of luminance;" in found(there, "warning")[RECORD]
    assert stimgen("verify", there.path, "--recompute").exit_code == 0


def test_recompute_finds_a_smaller_distance_and_says_both_numbers(there):
    """Where the record does not contradict itself, and the tables are written from it."""
    measured = there.read_record(ID).statistics
    forged = {
        "gram_loss_pool1": measured["gram_loss_pool1"] / 4,
        "gram_relative_pool1": measured["gram_relative_pool1"] / 2,
    }
    normalised = measured["gram_relative_pool1"] / 2 / measured["gram_floor_pool1"]
    changes = forged | {"gram_normalised_pool1": normalised}
    edit_record(there, **{f"statistics__{name}": value for name, value in changes.items()})
    assert stimgen("tables", there.path).exit_code == 0
    assert found(there) == {}
    result = stimgen("verify", there.path, "--recompute")
    assert result.exit_code == 3
    lines = [line for line in result.stdout.splitlines() if line.startswith("WRONG")]
    assert len(lines) == 2
    for line, (name, value) in zip(lines, forged.items(), strict=True):
        assert line.startswith(f"WRONG  {RECORD}: {name} is {value}, and on the file it is ")
        assert float(line.split()[-1]) == pytest.approx(measured[name], rel=1e-3)
