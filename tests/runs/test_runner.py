from __future__ import annotations

import csv
import io
import json
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image as Pillow
from rich.console import Console
from run_manifests import IDS, tiny, write_manifest

from stimgen.errors import InputError, StimgenError
from stimgen.images.sources import load_source
from stimgen.manifest.load import load_manifest
from stimgen.manifest.plan import plan
from stimgen.measure.portilla_simoncelli import OVERALL, portilla_simoncelli_distances
from stimgen.networks.device import find_device
from stimgen.networks.extractor import build_extractor
from stimgen.runs import preparation, runner
from stimgen.runs.preparation import Networks
from stimgen.runs.progress import Progress
from stimgen.runs.runner import run
from stimgen.runs.store import RunFolder, StoreError, sha256
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
        *(f"records/{stimulus_id}.json" for stimulus_id in IDS),
    }
    assert rows(finished.path / "failures.csv") == []


def test_a_run_goes_to_results_beside_the_manifests_folder(finished):
    assert finished.path.name == "tiny"
    assert (finished.path.parents[1] / "manifests" / "tiny.yaml").is_file()
    assert finished.path.parent.name == "results"


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


def test_out_names_another_folder(tmp_path):
    manifest = tiny(tmp_path, **BLAND, name="elsewhere")
    result = run(manifest, out=tmp_path / "deep" / "down")
    assert result.folder == tmp_path / "deep" / "down"
    assert not (tmp_path / "results").exists()


def test_run_json_says_what_was_used(finished):
    summary = json.loads((finished.path / "run.json").read_text("utf-8"))
    assert (summary["stimuli"], summary["made"], summary["kept"], summary["failed"]) == (7, 7, 0, 0)
    assert summary["rejected"] == 0
    assert summary["versions"]["torch"] == torch.__version__.partition("+")[0]
    (network,) = summary["networks"]
    assert network["tensors_sha256"] == finished.read_record(IDS[0]).network.tensors_sha256
    assert network["input"] == "caffe-rgb"


def test_images_have_the_size_and_colour_of_the_manifest(finished):
    for stimulus_id in IDS:
        assert pixels(finished, stimulus_id).shape == (32, 32)
        assert pixels(finished, stimulus_id).dtype == np.uint8


def test_seeds_and_conditions_give_different_images(finished):
    assert len({finished.png(stimulus_id).read_bytes() for stimulus_id in IDS}) == len(IDS)


def test_the_original_is_the_quantised_source(finished, tmp_path):
    manifest = tiny(tmp_path)
    source = load_source(manifest.sources[0], manifest.image, name=manifest.name)
    np.testing.assert_array_equal(pixels(finished, "brick-original"), np.rint(source.pixels * 255))


@pytest.mark.parametrize("stimulus_id", ["brick-pool1-s2", "brick-phase_scrambled-s1"])
def test_distances_of_the_file_are_those_of_the_png_on_disk(finished, tmp_path, stimulus_id):
    manifest = tiny(tmp_path)
    source = load_source(manifest.sources[0], manifest.image, name=manifest.name)
    extractor = build_extractor(preparation.find_weights("vgg16", "imagenet"), normalise=False)

    def grams(plane):
        image = torch.from_numpy(np.repeat(plane[np.newaxis, np.newaxis], 3, axis=1).astype(np.float32))
        maps = extractor.features(image, ["conv1_1", "pool1"])
        flat = {layer: m[0].double().flatten(1).numpy() for layer, m in maps.items()}
        return {layer: m @ m.T / m.shape[1] for layer, m in flat.items()}

    seen, target = grams(pixels(finished, stimulus_id) / 255.0), grams(source.pixels)
    recorded = [d for d in finished.read_record(stimulus_id).distances if d.stage == "file"]
    assert [distance.layer for distance in recorded] == ["conv1_1", "pool1"]
    for distance in recorded:
        difference = seen[distance.layer] - target[distance.layer]
        relative = np.linalg.norm(difference) / np.linalg.norm(target[distance.layer])
        assert distance.gram_relative == pytest.approx(relative, rel=1e-3)
        assert distance.gram_loss == pytest.approx(np.sum(difference**2) / (4 * 64**2), rel=1e-3)


def test_luminance_is_that_of_the_png_on_disk(finished):
    values = pixels(finished, "brick-pool1-s1") / 255.0
    statistics = finished.read_record("brick-pool1-s1").statistics
    assert statistics["luminance_mean"] == pytest.approx(values.mean(), abs=1e-6)
    assert statistics["luminance_sd"] == pytest.approx(values.std(), abs=1e-6)


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


