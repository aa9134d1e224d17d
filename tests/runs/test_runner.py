from __future__ import annotations

import csv
import io
import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image as Pillow
from rich.console import Console
from run_manifests import IDS, tiny, write_manifest

from stimgen.errors import InputError
from stimgen.images.sources import load_source
from stimgen.manifest.load import load_manifest
from stimgen.manifest.plan import plan
from stimgen.measure.portilla_simoncelli import OVERALL, portilla_simoncelli_distances
from stimgen.runs import runner
from stimgen.runs.progress import Progress
from stimgen.runs.runner import run
from stimgen.runs.store import RunFolder
from stimgen.texture.synthesis import synthesise

BLAND = {"layer_sets": {"conv1_1": ["conv1_1"]}, "seeds": [1], "controls": ["original"]}
"""Changes that leave one texture and one control."""


def contents(folder, *patterns):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for pattern in patterns
        for path in sorted(folder.glob(pattern))
    }


def pixels(folder, stimulus_id):
    return np.asarray(Pillow.open(folder.png(stimulus_id)))


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_folder_is_laid_out_as_designed(finished):
    found = {str(path.relative_to(finished.path)) for path in finished.path.rglob("*") if path.is_file()}
    tables = ["stimuli", "gram_distances", "spectra", "traces", "failures"]
    assert found - {".lock"} == {
        "manifest.yaml",
        "manifest.resolved.yaml",
        "run.json",
        *(f"{table}.{ending}" for table in tables for ending in ("csv", "json")),
        *(f"stimuli/{stimulus_id}.png" for stimulus_id in IDS),
        *(f"optimised/{stimulus_id}.safetensors" for stimulus_id in IDS),
        *(f"records/{stimulus_id}.json" for stimulus_id in IDS),
    }
    assert rows(finished.path / "failures.csv") == []


def test_a_manifest_below_a_folder_of_manifests_has_its_results_beside_that(tmp_path):
    path = write_manifest(tmp_path)
    below = path.parent / "a" / "b" / "tiny.yaml"
    below.parent.mkdir(parents=True)
    path.rename(below)
    assert load_manifest(below).output == tmp_path.resolve() / "results" / "tiny"
    elsewhere = tmp_path / "mine" / "tiny.yaml"
    elsewhere.parent.mkdir()
    below.rename(elsewhere)
    assert load_manifest(elsewhere).output == elsewhere.parent.resolve() / "results" / "tiny"


def test_run_json_says_what_was_used(finished):
    summary = json.loads((finished.path / "run.json").read_text("utf-8"))
    assert (summary["stimuli"], summary["made"], summary["kept"], summary["failed"]) == (7, 7, 0, 0)
    assert summary["rejected"] == 0
    assert summary["versions"]["torch"] == torch.__version__.partition("+")[0]
    (network,) = summary["networks"]
    assert network["tensors_sha256"] == finished.read_record(IDS[0]).network.tensors_sha256
    assert network["input"] == "caffe-rgb"


def test_the_original_is_the_quantised_source(finished, tmp_path):
    manifest = tiny(tmp_path)
    source = load_source(manifest.sources[0], manifest.image, name=manifest.name)
    np.testing.assert_array_equal(pixels(finished, "brick-original"), np.rint(source.pixels * 255))


def test_a_second_run_does_nothing(as_finished, tmp_path):
    before = {p: p.stat().st_mtime_ns for p in as_finished.path.glob("*/*")}
    texts = contents(as_finished.path, "*.csv", "*.json", "*.yaml")
    result = run(tiny(tmp_path))
    assert (result.made, result.kept, result.failures, result.unplanned) == (0, 7, (), ())
    assert {p: p.stat().st_mtime_ns for p in as_finished.path.glob("*/*")} == before
    assert contents(as_finished.path, "*.csv", "*.json", "*.yaml") == texts


def test_the_same_manifest_gives_the_same_bytes_in_another_folder(finished, tmp_path):
    result = run(tiny(tmp_path))
    assert result.made == 7
    patterns = ("stimuli/*.png", "*.csv", "stimuli.json", "manifest*.yaml")
    assert contents(result.folder, *patterns) == contents(finished.path, *patterns)


def test_a_stimulus_deleted_from_a_batch_of_two_is_made_again_with_the_same_bytes(tmp_path):
    manifest = tiny(tmp_path, controls=None)
    folder = RunFolder(run(manifest, batch_size=2).folder)
    before = contents(folder.path, "stimuli/*.png", "optimised/*", "*.csv")
    kept = folder.png("brick-pool1-s1").stat().st_mtime_ns
    folder.png("brick-pool1-s2").unlink()
    folder.image("brick-pool1-s2").unlink()

    console = Console(file=io.StringIO(), width=200)
    result = run(manifest, batch_size=2, progress=Progress(console=console))

    assert (result.made, result.kept) == (1, 3)
    assert contents(folder.path, "stimuli/*.png", "optimised/*", "*.csv") == before
    assert folder.png("brick-pool1-s1").stat().st_mtime_ns == kept
    assert console.file.getvalue().startswith("1/1  brick-pool1-s2  relative Gram distance up to ")
    assert json.loads((folder.path / "run.json").read_text("utf-8"))["batch_size"] == 2


