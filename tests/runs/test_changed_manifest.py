"""Another manifest in the folder of an earlier run: what is made again, what is kept, what is removed."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from PIL import Image as Pillow
from run_manifests import IDS, TINY, stimgen, tiny, write_manifest

from stimgen.manifest.plan import plan
from stimgen.networks.architectures import published_weights
from stimgen.runs.job import Job
from stimgen.runs.preparation import prepare
from stimgen.runs.recipe import known_recipes, outlook
from stimgen.runs.runner import run
from stimgen.runs.store import RunFolder
from stimgen.runs.unplanned import find_unplanned
from stimgen.verify.report import sentences
from stimgen.verify.run import verify_run

LIST = {"id": "odd", "design": "oddity", "crop_px": 16, "repeats": 3, "min_source_gap": 0}
PAIR = {"id": "pairs", "design": "rating", "min_source_gap": 0}
FIRST = [stimulus_id for stimulus_id in IDS if stimulus_id.endswith("-s1")]


def times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.path.glob("*/*")}


def changed(folder, before):
    """Return the names of files in the folder's folders that are new or were written again."""
    return {path.name for path, time in times(folder).items() if before.get(path) != time}


def files(*ids):
    return {f"{one}{ending}" for one in ids for ending in (".png", ".safetensors", ".json")}


def names(folder):
    paths = {path.relative_to(folder.path).as_posix() for path in folder.path.rglob("*")}
    return paths - {"report.html"}  # some of these runs write one


def test_another_source_file_makes_its_stimuli_again_and_no_others(tmp_path):
    pictures = np.random.default_rng(1).integers(0, 256, (3, 40, 40), np.uint8)
    (tmp_path / "manifests").mkdir()
    for name, picture in zip("ab", pictures, strict=False):
        Pillow.fromarray(picture).save(tmp_path / "manifests" / f"{name}.png")
    small = {"layer_sets": {"conv1_1": ["conv1_1"]}, "seeds": [1], "sources": ["a.png", "b.png"]}
    folder = RunFolder(run(tiny(tmp_path, **small)).folder)
    before = times(folder)
    Pillow.fromarray(pictures[2]).save(tmp_path / "manifests" / "b.png")
    assert {one.file for one in verify_run(folder.path).findings} == {"../../manifests/b.png"}

    result = run(tiny(tmp_path, **small))

    assert (result.made, result.kept, result.unplanned) == (3, 3, ())
    assert changed(folder, before) == files("b-conv1_1-s1", "b-original", "b-phase_scrambled-s1")
    assert verify_run(folder.path).findings == ()


def test_a_condition_less_makes_nothing_and_names_what_is_left(as_finished, tmp_path):
    before = times(as_finished)
    result = run(tiny(tmp_path, controls=["original"]))
    assert (result.made, result.kept) == (0, 5)
    assert result.unplanned == ("brick-phase_scrambled-s1", "brick-phase_scrambled-s2")
    assert changed(as_finished, before) == set()
    verified = verify_run(as_finished.path)
    assert (verified.right, verified.verified, verified.unplanned) == (True, 5, 2)
    assert {one.file for one in verified.findings if one.severity == "warning"} == {
        name for one in result.unplanned for name in as_finished.names(one)
    }
    lines = list(sentences(verified))
    assert len(lines) < 6, "what is the same of several files is said once"
    as_finished.png(result.unplanned[0]).write_bytes(b"x")
    assert not verify_run(as_finished.path).right, "others' files, or altered ones, are wrong"


def test_other_trials_write_lists_and_nothing_else(as_finished, tmp_path):
    run(tiny(tmp_path, trials=[LIST]))
    before = times(as_finished)
    result = run(tiny(tmp_path, trials=[LIST | {"repeats": 4}, PAIR]))
    assert (result.made, result.kept, len(result.trial_lists)) == (0, 7, 2)
    assert changed(as_finished, before) <= {"odd.csv", "odd.json", "pairs.csv", "pairs.json"}
    assert {"odd.csv", "pairs.csv"} <= changed(as_finished, before)
    assert verify_run(as_finished.path).findings == ()
    assert as_finished.read_summary()["trial_lists"].keys() == {"odd", "pairs"}


SOURCES = [{"id": "brick", "image": "skimage:brick"}, {"id": "gravel", "image": "skimage:gravel"}]
CHANGES = {
    "a seed more": {"seeds": [1, 2, 3]},
    "another option": {"controls": ["original", {"name": "phase_scrambled", "periodic_component": True}]},
    "another crop": {"sources": [{"id": "brick", "image": "skimage:brick", "crop": [0, 0, 64, 64]}]},
    "a source more": {"sources": SOURCES},
    "matched to a set of more": {"sources": SOURCES, "matching": {"histogram": "set"}},
}


