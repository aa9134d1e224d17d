from __future__ import annotations

import os

import pytest

from stimgen.errors import InputError
from stimgen.runs.store import RunFolder, write_atomically


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


def test_folders_that_begin_like_unfinished_files_are_somebody_elses(tmp_path):
    folder = RunFolder(tmp_path)
    folder.prepare()
    (tmp_path / ".tmp-notes").mkdir()
    with folder.locked():
        pass
    assert (tmp_path / ".tmp-notes").is_dir()
