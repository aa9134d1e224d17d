from __future__ import annotations

import numpy as np
import pytest

from stimgen.decoding.features import feature_folder, locked
from stimgen.errors import StimgenError
from stimgen.runs.store import StoreError

SIZES = {"conv1_1": 3, "pool1": 2}
FIRST, SECOND, THIRD = ("1" * 64, "2" * 64, "3" * 64)


def rows(start: int, count: int) -> dict[str, np.ndarray]:
    return {
        layer: np.arange(start, start + count * size, dtype=np.float32).reshape(count, size)
        for layer, size in SIZES.items()
    }


@pytest.fixture
def folder(tmp_path):
    made = feature_folder(tmp_path, {"size_px": 64}, SIZES)
    made.repair()
    return made


def test_rows_come_back_as_they_were_with_their_images(folder):
    folder.append(rows(0, 2), [FIRST, SECOND])
    folder.append(rows(50, 1), [THIRD])
    assert folder.images() == [FIRST, SECOND, THIRD]
    for layer in SIZES:
        expected = np.concatenate([rows(0, 2)[layer], rows(50, 1)[layer]])
        np.testing.assert_array_equal(folder.open(layer), expected)
        assert isinstance(folder.open(layer), np.memmap)


def test_what_a_kill_left_behind_is_removed(folder):
    folder.append(rows(0, 1), [FIRST])
    before = {path.name: path.read_bytes() for path in folder.path.iterdir()}
    with folder.file("conv1_1").open("ab") as file:
        file.write(b"\0" * 17)
    with folder.index.open("ab") as file:
        file.write(SECOND.encode()[:40])
    assert folder.images() == [FIRST]
    folder.repair()
    assert {path.name: path.read_bytes() for path in folder.path.iterdir()} == before


def test_missing_rows_are_damage(folder):
    folder.append(rows(0, 2), [FIRST, SECOND])
    with folder.file("pool1").open("r+b") as file:
        file.truncate(9)
    with pytest.raises(StimgenError, match="is shorter than") as error:
        folder.repair()
    assert "Remove the folder" in error.value.cure


def test_other_settings_have_another_folder(tmp_path):
    paths = {feature_folder(tmp_path, {"size_px": px, "z": 1}, SIZES).path for px in (64, 65)}
    assert len(paths) == 2
    assert feature_folder(tmp_path, {"z": 1, "size_px": 64}, SIZES).path in paths


def test_a_folder_that_another_command_uses_is_refused(tmp_path):
    with locked(tmp_path), pytest.raises(StimgenError, match="Another stimgen decode"), locked(tmp_path):
        pytest.fail("both are in")
    with locked(tmp_path):
        pass


def test_half_written_files_are_removed(tmp_path):
    leftovers = [tmp_path / ".tmp-x", tmp_path / "layers" / ".tmp-y"]
    kept = tmp_path / "layers" / "pool1.json"
    leftovers[1].parent.mkdir()
    for path in (*leftovers, kept):
        path.write_text("half")
    with locked(tmp_path):
        assert not any(path.exists() for path in leftovers)
    assert kept.exists()


def test_a_folder_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        feature_folder(tmp_path / "file", {}, SIZES)
    with pytest.raises(StoreError, match="cannot be written"), locked(tmp_path / "file" / "deeper"):
        pytest.fail("locked")
