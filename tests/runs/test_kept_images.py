"""What changes after the synthesis: from the kept images, with the bytes of a run that begins anew."""

from __future__ import annotations

import json
import shutil
import signal

import numpy as np
import pytest
from file_operations import stop
from run_manifests import IDS, stimgen, tiny, write_manifest
from safetensors.numpy import load_file, save
from same_runs import comparable, differences

from stimgen.controls.phase_scrambled import phase_scrambled
from stimgen.errors import StimgenError
from stimgen.images.png import decode_png
from stimgen.images.sources import load_source
from stimgen.manifest.load import load_manifest
from stimgen.manifest.plan import plan
from stimgen.runs.recipe import stimulus_generator
from stimgen.runs.results import Shard
from stimgen.runs.runner import run
from stimgen.runs.steps import decode_image, encode_image
from stimgen.runs.store import RunFolder
from stimgen.verify.rebuild import rebuild_tables
from stimgen.verify.report import sentences
from stimgen.verify.run import verify_run

ID = IDS[2]
AFTERWARDS = {"preset": "gatys2015", "iterations": 3}
"""It matches after the synthesis."""
COLOURED = {
    "image": {"size_px": 32, "color": "rgb"},
    "sources": [
        {"id": "brick", "image": "skimage:brick"},
        {"id": "cup", "image": "skimage:coffee", "crop": [0, 0, 200, 200]},
    ],
    "seeds": [1],
    "synthesis": AFTERWARDS,
    "controls": ["original", "phase_scrambled", {"name": "random_weights", "layer_set": "pool1"}],
}
BEFORE = {"histogram": "source"}
CHANGES = {
    "matched otherwise": {"matching": {"luminance": "set", "rotational_spectrum": "source"}},
    "not matched": {"matching": {}},
    "16 bits": {"matching": BEFORE, "image": {"size_px": 32, "color": "rgb", "bits": 16}},
    "a measured layer": {"matching": BEFORE, "measure": {"layers": ["pool2"]}},
    "a size in degrees": {"matching": BEFORE, "image": {"size_px": 32, "ppd": 20, "color": "rgb"}},
    "all of it": {
        "matching": BEFORE | {"channels": "luminance"},
        "measure": {"layers": ["pool2"], "copying": False},
        "image": {"size_px": 32, "ppd": 20, "color": "rgb"},
    },
}


@pytest.fixture(scope="session")
def coloured(tmp_path_factory):
    """A run in colour with a source that has none, and with matching; copy it before changing it."""
    folder = tmp_path_factory.mktemp("coloured")
    assert run(tiny(folder, **COLOURED, matching=BEFORE)).made == 10
    return RunFolder(folder / "results" / "tiny")


def times(folder, kind):
    return {path.name: path.stat().st_mtime_ns for path in getattr(folder, kind).iterdir()}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_after_the_synthesis_synthesises_nothing_and_gives_the_bytes_of_a_new_run(
    coloured, tmp_path, change, request
):
    there = RunFolder(shutil.copytree(coloured.path, tmp_path / "there"))
    manifest = tiny(tmp_path, **COLOURED | CHANGES[change])
    fresh = run(manifest, out=tmp_path / "fresh")
    before = {kind: times(there, kind) for kind in ("optimised", "stimuli")}

    request.getfixturevalue("nothing_is_made")
    result = run(manifest, out=there.path)

    matched = change not in ("a measured layer", "a size in degrees")
    assert (result.made, result.matched, result.measured) == (0, 10 * matched, 10 * (not matched))
    assert differences(there.path, fresh.folder) == []
    assert times(there, "optimised") == before["optimised"]
    assert (times(there, "stimuli") == before["stimuli"]) == (not matched)
    for png in coloured.stimuli.iterdir():
        time, same = before["stimuli"][png.name], there.png(png.stem).read_bytes() == png.read_bytes()
        assert (there.png(png.stem).stat().st_mtime_ns == time) == same
    assert verify_run(there.path).findings == ()
    again = run(manifest, out=there.path)
    assert (again.kept, differences(there.path, fresh.folder)) == (10, [])


