from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stimgen.decoding.split import hold_out, joined_groups, refuse_missing_classes
from stimgen.errors import InputError

labelled_groups = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), min_size=1, max_size=80)


@given(images=labelled_groups, share=st.floats(0.05, 0.95), seed=st.integers(0, 2**32 - 1))
def test_a_group_is_never_on_both_sides(images, share, seed):
    labels, groups = (np.array(column) for column in zip(*images, strict=True))
    held = hold_out(labels, groups, share, np.random.default_rng(seed))
    assert not set(groups[held]) & set(groups[~held])


@given(images=labelled_groups, share=st.floats(0.05, 0.95), seed=st.integers(0, 2**32 - 1))
def test_groups_of_one_class_are_divided_whenever_there_are_two(images, share, seed):
    labels = np.array([label for label, _ in images])
    groups = np.array([100 * label + group for label, group in images])
    held = hold_out(labels, groups, share, np.random.default_rng(seed))
    for label in np.unique(labels):
        assert held[labels == label].any() == (len(np.unique(groups[labels == label])) > 1)


@given(count=st.integers(2, 200), share=st.floats(0.05, 0.95), seed=st.integers(0, 2**32 - 1))
def test_without_groups_the_share_is_what_was_asked_for(count, share, seed):
    labels = np.repeat([0, 1, 2], count)
    held = hold_out(labels, np.arange(3 * count), share, np.random.default_rng(seed))
    for label in range(3):
        wanted = min(max(share * count, 1), count - 1)
        assert abs(held[labels == label].sum() - wanted) <= 0.5


def test_the_seed_chooses():
    labels, groups = np.repeat([0, 1], 50), np.arange(100)
    one, again, other = (hold_out(labels, groups, 0.3, np.random.default_rng(s)) for s in (1, 1, 2))
    assert (one == again).all()
    assert (one != other).any()


def test_files_with_the_same_bytes_are_in_one_group():
    joined = joined_groups(["a", "a", "b", "c", "d"], ["1", "2", "2", "3", "1"])
    assert joined[0] == joined[1] == joined[2] == joined[4]
    assert joined[3] != joined[0]


@given(images=labelled_groups)
def test_joined_groups_are_the_finest_that_keep_both_together(images):
    """Against merging sets until nothing changes."""
    groups, files = ([str(entry) for entry in column] for column in zip(*images, strict=True))
    sets = [{number} for number in range(len(images))]
    for first in range(len(images)):
        for second in range(first):
            if groups[first] == groups[second] or files[first] == files[second]:
                one, two = (next(s for s in sets if n in s) for n in (first, second))
                if one is not two:
                    sets.remove(two)
                    one |= two
    joined = joined_groups(groups, files)
    found = [set(np.flatnonzero(joined == number).tolist()) for number in np.unique(joined)]
    assert sorted(map(sorted, found)) == sorted(map(sorted, sets))


def test_a_part_without_a_class_is_refused_with_its_name():
    parts = {"training": np.array([0, 1, 2]), "test": np.array([0, 0])}
    with pytest.raises(InputError, match="The test part has no images of bark, sand") as error:
        refuse_missing_classes(parts, ["brick", "bark", "sand"])
    assert "training part" not in error.value.problem
    refuse_missing_classes({"test": np.array([0, 0])}, ["brick"])


def test_a_hundred_thousand_images_are_divided():
    labels = np.repeat(np.arange(1000), 100)
    held = hold_out(labels, np.arange(100_000), 0.1, np.random.default_rng(1))
    assert held.sum() == 10_000


@pytest.mark.parametrize("seed", range(20))
def test_one_large_group_does_not_take_all_of_a_class(seed):
    groups = np.repeat([0, 1, 2], [90, 5, 5])
    held = hold_out(np.zeros(100, int), groups, 0.25, np.random.default_rng(seed))
    assert held.sum() in (5, 10)


def test_of_large_groups_the_smallest_is_held_out():
    held = hold_out(np.zeros(100, int), np.repeat([0, 1], [60, 40]), 0.1, np.random.default_rng(0))
    assert held.sum() == 40
