from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from decoding_images import quick_settings, write_gratings
from hypothesis import given
from hypothesis import strategies as st

from stimgen.decoding import dataset
from stimgen.decoding.dataset import (
    PARTS,
    divide,
    find_images,
    hold_out,
    inspect_images,
    joined_groups,
    refuse_mixed_folders,
)
from stimgen.errors import InputError

BEFORE_NUMBER = "^(.+)-[0-9]+$"
labelled_groups = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), min_size=1, max_size=80)
shares, seeds = st.floats(0.05, 0.95), st.integers(0, 2**32 - 1)


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
    make(tmp_path, "b/2.png", "b/1.JPEG", "a/9.tif")
    make(tmp_path, "a/notes.txt", "a/.hidden.png", "a/deeper/0.png", ".x/1.png")
    images = find_images(tmp_path)
    assert list(images["path"]) == [tmp_path / name for name in ("a/9.tif", "b/1.JPEG", "b/2.png")]
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
    assert unusable == {}
    reads.clear()
    assert inspect(paths, tmp_path / "log")[0] == first
    assert reads == []
    paths[3].write_bytes(paths[7].read_bytes())
    os.utime(paths[3], ns=(1, 1))
    changed, _ = inspect(paths, tmp_path / "log")
    assert reads == [paths[3].name]
    assert changed == first | {paths[3]: first[paths[7]]}


@pytest.mark.parametrize("cut", [1, 10_000])
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


def images_of(**counts):
    """Images of some classes in groups of two; the files of a class have the bytes 0, 1, …."""
    rows = [
        (Path(label, f"{number}.png"), label, f"{label}{number // 2}", "training", str(number))
        for label, count in counts.items()
        for number in range(count)
    ]
    return pd.DataFrame(rows, columns=["path", "class", "group", "part", "sha256"])


@given(images=labelled_groups, share=shares, seed=seeds)
def test_groups_are_never_divided_and_classes_are_on_both_sides(images, share, seed):
    labels, groups = (np.array(column) for column in zip(*images, strict=True))
    held = hold_out(labels, groups, share, np.random.default_rng(seed))
    assert not set(groups[held]) & set(groups[~held])
    # Now no group is in two classes.
    groups = np.array([100 * label + group for label, group in images])
    held = hold_out(labels, groups, share, np.random.default_rng(seed))
    for label in np.unique(labels):
        several = len(np.unique(groups[labels == label])) > 1
        assert held[labels == label].any() == several
        assert not held[labels == label].all()


@given(count=st.integers(2, 200), share=shares, seed=seeds)
def test_share_is_exact_without_groups(count, share, seed):
    labels = np.repeat([0, 1, 2], count)
    held = hold_out(labels, np.arange(3 * count), share, np.random.default_rng(seed))
    for label in range(3):
        wanted = min(max(share * count, 1), count - 1)
        assert abs(held[labels == label].sum() - wanted) <= 0.5


def test_large_groups_are_not_preferred_and_the_seed_decides():
    for seed in range(5):
        rng = np.random.default_rng(seed)
        assert hold_out(np.zeros(100, int), np.repeat([0, 1, 2], [90, 5, 5]), 0.25, rng).sum() in (5, 10)
        assert hold_out(np.zeros(100, int), np.repeat([0, 1], [60, 40]), 0.1, rng).sum() == 40
    labels, groups = np.repeat(np.arange(1000), 100), np.arange(100_000)
    first, again, other = (hold_out(labels, groups, 0.1, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.sum() == 10_000
    assert (first == again).all()
    assert (first != other).any()


@given(images=labelled_groups)
def test_joined_groups_are_connected_components(images):
    """Against merging sets until nothing changes."""
    groups, files = ([str(entry) for entry in column] for column in zip(*images, strict=True))
    sets = [{number} for number in range(len(images))]
    for first in range(len(images)):
        for second in range(first):
            if groups[first] == groups[second] or files[first] == files[second]:
                left, right = (next(s for s in sets if number in s) for number in (first, second))
                if left is not right:
                    sets.remove(right)
                    left |= right
    joined = joined_groups(groups, files)
    found = [set(np.flatnonzero(joined == number).tolist()) for number in np.unique(joined)]
    assert sorted(map(sorted, found)) == sorted(map(sorted, sets))


def test_copies_and_groups_are_in_one_part():
    images = images_of(a=24, b=24)
    divided = divide(images, quick_settings(Path("images")))
    assert list(divided["path"]) == list(images["path"])
    assert (divided.groupby("sha256")["part"].nunique() == 1).all()
    assert (divided.groupby(images["group"])["part"].nunique() == 1).all()
    assert set(divided["part"]) == set(PARTS)
    assert list(divided["class"].cat.categories) == ["a", "b"]


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"a": 6}, "Only one class"),
        ({}, "There are no images"),
        ({"a": 24, "b": 2, "c": 2}, "The test part has no images of b, c"),
    ],
)
def test_unusable_division_is_refused(counts, message):
    with pytest.raises(InputError, match=message) as error:
        divide(images_of(**counts), quick_settings(Path("images")))
    assert "training part" not in error.value.problem