@pytest.mark.parametrize("stimulus_id", ["brick-original", "brick-phase_scrambled-s2", "brick-pool1-s2"])
def test_a_deleted_png_is_made_again_with_the_same_bytes(as_finished, tmp_path, stimulus_id):
    before = contents(as_finished.path, "stimuli/*.png", "*.csv")
    as_finished.png(stimulus_id).unlink()
    result = run(tiny(tmp_path))
    assert (result.made, result.kept) == (1, 6)
    assert contents(as_finished.path, "stimuli/*.png", "*.csv") == before


def test_altered_pngs_and_damaged_records_are_made_again(as_finished, tmp_path):
    before = contents(as_finished.path, "stimuli/*.png", "*.csv")
    as_finished.png("brick-conv1_1-s1").write_bytes(as_finished.png("brick-original").read_bytes())
    as_finished.record("brick-phase_scrambled-s1").write_text("{")
    result = run(tiny(tmp_path))
    assert (result.made, result.kept) == (2, 5)
    assert contents(as_finished.path, "stimuli/*.png", "*.csv") == before


def test_a_png_deleted_from_a_batch_of_two_is_made_again_with_the_same_bytes(tmp_path):
    manifest = tiny(tmp_path, controls=None)
    folder = RunFolder(run(manifest, batch_size=2).folder)
    before = contents(folder.path, "stimuli/*.png", "*.csv")
    kept = folder.png("brick-pool1-s1").stat().st_mtime_ns
    folder.png("brick-pool1-s2").unlink()

    console = Console(file=io.StringIO(), width=200)
    result = run(manifest, batch_size=2, progress=Progress(console=console))

    assert (result.made, result.kept) == (1, 3)
    assert contents(folder.path, "stimuli/*.png", "*.csv") == before
    assert folder.png("brick-pool1-s1").stat().st_mtime_ns == kept
    assert console.file.getvalue().startswith("1/1  brick-pool1-s2  relative Gram distance up to ")
    assert json.loads((folder.path / "run.json").read_text("utf-8"))["batch_size"] == 2


def test_what_the_recipe_changes_is_made_again(as_finished, tmp_path):
    before = contents(as_finished.path, "stimuli/*.png")
    result = run(
        tiny(tmp_path, controls=["original", {"name": "phase_scrambled", "periodic_component": True}])
    )
    after = contents(as_finished.path, "stimuli/*.png")
    assert (result.made, result.kept) == (2, 5)
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {f"stimuli/brick-phase_scrambled-s{seed}.png" for seed in (1, 2)}


def test_residuals_of_a_control_are_in_its_record_and_row(tmp_path):
    result = run(tiny(tmp_path, **BLAND | {"controls": ["original", "phase_scrambled_histogram"]}))
    folder = RunFolder(result.folder)
    residuals = folder.read_record("brick-phase_scrambled_histogram-s1").control.residuals
    assert folder.read_record("brick-original").control.residuals == {}
    assert residuals.keys() == {"spectrum", "histogram"}
    table = pd.read_csv(folder.path / "stimuli.csv").set_index("stimulus_id")
    for name, residual in residuals.items():
        column = table[f"residual_{name}"]
        assert column.dropna().to_dict() == {"brick-phase_scrambled_histogram-s1": residual}
    assert 0 < residuals["spectrum"] < 0.5
    assert residuals["histogram"] == 0


def test_blocks_that_are_too_large_are_refused_before_anything_is_made(tmp_path):
    with pytest.raises(InputError, match="Set block_px to 16 or less"):
        tiny(tmp_path, **BLAND | {"controls": ["block_shuffled", "original"]})


def test_other_thresholds_change_the_tables_and_no_stimulus(as_finished, tmp_path):
    before = contents(as_finished.path, "stimuli/*", "records/*")
    times = {path: path.stat().st_mtime_ns for path in as_finished.path.glob("*/*")}
    summary = json.loads((as_finished.path / "run.json").read_text("utf-8"))
    stimuli = pd.read_csv(as_finished.path / "stimuli.csv")
    assert stimuli["accepted"].dtype == bool
    assert stimuli["accepted"].all()
    assert stimuli["reject_reason"].isna().all()

    pool1 = stimuli.set_index("stimulus_id").loc[
        "brick-pool1-s1", ["gram_relative_conv1_1", "gram_relative_pool1"]
    ]
    result = run(tiny(tmp_path, accept={"gram_relative_max": float(pool1.max()) * 0.999}))

    assert (result.made, result.kept) == (0, 7)
    assert contents(as_finished.path, "stimuli/*", "records/*") == before
    assert {path: path.stat().st_mtime_ns for path in as_finished.path.glob("*/*")} == times
    judged = pd.read_csv(as_finished.path / "stimuli.csv").set_index("stimulus_id")
    assert judged["accepted"].dtype == bool
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


