from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

from stimgen.errors import InputError, StimgenError
from stimgen.runs.store import RunFolder, StoreError, write_atomically

HOLD_LOCK = """
import sys
from pathlib import Path
from stimgen.runs.store import RunFolder
folder = RunFolder(Path(sys.argv[1]))
folder.prepare()
with folder.locked():
    print("locked", flush=True)
    sys.stdin.read()
"""
WRITE_WITH_LIMIT = """
import resource, sys
from pathlib import Path
from stimgen.runs.store import StoreError, write_atomically
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_atomically(Path(sys.argv[1]), b"x" * 5000)
except StoreError as error:
    print(error)
"""


@contextmanager
def another_process_in(folder):
    command = [sys.executable, "-c", HOLD_LOCK, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "locked\n"
        try:
            yield process
        finally:
            process.stdin.close()
            process.wait()


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "table.csv"
    write_atomically(path, "ä\n")
    write_atomically(path, b"new")

    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_files_can_be_read_by_whom_the_umask_allows(tmp_path):
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "a", b"")
    finally:
        os.umask(before)

    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("old", [None, b"old"], ids=["new file", "old file"])
def test_a_write_that_fails_half_way_leaves_what_was_there(tmp_path, old):
    path = tmp_path / "stimulus.png"
    if old:
        path.write_bytes(old)

    done = subprocess.run(
        [sys.executable, "-c", WRITE_WITH_LIMIT, str(path)], capture_output=True, text=True, check=True
    )

    assert f"{path} cannot be written: File too large." in done.stdout
    assert "Free the disk" in done.stdout
    assert [file.read_bytes() for file in tmp_path.iterdir()] == ([old] if old else [])


def test_a_write_into_a_folder_that_vanished_says_so(tmp_path):
    with pytest.raises(StoreError, match="cannot be written: No such file or directory"):
        write_atomically(tmp_path / "gone" / "a.png", b"")


def test_a_second_run_is_refused_while_another_process_is_at_work(tmp_path):
    folder = RunFolder(tmp_path)
    with another_process_in(tmp_path):
        with pytest.raises(StimgenError, match="Another stimgen run is at work") as error, folder.locked():
            pytest.fail("both are in")
        assert error.value.exit_code == 4
    with folder.locked():
        pass


def test_a_killed_process_leaves_no_lock_and_its_half_files_are_removed(tmp_path):
    folder = RunFolder(tmp_path)
    with another_process_in(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        for place in (tmp_path, folder.stimuli, folder.records, folder.trials, folder.checkpoints):
            place.mkdir(exist_ok=True)
            (place / ".tmp-x7").write_bytes(b"half a P")
        with folder.locked():
            assert not list(tmp_path.rglob(".tmp-*"))


def test_a_folder_that_holds_something_else_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("everything")
    with pytest.raises(InputError, match="is not empty and holds no stimgen run") as error:
        RunFolder(tmp_path).prepare()

    assert error.value.exit_code == 2
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_folder_that_cannot_be_made_says_why(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be made: Not a directory"):
        RunFolder(tmp_path / "file" / "run").prepare()


def test_a_folder_that_cannot_be_locked_says_why(tmp_path):
    (tmp_path / ".lock").mkdir()
    with pytest.raises(StoreError, match="cannot be locked: Is a directory"), RunFolder(tmp_path).locked():
        pass


def test_an_empty_folder_and_a_run_are_accepted(tmp_path):
    folder = RunFolder(tmp_path)
    folder.prepare()
    folder.prepare()
    assert folder.stimuli.is_dir()
    assert folder.records.is_dir()


def done(folder, stimulus_id="brick-original"):
    record = folder.read_record(stimulus_id)
    return record is not None and folder.finished(stimulus_id, record.recipe_sha256) == record


def test_a_stimulus_with_record_recipe_and_png_is_done(as_finished):
    assert done(as_finished)
    assert as_finished.finished("brick-original", "0" * 64) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"format": 3}'])
def test_a_damaged_record_is_none(as_finished, content):
    as_finished.record("brick-original").write_bytes(content)
    assert as_finished.read_record("brick-original") is None
    assert not done(as_finished)


def test_a_truncated_record_is_none(as_finished):
    path = as_finished.record("brick-original")
    path.write_bytes(path.read_bytes()[:-20])
    assert as_finished.read_record("brick-original") is None


def test_a_record_of_another_stimulus_does_not_count(as_finished):
    other = as_finished.record("brick-conv1_1-s1").read_bytes()
    as_finished.record("brick-original").write_bytes(other)
    assert not done(as_finished)


def test_an_altered_or_missing_png_is_not_done(as_finished):
    path = as_finished.png("brick-original")
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert not done(as_finished)
    path.unlink()
    assert not done(as_finished)


def test_folders_that_begin_like_unfinished_files_are_somebody_elses(tmp_path):
    folder = RunFolder(tmp_path)
    folder.prepare()
    (tmp_path / ".tmp-notes").mkdir()
    with folder.locked():
        pass
    assert (tmp_path / ".tmp-notes").is_dir()