@pytest.mark.parametrize("change", CHANGES)
def test_check_says_what_a_run_will_do(as_finished, tmp_path, change):
    as_finished.png("brick-original").unlink()
    manifest = tiny(tmp_path, **CHANGES[change])
    said = outlook(manifest, as_finished)
    there = set(as_finished.stimuli.glob("*.png"))
    result = run(manifest)
    new = set(as_finished.stimuli.glob("*.png")) - there
    did = {"keep": result.kept, "match": result.matched, "synthesise": result.made}
    assert +said.steps == +Counter(did | {"measure": result.measured})
    # The missing file is synthesised again only where all are.
    assert said.replace == result.made - len(new) + bool(result.matched)
    assert said.unplanned == len(result.unplanned)


def test_check_says_that_a_set_that_grows_is_another(tmp_path):
    alone = {"layer_sets": None, "controls": ["original"], "matching": {"histogram": "set"}}
    folder = RunFolder(run(tiny(tmp_path, **alone, sources=SOURCES[:1])).folder)
    manifest = tiny(tmp_path, **alone, sources=SOURCES)
    assert outlook(manifest, folder).steps == {"match": 1, "synthesise": 1}
    result = run(manifest)
    assert (result.kept, result.matched, result.made) == (0, 1, 1)


def test_check_says_it_in_a_line_and_only_where_there_is_a_run(as_finished, tmp_path):
    path = write_manifest(tmp_path)
    result = stimgen("check", path, "--seeds", "2-3")
    assert result.stdout.endswith(
        "There:     to keep 4, to measure again 0, to match again 0, to synthesise 3 (files not compared); "
        "3 others are there, not asked for\n"
    )
    as_finished.path.rename(tmp_path / "elsewhere")
    assert "There:" not in stimgen("check", path).stdout


class TestPrune:
    def test_exactly_what_is_not_asked_for_is_removed(self, as_finished, tmp_path):
        run(tiny(tmp_path, trials=[LIST, PAIR]))
        before = names(as_finished)
        path = write_manifest(tmp_path, trials=[LIST])

        result = stimgen("run", path, "--seeds", "2", "--prune", "--yes", "--quiet")

        assert result.exit_code == 0, result.output
        said = result.stderr.splitlines()
        assert said[0] == (
            "Not asked for are 3 stimuli with their records and 1 trial lists: "
            "brick-conv1_1-s1, brick-phase_scrambled-s1, brick-pool1-s1, pairs"
        )
        gone = {name for one in FIRST for name in as_finished.names(one)}
        assert before - names(as_finished) == gone | {"trials/pairs.csv", "trials/pairs.json"}
        assert names(as_finished) <= before
        assert verify_run(as_finished.path).findings == ()

    def test_what_stimgen_did_not_write_stays_and_the_reason_is_said(self, as_finished, tmp_path):
        png, elsewhere = as_finished.png, tmp_path / "elsewhere"
        elsewhere.mkdir()
        altered, linked, unrecorded = FIRST[0], FIRST[1], FIRST[2]
        png(altered).write_bytes(png(altered).read_bytes() + b"mine")
        png(linked).rename(elsewhere / "real.png")
        png(linked).symlink_to(elsewhere / "real.png")
        as_finished.record(unrecorded).unlink()
        as_finished.image("brick-original").write_bytes(b"mine")
        (as_finished.stimuli / "holiday.png").write_bytes(b"me")
        (as_finished.records / "notes.txt").write_text("mine")
        before = names(as_finished)

        result = stimgen(
            "run", write_manifest(tmp_path, controls=["phase_scrambled"]), "--seeds", "2", "--prune"
        )

        assert result.exit_code == 0
        assert names(as_finished) == before
        assert (elsewhere / "real.png").is_file()
        for words in (
            f"{altered}.png is not asked for and not removed: the PNG was altered since",
            f"{linked}.png is not asked for and not removed: the PNG is a symbolic link",
            f"{unrecorded}.png is not asked for and not removed: it has no record",
            "brick-original.png is not asked for and not removed: the optimised image was altered",
            "holiday.png is not asked for and not removed: it has no record",
            "notes.txt is not asked for and not removed: stimgen writes no such file",
            "There is nothing to remove.",
        ):
            assert words in result.stderr

    def test_lists_that_a_command_wrote_or_somebody_edited_stay(self, as_finished, tmp_path):
        run(tiny(tmp_path, trials=[LIST, PAIR]))
        with (as_finished.trials / "pairs.csv").open("a") as file:
            file.write("\n")
        arguments = ["--design", "rating", "--set", "min_source_gap=0"]
        stimgen("trials", as_finished.path, *arguments, "--out", as_finished.trials / "mine.csv")
        before = names(as_finished)
        assert stimgen("run", write_manifest(tmp_path, trials=[LIST]), "--prune").exit_code == 0
        assert names(as_finished) == before
        ((file, why),) = find_unplanned(as_finished, IDS, ["odd"]).others
        assert (file, why) == ("trials/pairs.csv", "it is not as stimgen run wrote it")

    def test_nothing_is_removed_where_stimuli_could_not_be_made(self, as_finished, tmp_path, control):
        def fails(source, rng):
            raise ValueError("no")

        control("fails", fails)
        before = names(as_finished)
        result = stimgen("run", write_manifest(tmp_path, controls=["fails"]), "--prune", "--yes")
        assert result.exit_code == 3
        assert "Nothing is removed, because stimuli could not be made." in result.stderr
        assert before <= names(as_finished)

    def test_in_a_script_it_takes_a_yes(self, as_finished, tmp_path):
        before = names(as_finished)
        result = stimgen("run", write_manifest(tmp_path), "--seeds", "2", "--prune")
        assert result.exit_code == 2
        assert "Add --yes, or leave out --prune." in result.stderr
        assert names(as_finished) == before

    @pytest.mark.skipif(os.name == "nt", reason="terminals of another kind")
    @pytest.mark.parametrize(("answer", "removed"), [("n", 0), ("y", 3)])
    def test_on_a_terminal_it_asks(self, as_finished, tmp_path, answer, removed):
        here, there = os.openpty()
        command = [sys.executable, "-m", "stimgen", "run", str(write_manifest(tmp_path))]
        with subprocess.Popen(
            [*command, "--seeds", "2", "--prune"], stdin=there, stderr=subprocess.PIPE, text=True
        ) as asked:
            os.write(here, f"{answer}\n".encode())
            _, said = asked.communicate(timeout=120)
        os.close(here)
        os.close(there)
        assert asked.returncode == 0, said
        assert "Remove them when the run is done?" in said
        assert ("Nothing is removed." in said) == (not removed)
        assert sum(not as_finished.png(name).exists() for name in FIRST) == removed