def test_what_textures_are_confined_to_synthesises_again_and_the_rest_does_not(tmp_path):
    changes = {"sources": COLOURED["sources"][:1], "controls": ["original", "pixel_shuffled"], "seeds": [1]}
    first = run(tiny(tmp_path, **changes, matching=BEFORE))
    assert first.made == 4
    both = run(tiny(tmp_path, **changes, matching=BEFORE | {"rotational_spectrum": "source"}))
    assert (both.made, both.matched) == (0, 4)
    other = run(tiny(tmp_path, **changes, matching={"luminance": "source"}))
    assert (other.made, other.matched) == (2, 2)


def test_a_condition_more_is_made_and_the_others_are_measured_on_its_layer(as_finished, tmp_path):
    sets = {"conv1_1": ["conv1_1"], "pool1": ["conv1_1", "pool1"], "pool2": ["pool2"]}
    path = write_manifest(tmp_path, layer_sets=sets)
    said = "to keep 0, to measure again 7, to match again 0, to synthesise 2"
    assert f"There:     {said} (files not compared)" in stimgen("check", path).stdout
    before = as_finished.read_record(ID)
    result = stimgen("run", path)
    assert f"Stimuli {said}." in result.stderr
    assert f"{ID}  relative Gram distance up to " in result.stderr
    assert "2 made, 7 measured again, 0 kept, 0 failed." in result.stderr
    after = as_finished.read_record(ID)
    assert after.measured_layers == ("conv1_1", "pool1", "pool2")
    assert (after.made, after.png_sha256) == (before.made, before.png_sha256)
    fresh = run(tiny(tmp_path, layer_sets=sets), out=tmp_path / "fresh")
    assert differences(as_finished.path, fresh.folder) == []


def test_a_kept_image_is_the_image_before_matching(coloured):
    manifest = load_manifest(coloured.path / "manifest.resolved.yaml")
    for stimulus in plan(manifest):
        if stimulus.condition == "phase_scrambled":
            spec = next(one for one in manifest.sources if one.id == stimulus.source)
            source = load_source(spec, manifest.image, name=manifest.name).pixels
            image = load_file(coloured.image(stimulus.stimulus_id))["image"]
            assert image.ndim == (2 if stimulus.source == "brick" else 3), "brick has one plane three times"
            expected = phase_scrambled(source, stimulus_generator(stimulus, "make"))
            np.testing.assert_array_equal(np.broadcast_to(image.T, expected.T.shape).T, expected)
            file = decode_png(coloured.png(stimulus.stimulus_id).read_bytes())
            assert abs(file - expected).max() > 1 / 255


def test_a_damaged_image_is_found_and_mended(as_finished, finished, tmp_path):
    path = as_finished.image(ID)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    result = verify_run(as_finished.path)
    ((file, problem),) = {(one.file, one.problem) for one in result.findings}
    assert (file, result.right, result.verified) == (f"optimised/{ID}.safetensors", False, 6)
    assert problem.startswith("was altered: its SHA-256 is ")
    assert run(tiny(tmp_path)).made == 1
    assert verify_run(as_finished.path).findings == ()
    assert differences(as_finished.path, finished.path) == []


def test_images_may_be_deleted_until_they_are_needed(as_finished, finished, tmp_path):
    shutil.rmtree(as_finished.optimised)
    result = verify_run(as_finished.path)
    assert (result.right, result.verified) == (True, 7)
    assert any("lacks the images of 7 stimuli: " in line for line in sentences(result))
    again = run(tiny(tmp_path))
    assert (again.made, again.kept) == (0, 7)
    again = run(tiny(tmp_path, measure={"copying": False}))
    assert (again.made, again.measured) == (0, 7)
    again = run(tiny(tmp_path, measure={"layers": ["pool2"]}))
    assert (again.made, again.measured) == (7, 0)
    assert verify_run(as_finished.path).findings == ()
    assert run(tiny(tmp_path)).measured == 7
    assert differences(as_finished.path, finished.path) == []