def test_strangers_are_listed_and_left_alone(as_finished, tmp_path):
    (as_finished.stimuli / "holiday.png").write_bytes(b"me")
    result = run(tiny(tmp_path, override_seeds=[2]))
    strangers = ("brick-conv1_1-s1", "brick-phase_scrambled-s1", "brick-pool1-s1", "holiday")
    assert result.unplanned == strangers
    assert (result.made, result.kept) == (0, 4)
    assert all(as_finished.png(name).exists() for name in strangers)
    listed = [row["stimulus_id"] for row in rows(as_finished.path / "stimuli.csv")]
    assert listed == [stimulus_id for stimulus_id in IDS if "-s1" not in stimulus_id]


def test_the_manifests_in_the_folder_are_those_of_the_tables_also_with_nothing_to_do(as_finished, tmp_path):
    path = write_manifest(tmp_path, seeds=[2])
    run(load_manifest(path))
    assert (as_finished.path / "manifest.yaml").read_bytes() == path.read_bytes()
    resolved = yaml.safe_load((as_finished.path / "manifest.resolved.yaml").read_text("utf-8"))
    assert resolved["seeds"] == [2]


def test_a_manifest_that_is_edited_while_a_run_prepares_is_stored_as_it_was_read(tmp_path):
    manifest = tiny(tmp_path, **BLAND)
    given = manifest.path.read_bytes()
    manifest.path.write_text("stimgen: 1\nname: another\n")
    assert (run(manifest).folder / "manifest.yaml").read_bytes() == given


def test_seeds_of_the_command_line_replace_the_manifests(tmp_path):
    result = run(tiny(tmp_path, override_seeds=[4], controls=None))
    assert sorted(path.stem for path in (result.folder / "stimuli").iterdir()) == [
        "brick-conv1_1-s4",
        "brick-pool1-s4",
    ]


def test_the_network_of_the_command_line_replaces_the_manifests(tmp_path):
    changes = BLAND | {"network": {"name": "vgg19", "normalise": False}}
    result = run(tiny(tmp_path, override_network="vgg16", **changes))
    record = RunFolder(result.folder).read_record("brick-conv1_1-s1")
    assert (record.network.name, record.network.normalise) == ("vgg16", False)


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


def test_a_control_that_gives_no_numbers_is_a_failure_with_its_cause(tmp_path, control):
    control("dark", lambda source, rng: source * np.float32("nan"))
    (failure,) = run(tiny(tmp_path, **BLAND | {"controls": ["dark"]})).failures
    assert failure.stimulus_id == "brick-dark"
    assert "not finite" in failure.error


def test_after_an_interrupt_the_tables_describe_the_images_that_are_there(
    as_finished, tmp_path, monkeypatch, capsys
):
    calls = []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return synthesise(*arguments)

    monkeypatch.setattr("stimgen.runs.make.synthesise", interrupted)
    changed = tiny(tmp_path, **{"synthesis": {"smallest_px": 16, "evaluations": [4, 4]}})
    with pytest.raises(KeyboardInterrupt):
        run(changed, progress=Progress())
    assert "4 stimuli there were made with other settings, or altered: replaced." in capsys.readouterr().err
    rows = list(csv.DictReader(io.StringIO((as_finished.path / "stimuli.csv").read_text())))
    assert len(rows) == 5  # three controls that are as before, and two textures made anew
    for row in rows:
        content = (as_finished.path / row["filename"]).read_bytes()
        assert row["png_sha256"] == f"sha256:{sha256(content)}"


def test_out_of_memory_halves_the_batch_and_gives_the_same_images(finished, tmp_path, monkeypatch, capsys):
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


def test_out_of_memory_with_one_stimulus_says_what_to_do(tmp_path, monkeypatch):
    def no_memory(*arguments):
        raise torch.OutOfMemoryError

    monkeypatch.setattr("stimgen.runs.make.synthesise", no_memory)
    result = run(tiny(tmp_path))
    assert len(result.failures) == 4
    assert "has not enough memory for one stimulus" in result.failures[0].error
    assert "smaller stimuli" in result.failures[0].cure


def test_a_run_killed_before_its_summary_writes_it_the_next_time(as_finished, tmp_path):
    (as_finished.path / "run.json").unlink()
    assert run(tiny(tmp_path)).made == 0
    summary = json.loads((as_finished.path / "run.json").read_text())
    assert (summary["stimuli"], summary["kept"]) == (7, 7)


