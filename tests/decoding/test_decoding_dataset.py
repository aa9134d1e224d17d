from __future__ import annotations

import hashlib
import os

import pytest
from decoding_images import write_gratings

from stimgen.decoding import dataset
from stimgen.decoding.dataset import find_images, inspect_images, refuse_mixed_folders
from stimgen.errors import InputError

BEFORE_NUMBER = "^(.+)-[0-9]+$"


def make(folder, *files):
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(b"x")
    return folder


def inspect(paths, log):
    return inspect_images(paths, 16, log, lambda _: None)


@pytest.fixture
def paths(tmp_path):
    write_gratings(tmp_path / "images", 5)
    return sorted((tmp_path / "images").glob("*/*"))


@pytest.fixture
def reads(monkeypatch):
    """Names of the files that were read."""
    names = []
    original = dataset.read_image
    monkeypatch.setattr(dataset, "read_image", lambda path: names.append(path.name) or original(path))
    return names


def test_images_are_sorted_by_class_and_name(tmp_path):
    make(
        tmp_path,
        "b/2.png",
        "b/1.JPEG",
        "a/9.tif",
        "a/notes.txt",
        "a/.hidden.png",
        "a/deeper/0.png",
        ".x/1.png",
    )
    images = find_images(tmp_path)
    assert [f"{path.parent.name}/{path.name}" for path in images["path"]] == [
        "a/9.tif",
        "b/1.JPEG",
        "b/2.png",
    ]
    assert list(images["class"]) == ["a", "b", "b"]
    assert images["group"].is_unique


@pytest.mark.parametrize("pattern", [BEFORE_NUMBER, "^[a-z]+"])
def test_pattern_finds_groups(tmp_path, pattern):
    make(tmp_path, "a/oak-1.png", "a/oak-2.png", "a/ash-1.png", "b/oak-3.png")
    assert list(find_images(tmp_path, pattern)["group"]) == ["ash", "oak", "oak", "oak"]


@pytest.mark.parametrize(
    ("files", "pattern", "message"),
    [
        (["1.png", "a/1.png", "b/1.png"], None, r"images that are in no class: .*1\.png"),
        (["a/1.png"], None, "has 1 classes, and decoding needs 2 or more"),
        (["a/1.png", "b/1.txt"], None, "There are no images in .*b"),
        (["a/1.png", "b/1.png"], "(", "is not a regular expression"),
        (["a/1.png", "b/1.png"], BEFORE_NUMBER, "finds no group in the name of .*a/1.png"),
        (["a/1.png", "b/1.png"], "(x)?", "finds no group in the name of"),
        ([], None, "There is no folder"),
    ],
)
def test_unusable_folder_is_refused(tmp_path, files, pattern, message):
    with pytest.raises(InputError, match=message) as error:
        find_images(make(tmp_path / "images", *files), pattern)
    assert error.value.cure


def test_training_and_test_have_same_classes_and_different_groups(tmp_path):
    training = find_images(make(tmp_path / "training", "a/oak-1.png", "b/ash-1.png"), "^[a-z]+")
    shared = find_images(make(tmp_path / "shared", "a/elm-1.png", "b/oak-7.png"), "^[a-z]+")
    other = find_images(make(tmp_path / "other", "a/elm-1.png", "d/fir-7.png"), "^[a-z]+")
    good = find_images(make(tmp_path / "good", "a/elm-1.png", "b/fir-7.png"), "^[a-z]+")
    with pytest.raises(InputError, match="1 groups are in the training and in the test folder: oak"):
        refuse_mixed_folders(training, shared)
    with pytest.raises(InputError, match="on one side only: b, d"):
        refuse_mixed_folders(training, other)
    refuse_mixed_folders(training, good)


def test_inspected_files_are_read_again_only_if_they_change(paths, tmp_path, reads):
    first, unusable = inspect(paths, tmp_path / "log")
    assert first == {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    assert unusable == []
    reads.clear()
    assert inspect(paths, tmp_path / "log")[0] == first
    assert reads == []
    paths[3].write_bytes(paths[7].read_bytes())
    os.utime(paths[3], ns=(1, 1))
    changed, _ = inspect(paths, tmp_path / "log")
    assert reads == [paths[3].name]
    assert changed == first | {paths[3]: first[paths[7]]}


@pytest.mark.parametrize("cut", [1, 30, 10_000])
def test_log_with_a_line_cut_off_is_completed(paths, tmp_path, reads, cut):
    log = tmp_path / "log"
    first, _ = inspect(paths, log)
    whole = log.read_bytes()
    log.write_bytes(whole[: max(0, len(whole) - cut)])
    known = log.read_bytes().count(b"\n")
    reads.clear()
    assert inspect(paths, log)[0] == first
    assert len(reads) == len(paths) - known
    assert sorted(log.read_bytes().splitlines()) == sorted(whole.splitlines())