def test_a_deleted_file_comes_back_from_its_image(as_finished, finished, tmp_path, nothing_is_made):
    as_finished.png(ID).unlink()
    assert run(tiny(tmp_path)).matched == 1
    assert differences(as_finished.path, finished.path) == []


def test_shards_go_on_from_the_images(tmp_path, request):
    shards = [Shard(number, 2) for number in (1, 2)]
    folder, _ = (run(tiny(tmp_path, synthesis=AFTERWARDS), shard=shard).folder for shard in shards)
    manifest = tiny(tmp_path, synthesis=AFTERWARDS, matching={"histogram": "source"})
    fresh = run(manifest, out=tmp_path / "fresh")
    request.getfixturevalue("nothing_is_made")
    results = [run(manifest, shard=shard) for shard in shards]
    assert (sum(one.made for one in results), sum(one.matched for one in results)) == (0, 7)
    rebuild_tables(folder)
    assert differences(folder, fresh.folder, without={"shards"}) == []
    assert verify_run(folder).right


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"safetensors",
        save({"other": np.zeros((32, 32), np.float32)}),
        save({"image": np.zeros((32, 31), np.float32)}),
        save({"image": np.zeros((32, 32))}),
    ],
)
def test_what_is_no_image_of_the_run_is_refused(content):
    with pytest.raises(StimgenError, match="ptimised image"):
        decode_image(content, 32)


def test_an_image_comes_back_as_it_was():
    rng = np.random.default_rng(1)
    for shape in ((32, 32), (32, 32, 3)):
        image = rng.normal(size=shape).astype(np.float32)
        np.testing.assert_array_equal(decode_image(encode_image(image), 32), image)
    grey = np.repeat(rng.normal(size=(32, 32, 1)).astype(np.float32), 3, axis=2)
    np.testing.assert_array_equal(decode_image(encode_image(grey), 32), grey[..., 0])


@pytest.mark.slow
def test_kills_between_all_operations_on_files_of_a_change(forks, tmp_path):
    def manifest(number, **changes):
        folder = tmp_path / str(number)
        return write_manifest(folder, controls=["original"], synthesis=AFTERWARDS, **changes)

    first = manifest(1, matching={"histogram": "source"})
    changed = manifest(2, matching={"luminance": "source"}, measure={"layers": ["pool2"]})
    assert forks.run("run", first, "--out", tmp_path / "out").code == 0
    start = shutil.copytree(tmp_path / "out", tmp_path / "start" / "out")
    fresh, log = tmp_path / "fresh" / "out", tmp_path / "log.txt"
    assert forks.run("run", changed, "--out", fresh).code == 0
    made = {name: record["made"] for name, record in _records(start).items()}
    ended = forks.run("run", changed, "--out", tmp_path / "out", before=stop(log=str(log)))
    assert ended.code == 0, ended.errors
    places = dict.fromkeys(tuple(line.split("\t")) for line in log.read_text().splitlines())
    assert ("replace", "stimuli/*.png") in places
    assert not [name for _, name in places if name.startswith("optimised/*")], "nothing is synthesised"
    for number, place in enumerate(places):
        out = shutil.copytree(start, tmp_path / f"life{number}" / "out")
        killed = forks.run("run", changed, "--out", out, before=stop(kill_at=(*place, 1)))
        assert killed.code == -signal.SIGKILL, (place, killed.errors)
        if (out / "manifest.resolved.yaml").exists():
            assert [one for one in verify_run(out).findings if one.severity == "wrong"] == []
        assert forks.run("run", changed, "--out", out).code == 0
        assert comparable(out) == comparable(fresh), place
        assert {name: record["made"] for name, record in _records(out).items()} == made
        assert verify_run(out).findings == ()
        shutil.rmtree(out)


def _records(folder):
    return {path.stem: json.loads(path.read_bytes()) for path in folder.glob("records/*.json")}