def test_other_thresholds_change_the_tables_and_no_stimulus(as_finished, tmp_path):
    times = {path: path.stat().st_mtime_ns for path in as_finished.path.glob("*/*")}
    summary = json.loads((as_finished.path / "run.json").read_text("utf-8"))
    stimuli = pd.read_csv(as_finished.path / "stimuli.csv")
    assert stimuli["accepted"].all()
    assert stimuli["reject_reason"].isna().all()

    pool1 = stimuli.set_index("stimulus_id").loc[
        "brick-pool1-s1", ["gram_relative_conv1_1", "gram_relative_pool1"]
    ]
    result = run(tiny(tmp_path, accept={"gram_relative_max": float(pool1.max()) * 0.999}))

    assert (result.made, result.kept) == (0, 7)
    assert {path: path.stat().st_mtime_ns for path in as_finished.path.glob("*/*")} == times
    judged = pd.read_csv(as_finished.path / "stimuli.csv").set_index("stimulus_id")
    assert not judged.loc["brick-pool1-s1", "accepted"]
    worst = pool1.idxmax().removeprefix("gram_relative_")
    assert f"relative Gram distance on {worst} is" in judged.loc["brick-pool1-s1", "reject_reason"]
    assert judged.loc[IDS[4:], "accepted"].all()
    assert result.rejected == (~judged["accepted"]).sum() == judged["reject_reason"].notna().sum()
    after = json.loads((as_finished.path / "run.json").read_text("utf-8"))
    assert after["manifest_sha256"] != summary["manifest_sha256"]
    changed = {"rejected": result.rejected, "manifest_sha256": after["manifest_sha256"]}
    assert after == summary | changed

    assert run(tiny(tmp_path)).rejected == 0
    pd.testing.assert_frame_equal(pd.read_csv(as_finished.path / "stimuli.csv"), stimuli)


def test_a_manifest_that_is_edited_while_a_run_prepares_is_stored_as_it_was_read(tmp_path):
    manifest = tiny(tmp_path, **BLAND)
    given = manifest.path.read_bytes()
    manifest.path.write_text("stimgen: 1\nname: another\n")
    assert (run(manifest).folder / "manifest.yaml").read_bytes() == given


def test_the_resolved_manifest_loads_again_to_the_same_plan_and_finds_all_done(tmp_path):
    picture = tmp_path / "textures" / "own picture.png"
    picture.parent.mkdir()
    noise = np.random.default_rng(1).integers(0, 256, (60, 50), np.uint8)
    Pillow.fromarray(noise).save(picture)
    sources = [{"id": "own", "image": "../textures/own*.png", "crop": "random"}, "skimage:brick"]
    manifest = tiny(tmp_path, sources=sources, layer_sets={"pool1": {"layers": ["pool1"]}})
    result = run(manifest)

    again = load_manifest(result.folder / "manifest.resolved.yaml")

    assert plan(again) == plan(manifest)
    assert run(again, out=result.folder).kept == result.made == 2 * (2 + 1 + 2)


def test_one_failing_stimulus_does_not_take_the_run_down(tmp_path, control):
    def fails(source, rng):
        raise ValueError("no, [/red] :smile:\nnever")

    control("fails", fails)
    manifest = tiny(tmp_path, **BLAND | {"controls": ["fails", "original"]})
    console = Console(file=io.StringIO(), width=40)

    result = run(manifest, progress=Progress(console=console))

    assert (result.made, result.kept) == (2, 0)
    (row,) = rows(result.folder / "failures.csv")
    assert row["stimulus_id"] == "brick-fails"
    assert row["error"].startswith("ValueError: no; [/red] :smile: never (test_runner.py:")
    assert row["cure"] == "This is unexpected: please report it with the manifest."
    assert "1/3  brick-fails  FAILED: ValueError: no, [/red] :smile:\nnever (test" in console.file.getvalue()
    assert json.loads((result.folder / "run.json").read_text("utf-8"))["failed"] == 1
    assert [row["condition"] for row in rows(result.folder / "stimuli.csv")] == ["conv1_1", "original"]

    def mended(source, rng):
        return source[::-1]

    control("fails", mended)
    result = run(manifest)
    assert (result.made, result.kept, result.failures) == (1, 2, ())
    assert rows(result.folder / "failures.csv") == []


def test_out_of_memory_halves_the_batch(finished, tmp_path, monkeypatch, capsys):
    """The error is raised here as a device would, for more than one problem at once."""
    sizes = []

    def small_card(problems, *arguments):
        sizes.append(len(problems))
        if len(problems) > 1:
            raise torch.OutOfMemoryError
        return synthesise(problems, *arguments)

    monkeypatch.setattr("stimgen.runs.make.synthesise", small_card)
    result = run(tiny(tmp_path), batch_size=4, progress=Progress())
    assert not result.failures
    assert sizes == [4, 2, 1, 1, 2, 1, 1]
    assert "Out of memory with 4 stimuli at once; going on with 2." in capsys.readouterr().err
    for png in finished.stimuli.iterdir():
        assert (result.folder / "stimuli" / png.name).read_bytes() == png.read_bytes()

    def no_memory(*arguments):
        raise torch.OutOfMemoryError

    monkeypatch.setattr("stimgen.runs.make.synthesise", no_memory)
    result = run(tiny(tmp_path), out=tmp_path / "none")
    assert len(result.failures) == 4
    assert "has not enough memory for one stimulus" in result.failures[0].error


