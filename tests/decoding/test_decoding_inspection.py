from __future__ import annotations

import hashlib
import os

import pytest
from decoding_images import write_gratings
from stimgen.decoding.inspection import inspect_images

from stimgen.decoding import inspection


@pytest.fixture
def paths(tmp_path):
    write_gratings(tmp_path / "images", 5)
    return sorted((tmp_path / "images").glob("*/*"))


@pytest.fixture
def reads(monkeypatch):
    """Names of the files that were read."""
    seen = []
    original = inspection.read_image

    def read(path):
        seen.append(path.name)
        return original(path)

    monkeypatch.setattr(inspection, "read_image", read)
    return seen


def inspect(paths, log):
    return inspect_images(paths, 16, log, lambda _: None)


def test_hashes_are_those_of_the_bytes(paths, tmp_path):
    sha256, unusable = inspect(paths, tmp_path / "log")
    assert sha256 == {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    assert unusable == []


def test_no_file_is_read_twice_until_it_changes(paths, tmp_path, reads):
    first, _ = inspect(paths, tmp_path / "log")
    reads.clear()
    assert inspect(paths, tmp_path / "log")[0] == first
    assert reads == []
    paths[3].write_bytes(paths[7].read_bytes())
    os.utime(paths[3], ns=(1, 1))
    changed, _ = inspect(paths, tmp_path / "log")
    assert reads == [paths[3].name]
    assert changed == first | {paths[3]: first[paths[7]]}
    reads.clear()
    inspect(paths, tmp_path / "log")
    assert reads == []


@pytest.mark.parametrize("cut", [1, 30, 150, 10_000])
def test_a_log_that_a_kill_cut_off_is_used_as_far_as_it_is_whole(paths, tmp_path, reads, cut):
    log = tmp_path / "log"
    first, _ = inspect(paths, log)
    whole = log.read_bytes()
    log.write_bytes(whole[: max(0, len(whole) - cut)])
    known = log.read_bytes().count(b"\n")
    reads.clear()
    assert inspect(paths, log)[0] == first
    assert len(reads) == len(paths) - known
    assert sorted(log.read_bytes().splitlines()) == sorted(whole.splitlines())


def test_a_file_that_cannot_be_read_is_tried_again(paths, tmp_path):
    good = paths[0].read_bytes()
    state = paths[0].stat()
    paths[0].write_bytes(b"x" * len(good))
    os.utime(paths[0], ns=(state.st_atime_ns, state.st_mtime_ns))
    _, (unusable,) = inspect(paths, tmp_path / "log")
    assert unusable.file == str(paths[0])
    paths[0].write_bytes(good)
    os.utime(paths[0], ns=(state.st_atime_ns, state.st_mtime_ns))
    assert inspect(paths, tmp_path / "log")[1] == []
