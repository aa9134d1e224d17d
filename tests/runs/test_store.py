from __future__ import annotations

import errno
import os

import pytest

from stimgen.atomic import create_file
from stimgen.errors import NO_SPACE, InputError, of_the_machine
from stimgen.runs.store import RunFolder, StoreError, write_atomically


def test_files_can_be_read_by_whom_the_umask_allows(tmp_path):
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "a", b"")
    finally:
        os.umask(before)

    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_a_folder_that_holds_something_else_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("everything")
    with pytest.raises(InputError, match="is not empty and holds no stimgen run") as error:
        RunFolder(tmp_path).prepare()

    assert error.value.exit_code == 2
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_full_disk_is_to_be_freed(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path)
    folder.prepare()

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="cannot be locked: No space left") as error, folder.locked():
        pytest.fail("nothing can be written")
    assert error.value.cure == NO_SPACE
    with pytest.raises(OSError, match="No space left") as failed:
        create_file(tmp_path / "new.yaml", b"")
    told = of_the_machine(failed.value)
    assert (told.problem, told.cure) == (f"{tmp_path / 'new.yaml'}: No space left on device.", NO_SPACE)


def test_folders_that_begin_like_unfinished_files_are_somebody_elses(tmp_path):
    folder = RunFolder(tmp_path)
    folder.prepare()
    (tmp_path / ".tmp-notes").mkdir()
    with folder.locked():
        pass
    assert (tmp_path / ".tmp-notes").is_dir()
