from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from decoding_images import quick_settings
from hypothesis import given
from hypothesis import strategies as st

from stimgen.decoding.dataset import PARTS, divide, hold_out, joined_groups, refuse_gaps
from stimgen.errors import InputError

labelled_groups = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), min_size=1, max_size=80)
shares, seeds = st.floats(0.05, 0.95), st.integers(0, 2**32 - 1)


def images_of(**counts):
    """Images of some classes in groups of two; the files of a class have the bytes 0, 1, …."""
    rows = [
        (Path(label, f"{number}.png"), label, f"{label}{number // 2}", "training", str(number))
        for label, count in counts.items()
        for number in range(count)
    ]
    return pd.DataFrame(rows, columns=["path", "class", "group", "part", "sha256"])


@given(images=labelled_groups, share=shares, seed=seeds)
def test_groups_are_never_divided(images, share, seed):
    labels, groups = (np.array(column) for column in zip(*images, strict=True))
    held = hold_out(labels, groups, share, np.random.default_rng(seed))
    assert not set(groups[held]) & set(groups[~held])


@given(images=labelled_groups, share=shares, seed=seeds)
def test_class_with_two_groups_is_on_both_sides(images, share, seed):
    labels = np.array([label for label, _ in images])
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


@pytest.mark.parametrize("seed", range(5))
def test_large_groups_are_not_preferred(seed):
    rng = np.random.default_rng(seed)
    assert hold_out(np.zeros(100, int), np.repeat([0, 1, 2], [90, 5, 5]), 0.25, rng).sum() in (5, 10)
    assert hold_out(np.zeros(100, int), np.repeat([0, 1], [60, 40]), 0.1, rng).sum() == 40


def test_hundred_thousand_images_are_divided_by_seed():
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


@pytest.mark.parametrize(("counts", "message"), [({"a": 6}, "Only one class"), ({}, "There are no images")])
def test_two_classes_must_be_left(counts, message):
    with pytest.raises(InputError, match=message):
        divide(images_of(**counts), quick_settings(Path("images")))


def test_class_missing_in_a_part_is_named():
    classes = ["brick", "bark", "sand"]
    images = pd.DataFrame(
        {"part": ["training"] * 3 + ["validation"] * 3 + ["test"], "class": [*classes * 2, "brick"]}
    )
    images["class"] = pd.Categorical(images["class"])
    with pytest.raises(InputError, match="The test part has no images of bark, sand") as error:
        refuse_gaps(images, None)
    assert "training part" not in error.value.problem