def test_a_run_killed_before_its_last_summary_is_said_to_have_made_what_it_made(as_finished, tmp_path):
    path = as_finished.path / "run.json"
    summary = json.loads(path.read_text())
    path.write_text(json.dumps(summary | {"made": 0, "kept": 3}))  # as written at its start
    assert run(tiny(tmp_path)).made == 0
    assert json.loads(path.read_text()) == summary | {"made": 4, "kept": 3}


@pytest.mark.parametrize("content", ["", "[]", "{"])
def test_a_damaged_summary_is_written_anew(as_finished, tmp_path, content):
    (as_finished.path / "run.json").write_text(content)
    assert run(tiny(tmp_path)).made == 0
    assert json.loads((as_finished.path / "run.json").read_text())["kept"] == 7


def test_a_batch_that_fails_names_all_that_were_wanted_from_it(as_finished, tmp_path, monkeypatch):
    def fault(*arguments):
        raise RuntimeError("a fault")

    for stimulus_id in ("brick-pool1-s1", "brick-original"):
        as_finished.png(stimulus_id).unlink()
    monkeypatch.setattr("stimgen.runs.make.synthesise", fault)
    result = run(tiny(tmp_path), batch_size=4)
    assert [failure.stimulus_id for failure in result.failures] == ["brick-pool1-s1"]
    assert (result.made, result.kept) == (1, 5)


def test_a_folder_that_cannot_be_written_any_more_ends_the_run(tmp_path, control):
    def removes_the_folder(source, rng):
        shutil.rmtree(tmp_path / "results" / "tiny" / "stimuli")
        return source

    control("removes", removes_the_folder)
    with pytest.raises(StoreError, match=r"brick-removes\.png cannot be written: No such file"):
        run(tiny(tmp_path, **BLAND | {"controls": ["removes"]}))


def test_gatys2015_runs_through(tmp_path):
    changes = BLAND | {"synthesis": {"preset": "gatys2015", "iterations": 6}, "controls": None}
    folder = RunFolder(run(tiny(tmp_path, **changes)).folder)
    synthesis = folder.read_record("brick-conv1_1-s1").synthesis
    assert (synthesis.preset, synthesis.stop_reason, synthesis.iterations) == ("gatys2015", "iterations", 6)
    (row,) = rows(folder.path / "stimuli.csv")
    assert row["preset"] == "gatys2015 v1"


@pytest.mark.parametrize("preset", ["multiscale", "gatys2015"])
def test_colour_runs_through(tmp_path, preset):
    budget = {"evaluations": [5]} if preset == "multiscale" else {"iterations": 5}
    changes = BLAND | {
        "image": {"size_px": 32, "color": "rgb"},
        "sources": [{"id": "cup", "image": "skimage:coffee"}],
        "synthesis": {"preset": preset, **budget},
        "network": {"name": "vgg16"},
    }
    folder = RunFolder(run(tiny(tmp_path, **changes)).folder)
    for stimulus_id in ("cup-conv1_1-s1", "cup-original"):
        image = pixels(folder, stimulus_id)
        assert image.shape == (32, 32, 3)
        assert np.any(image[..., 0] != image[..., 2])
    row = rows(folder.path / "stimuli.csv")[0]
    assert (row["color"], row["size_deg"], row["ppd"]) == ("rgb", "", "")


@pytest.mark.parametrize("color", ["grey", "rgb"])
def test_matched_histograms_are_those_of_the_quantised_source(tmp_path, color):
    changes = {"image": {"size_px": 32, "color": color}, "matching": {"histogram": "source"}}
    manifest = tiny(tmp_path, **changes, seeds=[1], sources=[{"id": "cup", "image": "skimage:coffee"}])
    folder = RunFolder(run(manifest).folder)
    source = load_source(manifest.sources[0], manifest.image, name=manifest.name)
    expected = np.sort(np.rint(source.pixels * 255).reshape(32 * 32, -1), axis=0)
    for stimulus in plan(manifest):
        found = np.sort(pixels(folder, stimulus.stimulus_id).reshape(32 * 32, -1), axis=0)
        np.testing.assert_array_equal(found, expected)
        record = folder.read_record(stimulus.stimulus_id)
        assert (record.matching.settings, record.clipped_share) == (manifest.matching, 0)
        assert record.matching.histogram == 0
    stages = {
        d.stage: d.gram_loss for d in folder.read_record("cup-pool1-s1").distances if d.layer == "pool1"
    }
    assert stages["optimised"] != stages["matched"] != stages["file"]


