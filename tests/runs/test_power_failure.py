"""Power failures at any moment: what was said to be done is there, and a run goes on to the same bytes."""

from __future__ import annotations

import shutil

import pytest
from disk import Disk, restore
from run_manifests import tiny
from same_runs import comparable

from stimgen.atomic import create_file, make_folder, write_file
from stimgen.runs import checkpoints
from stimgen.runs.runner import run

FEW = {"layer_sets": {"pool1": ["conv1_1", "pool1"]}, "seeds": [1], "controls": ["original"]}


@pytest.fixture(scope="module")
def disk(tmp_path_factory) -> Disk:
    """The disk of an undisturbed run with checkpoints, in the folder "above/out"."""
    root = tmp_path_factory.mktemp("disk")
    manifest = tiny(tmp_path_factory.mktemp("manifest"), **FEW)
    disk = Disk(root)
    with pytest.MonkeyPatch.context() as patch, disk.watched():
        patch.setattr(checkpoints, "EVERY_S", 0.0)
        assert run(manifest, out=root / "above" / "out").made == 2
    return disk


def test_in_every_state_each_file_is_whole(disk):
    """What has a name of its own has content; a record comes with its PNG, and that with its image."""
    for state in disk.states:
        files = {name: content for name, content in state.items() if content is not None}
        assert all(content for name, content in files.items() if "/.tmp-" not in name)
        for name in files:
            if "/records/" in name and "/.tmp-" not in name:
                assert name.replace("/records/", "/stimuli/").replace(".json", ".png") in files
            if "/stimuli/" in name and "/.tmp-" not in name:
                assert name.replace("/stimuli/", "/optimised/").replace(".png", ".safetensors") in files


@pytest.mark.slow
def test_from_every_state_a_run_goes_on_to_the_same_bytes(disk, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "EVERY_S", 0.0)
    manifest, expected = tiny(tmp_path, **FEW), comparable(disk.root / "above" / "out")
    assert len(disk.states) > 100
    for state in disk.states:
        root = tmp_path / "root"
        root.mkdir()
        restore(state, root)
        assert not run(manifest, out=root / "above" / "out").failures
        found = comparable(root / "above" / "out")
        assert found == expected, sorted(state)
        shutil.rmtree(root)


def test_the_simulated_disk_loses_what_is_not_synced(tmp_path):
    """So that a write which forgot to sync would be found."""
    disk = Disk(tmp_path)
    with disk.watched():
        make_folder(tmp_path / "folder")
        write_file(tmp_path / "folder" / "a", b"one")
        assert {"folder": None, "folder/a": b"one"} in disk.states
        assert {"folder": None} in disk.states
        (tmp_path / "folder" / "b").write_bytes(b"two")
        (tmp_path / "folder" / "b").replace(tmp_path / "folder" / "a")
    assert {"folder": None, "folder/a": b""} in disk.states


def test_a_file_is_created_once(tmp_path):
    create_file(tmp_path / "a", b"one")
    with pytest.raises(FileExistsError):
        create_file(tmp_path / "a", b"two")
    assert (tmp_path / "a").read_bytes() == b"one"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