def test_a_run_killed_before_its_last_summary_is_said_to_have_made_what_it_made(as_finished, tmp_path):
    path = as_finished.path / "run.json"
    summary = json.loads(path.read_text())
    path.write_text(json.dumps(summary | {"made": 0, "kept": 3}))  # as written at its start
    assert run(tiny(tmp_path)).made == 0
    assert json.loads(path.read_text()) == summary | {"made": 4, "kept": 3}


@pytest.mark.parametrize("preset", ["multiscale", "gatys2015"])
def test_colour_runs_through(tmp_path, preset):
    budget = {"evaluations": [5]} if preset == "multiscale" else {"iterations": 5}
    changes = BLAND | {
        "image": {"size_px": 32, "color": "rgb"},
        "sources": [{"id": "cup", "image": "skimage:coffee"}],
        "synthesis": {"preset": preset, **budget},
        "network": {"name": "vgg16"},
    }
    folder = RunFolder(run(tiny(tmp_path, **changes), out=tmp_path / "deep" / "down").folder)
    for stimulus_id in ("cup-conv1_1-s1", "cup-original"):
        image = pixels(folder, stimulus_id)
        assert image.shape == (32, 32, 3)
        assert np.any(image[..., 0] != image[..., 2])
    assert not (tmp_path / "results").exists()
    row = rows(folder.path / "stimuli.csv")[0]
    assert row["preset"] == f"{preset} v{folder.read_record('cup-conv1_1-s1').synthesis.version}"
    assert (row["color"], row["size_deg"], row["ppd"]) == ("rgb", "", "")


def test_bad_sources_are_all_named_before_anything_is_made(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    (tmp_path / "b.png").write_bytes(b"neither")
    manifest = tiny(tmp_path, sources=["../a.png", "../b.png"])
    with pytest.raises(InputError) as error:
        run(manifest)
    assert "a.png" in str(error.value)
    assert "b.png" in str(error.value)
    assert not (tmp_path / "results").exists()


TEXTURELESS = {"image": {"size_px": 128}, "layer_sets": None, "seeds": [1]}


def test_portilla_simoncelli_is_measured_on_the_file_if_asked_for(finished, tmp_path):
    manifest = tiny(tmp_path, **TEXTURELESS, measure={"portilla_simoncelli": True})
    result = run(manifest)
    table = pd.read_csv(result.folder / "stimuli.csv").set_index("stimulus_id")
    source = load_source(manifest.sources[0], manifest.image, name=manifest.name).pixels
    for stimulus_id in ("brick-original", "brick-phase_scrambled-s1"):
        file = np.asarray(Pillow.open(RunFolder(result.folder).png(stimulus_id)), np.float32) / 255
        for family, distance in portilla_simoncelli_distances(file, source).items():
            column = "ps_distance" if family == OVERALL else f"ps_distance_{family}"
            assert table.loc[stimulus_id, column] == pytest.approx(distance, rel=1e-5)
    assert "portilla_simoncelli" not in finished.read_record(IDS[0]).measured_with
    assert table.loc["brick-original", "ps_distance"] < 0.05 < table["ps_distance"].max()
    assert "plenoptic" in RunFolder(result.folder).read_record("brick-original").made.versions


def test_options_of_the_command_line_replace_those_of_the_manifest(tmp_path):
    changes = BLAND | {"network": {"name": "vgg19", "normalise": False}}
    folder = RunFolder(run(tiny(tmp_path, override_network="vgg16", override_seeds=[3], **changes)).folder)
    record = folder.read_record("brick-conv1_1-s3")
    assert (record.network.name, record.network.normalise) == ("vgg16", False)
    assert folder.read_summary()["overrides"] == {"network": "vgg16", "seeds": [3]}
    assert {path.stem for path in folder.stimuli.iterdir()} == {"brick-conv1_1-s3", "brick-original"}


def test_only_long_runs_record_the_speed_of_a_device(tmp_path, monkeypatch):
    monkeypatch.setenv("STIMGEN_CACHE", str(tmp_path / "cache"))
    run(tiny(tmp_path, **BLAND))
    assert not (tmp_path / "cache" / "speed.json").exists()
    monkeypatch.setattr(runner, "SPEED_NEEDS_S", 0.0)
    run(tiny(tmp_path, **BLAND), out=tmp_path / "again")
    assert json.loads((tmp_path / "cache" / "speed.json").read_text())["cpu multiscale auto"] > 0
    monkeypatch.setenv("STIMGEN_CACHE", str(tmp_path / "again" / "run.json" / "cache"))  # cannot be made
    assert run(tiny(tmp_path, **BLAND), out=tmp_path / "third").made == 2