def test_a_change_that_was_interrupted_does_not_count_what_is_of_the_earlier_settings(
    as_finished, tmp_path, monkeypatch
):
    """Neither as right nor as wrong: the same command replaces it."""
    make, calls = Job.make, []

    def interrupted(self, batch, computed=None):
        calls.append(batch)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return make(self, batch, computed)

    monkeypatch.setattr(Job, "make", interrupted)
    changed_manifest = {"synthesis": TINY["synthesis"] | {"evaluations": [5, 6]}}
    with pytest.raises(KeyboardInterrupt):
        run(tiny(tmp_path, **changed_manifest))
    result = verify_run(as_finished.path)
    assert {one.severity for one in result.findings} == {"incomplete"}
    # One texture of the new settings, and the controls, which the settings do not concern.
    assert (result.planned, result.verified, result.stimuli_sha256) == (7, 4, None)
    of_records = [one for one in result.findings if one.file.startswith("records/")]
    assert len(of_records) == 3
    names = ", ".join(one.file for one in of_records)
    assert any(line.startswith(f"INCOMPLETE  {names}: was made") for line in sentences(result))
    monkeypatch.undo()
    run(tiny(tmp_path, **changed_manifest))
    assert verify_run(as_finished.path).findings == ()


def test_recipes_known_without_loading_weights_are_those_of_a_run(finished, tmp_path, monkeypatch):
    manifest = tiny(tmp_path)
    stimuli = plan(manifest)
    recipes = known_recipes(manifest, finished, stimuli)
    assert recipes == prepare(manifest, "cpu").recipes()
    published = published_weights("vgg16", "imagenet")
    other = dataclasses.replace(published, convention="torchvision")
    monkeypatch.setattr("stimgen.runs.recipe.published_weights", lambda network, name: other)
    found = known_recipes(manifest, finished, stimuli)
    assert not set(recipes.values()) & set(found.values()), "the same tensors with another input convention"


def test_a_linearised_source_makes_its_stimuli_again_and_is_named(tmp_path):
    sources = [{"id": "brick", "image": "skimage:brick"}]
    small = {"layer_sets": None, "controls": ["original"]}
    run(tiny(tmp_path, sources=sources, **small), out=tmp_path / "run")
    again = run(tiny(tmp_path, sources=[sources[0] | {"linearise": "srgb"}], **small), out=tmp_path / "run")
    assert (again.made, again.kept) == (1, 0)
    (row,) = pd.read_csv(tmp_path / "run" / "stimuli.csv").to_dict("records")
    assert row["source_linearise"] == "srgb"
    with Pillow.open(RunFolder(tmp_path / "run").png("brick-original")) as picture:
        assert np.asarray(picture).mean() / 255 == pytest.approx(row["luminance_mean"])
    assert row["luminance_mean"] < 0.3