def test_bad_sources_are_all_named_before_anything_is_made(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    (tmp_path / "b.png").write_bytes(b"neither")
    manifest = tiny(tmp_path, sources=["../a.png", "../b.png"])
    with pytest.raises(InputError) as error:
        run(manifest)
    assert "a.png" in str(error.value)
    assert "b.png" in str(error.value)
    assert not (tmp_path / "results").exists()


def test_weights_of_a_file_are_named_by_the_file(tmp_path, monkeypatch):
    manifest = tiny(tmp_path)
    weights = preparation.find_weights("vgg16", "imagenet")
    monkeypatch.setattr(preparation, "find_weights", lambda network, name: weights)
    network = manifest.network.model_copy(update={"weights": "/data/16.pth"})
    assert Networks(manifest, "cpu").record(network).weights == "16.pth"


def test_a_speed_that_cannot_be_kept_is_no_failure(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("STIMGEN_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr(runner, "SPEED_NEEDS_S", 0.0)
    assert run(tiny(tmp_path, **BLAND)).made == 2


def test_only_long_runs_say_how_fast_a_device_is(tmp_path, monkeypatch):
    monkeypatch.setenv("STIMGEN_CACHE", str(tmp_path / "cache"))
    run(tiny(tmp_path, **BLAND))
    assert not (tmp_path / "cache").exists()
    monkeypatch.setattr(runner, "SPEED_NEEDS_S", 0.0)
    run(tiny(tmp_path, **BLAND), out=tmp_path / "again")
    assert json.loads((tmp_path / "cache" / "speed.json").read_text())["cpu multiscale auto"] > 0


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "mps", "", "cuda:-1", "cuda:256"])
def test_an_unknown_device_is_refused(device):
    with pytest.raises(InputError) as error:
        find_device(device)
    assert device in str(error.value)


def test_the_cpu_is_a_device():
    assert find_device("cpu") == torch.device("cpu")


TEXTURELESS = {"image": {"size_px": 128}, "layer_sets": None, "seeds": [1]}


def test_portilla_simoncelli_is_measured_on_the_file_if_asked_for(tmp_path):
    manifest = tiny(tmp_path, **TEXTURELESS, measure={"portilla_simoncelli": True})
    result = run(manifest)
    table = pd.read_csv(result.folder / "stimuli.csv").set_index("stimulus_id")
    source = load_source(manifest.sources[0], manifest.image, name=manifest.name).pixels
    for stimulus_id in ("brick-original", "brick-phase_scrambled-s1"):
        file = np.asarray(Pillow.open(RunFolder(result.folder).png(stimulus_id)), np.float32) / 255
        for family, distance in portilla_simoncelli_distances(file, source).items():
            column = "ps_distance" if family == OVERALL else f"ps_distance_{family}"
            assert table.loc[stimulus_id, column] == pytest.approx(distance, rel=1e-5)
    assert table.loc["brick-original", "ps_distance"] < 0.05 < table["ps_distance"].max()
    assert "plenoptic" in RunFolder(result.folder).read_record("brick-original").made.versions


def test_portilla_simoncelli_is_not_measured_otherwise(finished):
    assert "portilla_simoncelli" not in finished.read_record(IDS[0]).measured_with
    assert not any("ps_" in header for header in rows(finished.path / "stimuli.csv")[0])


def test_without_plenoptic_the_run_does_not_start(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "plenoptic", None)
    manifest = tiny(tmp_path, **TEXTURELESS, measure={"portilla_simoncelli": True})
    with pytest.raises(StimgenError, match=r"stimgen\[ps\]"):
        run(manifest)
    assert not manifest.output.exists()


def test_what_the_command_line_overrides_is_in_run_json(finished, tmp_path):
    changes = BLAND | {"network": {"name": "vgg19", "normalise": False}}
    result = run(tiny(tmp_path, override_network="vgg16", override_seeds=[3], **changes))
    assert RunFolder(result.folder).read_summary()["overrides"] == {"network": "vgg16", "seeds": [3]}
    assert finished.read_summary()["overrides"] == {}


def test_a_residual_that_cannot_be_measured_fails_its_stimulus_alone(tmp_path, monkeypatch):
    from stimgen.runs import make

    measured = make.matched_distance
    values = iter([float("nan")])
    monkeypatch.setattr(make, "matched_distance", lambda *given: next(values, None) or measured(*given))
    result = run(tiny(tmp_path, controls=None), batch_size=2)
    assert (result.made, len(result.failures)) == (3, 1)
