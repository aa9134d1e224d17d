from __future__ import annotations

import itertools
import string
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from trial_checks import check_even, stimuli

from stimgen.errors import InputError
from stimgen.trials import DESIGNS, OptionError, design_columns, make_trials
from stimgen.trials.available import MOST_TRIALS

quickly = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SOURCES = tuple(f"source_{letter}" for letter in string.ascii_lowercase)
CELL = (), ("condition",), ("condition", "source"), ("condition", "source", "stimulus_id")


@st.composite
def cases(draw):
    """Draw stimuli, and options that all designs with conditions have; not all can be fulfilled."""
    sources = SOURCES[: draw(st.integers(1, 6))]
    seeds = draw(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=4, unique=True))
    textures = tuple(f"pool{i}" for i in range(draw(st.integers(1, 3))))
    unseeded = ("spectrum",) if draw(st.booleans()) else ()
    size_px = draw(st.integers(16, 80))
    available = stimuli(sources, textures, seeds, unseeded=unseeded, size_px=size_px)
    options = {
        "repeats": draw(st.integers(1, 7)),
        "min_source_gap": draw(st.integers(0, len(sources) - 1) | st.integers(0, 5)),
        "break_every": draw(st.integers(1, 30)),
        "seed": draw(st.integers(0, 2**32 - 1)),
    }
    if draw(st.booleans()):
        options["crop_px"] = 2 * draw(st.integers(1, size_px // 4) | st.integers(1, 41))
    if not draw(st.integers(0, 3)):
        options["sources"] = draw(st.lists(st.sampled_from(sources), min_size=1, unique=True))
    if draw(st.booleans()):
        options["conditions"] = draw(st.lists(st.sampled_from(textures + unseeded), min_size=1, unique=True))
    return available, options


def made(design, available, options, *, most_crop):
    """Make and check a list of a valid case; return no rows if it was refused for the right reason.

    `make_trials` has verified order, patches and exemplars (test_verify).
    """
    with_original = design in ("rating", "category")
    sources = options.get("sources", available.sources)
    conditions = [
        condition
        for condition in options.get("conditions", available.conditions)
        if with_original or condition != available.original
    ]
    wrong = set()
    if options.get("crop_px", available.size_px) > most_crop:
        wrong.add("crop_px")
    if options["min_source_gap"] >= len(sources) and len(conditions) * options["repeats"] > 1:
        wrong.add("min_source_gap")
    valid = DESIGNS[design].options(**options)
    event("refused" if wrong else "made")
    if wrong:
        with pytest.raises(OptionError) as caught:
            make_trials(design, available, valid)
        assert caught.value.option in wrong
        assert isinstance(caught.value, InputError)
        assert caught.value.cure
        return []
    rows = make_trials(design, available, valid).rows
    assert Counter((row["condition"], row["source"]) for row in rows) == {
        (condition, source): options["repeats"] for condition in conditions for source in sources
    }
    known = {exemplar.stimulus_id: exemplar.row for exemplar in available.exemplars}
    described = {column.name for column in design_columns(design)}
    of_files = {f"{p}_{key}" for p in DESIGNS[design].patches for key in ("file", "sha256")} | {"ppd"}
    for row in rows:
        assert set(row) | of_files == described
        assert row["design"] == design
        assert known[row["stimulus_id"]].items() <= row.items()
    return rows


@quickly
@given(cases())
def test_oddity_is_balanced_or_refused(case):
    available, options = case
    options.setdefault("crop_px", available.size_px // 4 * 2)
    rows = made("oddity", available, options, most_crop=available.size_px // 2)
    positions = "left", "right", "bottom"
    for row in rows:
        ids = {position: row[f"{position}_id"] for position in positions}
        images = {"original": f"{row['source']}-original", "stimulus": row["stimulus_id"]}
        assert row["original_id"] == images["original"]
        odd = [position for position in positions if list(ids.values()).count(ids[position]) == 1]
        assert odd == [row["odd_position"]]
        assert ids[row["odd_position"]] == images[row["odd_is"]]
        assert set(ids.values()) == set(images.values())
        assert row["correct_key"] == {"left": "left", "right": "right", "bottom": "down"}[odd[0]]
        assert row["crop_px"] == options["crop_px"]
    check_even(rows, "odd_is", ["original", "stimulus"], *CELL)
    check_even(rows, "odd_position", positions, (), ("condition",), ("condition", "odd_is"))


def check_intervals(row):
    images = {"original": f"{row['source']}-original", "stimulus": row["stimulus_id"]}
    assert row["original_id"] == images["original"]
    assert (row["first_id"], row["second_id"]) == (images[row["first_is"]], images[row["second_is"]])


@quickly
@given(cases(), st.sampled_from(["which_is_original", "same_different"]))
def test_two_intervals_are_balanced_or_refused(case, task):
    available, options = case
    options["task"] = task
    most = available.size_px // 2 if task == "same_different" else available.size_px
    rows = made("two_interval", available, options, most_crop=most)
    for row in rows:
        check_intervals(row)
        same = row["first_id"] == row["second_id"]
        if task == "same_different":
            assert row["correct_key"] == ("s" if same else "d")
        else:
            assert not same
            assert row["correct_key"] == ("left" if row["first_is"] == "original" else "right")
        assert row["crop_px"] == options.get("crop_px", available.size_px)
    keys = ["s", "d"] if task == "same_different" else ["left", "right"]
    check_even(rows, "correct_key", keys, *CELL)
    check_even(rows, "first_is", ["original", "stimulus"], (), ("condition",))
    if task == "same_different":
        check_even(rows, "first_is", ["original", "stimulus"], ("condition", "correct_key"))


@quickly
@given(
    cases(),
    st.lists(st.sampled_from([*string.ascii_lowercase, "space"]), min_size=2, max_size=9, unique=True),
)
def test_ratings_are_balanced_or_refused(case, keys):
    available, options = case
    options["keys"] = keys
    rows = made("rating", available, options, most_crop=available.size_px)
    for row in rows:
        assert row["image_id"] == row["stimulus_id"]
        assert row["answer_keys"].split(" ") == keys
        assert "correct_key" not in row


@quickly
@given(cases(), st.sampled_from(["source", "condition"]), st.data())
def test_categories_are_balanced_or_refused(case, by, data):
    available, options = case
    names = options.get(f"{by}s") or getattr(available, f"{by}s")
    key = st.sampled_from(["f", "j", "space"])
    keys = {name: data.draw(key) for name in names}
    if len(set(keys.values())) < 2:
        keys = dict(zip(names, "fj" * len(names), strict=False))
    options |= {"by": by, "keys": keys}
    if len(keys) < 2:
        with pytest.raises(ValueError, match="keys"):
            DESIGNS["category"].options(**options)
        return
    rows = made("category", available, options, most_crop=available.size_px)
    for row in rows:
        assert row["correct_key"] == keys[row[by]]
        assert sorted(row["answer_keys"].split(" ")) == sorted(set(keys.values()))


@quickly
@given(
    st.integers(1, 4),
    st.lists(st.integers(0, 100).map(lambda n: n / 100), min_size=2, max_size=4, unique=True).map(sorted),
    st.integers(1, 12),
    st.integers(0, 4),
    st.integers(1, 3),
    st.integers(0, 2**32 - 1),
    st.data(),
)
def test_staircases_are_balanced_or_refused(count, levels, trials, gap, exemplars, seed, data):
    ladder = {f"pool{i}": level for i, level in enumerate(levels)}
    available = stimuli(SOURCES[:count], list(ladder), range(exemplars), size_px=64)
    options = {"levels": ladder, "trials_per_staircase": trials, "min_source_gap": gap, "seed": seed}
    starts = (levels[0], levels[-1])
    if data.draw(st.booleans()):
        starts = options["starts"] = tuple(
            data.draw(st.lists(st.sampled_from(levels), min_size=1, max_size=3))
        )
    valid = DESIGNS["morph"].options(**options)
    if gap >= count and len(starts) * trials > 1:
        with pytest.raises(OptionError, match="min_source_gap"):
            make_trials("morph", available, valid)
        return
    rows = make_trials("morph", available, valid).rows
    trial_rows = list({row["trial_number"]: row for row in rows}.values())
    assert len(trial_rows) == count * len(starts) * trials
    assert Counter(row["label"] for row in trial_rows) == {
        f"{source}_start{n}": trials for source in SOURCES[:count] for n in range(1, len(starts) + 1)
    }
    check_even(trial_rows, "correct_key", ["left", "right"], (), ("label",))
    for row in trial_rows:
        assert row["startVal"] == starts[int(row["label"][-1]) - 1]
    for number in range(1, len(trial_rows) + 1):
        own = [row for row in rows if row["trial_number"] == number]
        assert [(row["condition"], row["morph_level"]) for row in own] == list(ladder.items())
        same = ("label", "correct_key", "source", "startVal", "first_is")
        assert len({tuple(row[key] for key in same) for row in own}) == 1
        for row in own:
            check_intervals(row)
            assert row["correct_key"] == ("left" if row["first_is"] == "original" else "right")


def longest_run(rows):
    """Return how often the same key is correct in a row, at most."""
    trials = {row["trial_number"]: row["correct_key"] for row in rows}
    return max(len(list(run)) for _, run in itertools.groupby(trials.values()))


@quickly
@given(cases(), st.integers(3, 5))
def test_no_key_is_correct_too_often_in_a_row(case, longest):
    available, options = case
    options |= {"max_key_run": longest, "crop_px": 2, "min_source_gap": 0}
    for design in ("oddity", "two_interval"):
        rows = make_trials(design, available, DESIGNS[design].options(**options)).rows
        assert longest_run(rows) <= longest


def test_a_limit_that_cannot_be_kept_is_an_error():
    available = stimuli(SOURCES[:6], ["pool1"], [1], size_px=64)
    keys = dict(zip(SOURCES[:6], "fjjjjj", strict=True))
    with pytest.raises(OptionError, match="more than 2 times in a row") as caught:
        make_trials("category", available, DESIGNS["category"].options(keys=keys, max_key_run=2))
    assert caught.value.option == "max_key_run"


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("repeats", "models"), [(2, 3), (3, 5), (5, 6), (6, 2)])
def test_odd_positions_are_even_within_each_source(seed, repeats, models):
    available = stimuli(SOURCES[:9], [f"model{i}" for i in range(models)], range(4), size_px=64)
    options = DESIGNS["oddity"].options(repeats=repeats, crop_px=32, seed=seed)
    rows = list(make_trials("oddity", available, options).rows)
    check_even(rows, "odd_position", ["left", "right", "bottom"], ("source",))


def test_the_published_oddity_experiment():
    """6 models, 12 images, 10 syntheses, 5 repeats, 256 px: 360 trials in 5 blocks of 72."""
    models = [f"model{i}" for i in range(6)]
    available = stimuli(SOURCES[:12], models, range(10), size_px=256)
    made = make_trials("oddity", available, DESIGNS["oddity"].options())
    assert (made.trials, made.blocks) == (360, 5)
    assert made.seconds == pytest.approx(360 * (0.2 + 1.2 + 0.4))
    rows = list(made.rows)
    assert Counter(row["odd_is"] for row in rows) == {"original": 180, "stimulus": 180}
    assert Counter(row["odd_position"] for row in rows) == {"left": 120, "right": 120, "bottom": 120}
    assert {row["crop_px"] for row in rows} == {128}
    assert {(row["presentation_s"], row["response_s"], row["interval_s"]) for row in rows} == {
        (0.2, 1.2, 0.4)
    }
    for name in SOURCES[:12]:
        positions = Counter(row["odd_position"] for row in rows if row["source"] == name)
        assert set(positions.values()) == {10}
    assert longest_run(rows) <= 4
    # Places, positions and order do not hang together: no source has its trials in the order of conditions.
    assert len({(row["left_x"], row["left_y"]) for row in rows}) > 90


def test_same_seed_gives_same_list():
    available = stimuli(SOURCES[:4], ["pool1", "pool2"], [1, 2], size_px=64)
    for name in DESIGNS:
        options = {
            "category": {"keys": dict(zip(SOURCES[:4], "aabb", strict=True))},
            "morph": {"levels": {"pool1": 0.1, "pool2": 0.9}},
            "oddity": {"crop_px": 32},
        }.get(name, {})
        lists = [
            make_trials(name, available, DESIGNS[name].options(**options, seed=seed)).rows
            for seed in (1, 1, 2)
        ]
        assert lists[0] == lists[1]
        assert lists[0] != lists[2]


LADDER = {"levels": {"pool1": 0.5, "pool2": 1}}
REFUSED = [
    ("oddity", {"conditions": ["pool9"]}, "conditions", 'Unknown condition "pool9"'),
    ("oddity", {"conditions": ["original"]}, "conditions", "with which the others are compared"),
    ("oddity", {"conditions": []}, "conditions", "There is no condition to show"),
    ("oddity", {"conditions": ["pool1", "pool1"]}, "conditions", "named twice"),
    ("rating", {"sources": ["sand"]}, "sources", 'Unknown source "sand"'),
    ("rating", {"keys": ["a", "a"]}, "keys", "named twice"),
    ("rating", {"repeats": 1000, "sources": list(SOURCES[:21])}, "repeats", f"more than {MOST_TRIALS}"),
    ("category", {"keys": {"source_a": "f", "source_b": "j"}}, "keys", "no key for the source source_c"),
    ("category", {"keys": {"a": "f", "b": "j"}, "by": "condition"}, "keys", "no key for the condition pool1"),
    ("category", {"keys": dict.fromkeys(SOURCES[:21], "f")}, "keys", "All have the same key"),
    ("category", {"keys": dict.fromkeys((*SOURCES[:21], "x"), "f")}, "keys", 'a key for "x", which is not'),
    ("morph", {"levels": {"pool1": 0.5, "pool2": 0.5}}, "levels", "do not ascend"),
    ("morph", {"levels": {"pool1": 0.5, "pool3": 0.6}}, "levels", 'Unknown condition "pool3"'),
    ("morph", {"levels": {"pool1": 0.5, "original": 1}}, "levels", "is the original"),
    ("morph", LADDER | {"starts": [0.7]}, "starts", "No condition has the level 0.7"),
    ("morph", LADDER | {"trials_per_staircase": 1000}, "trials_per_staircase", f"more than {MOST_TRIALS}"),
    ("two_interval", {"task": "same_different"}, "crop_px", "Two patches of whole images"),
]


@pytest.mark.parametrize(("design", "options", "option", "words"), REFUSED)
def test_error_names_the_option(design, options, option, words):
    available = stimuli(SOURCES[:21], ["pool1", "pool2"], [1], size_px=256)
    with pytest.raises(OptionError, match=words) as caught:
        make_trials(design, available, DESIGNS[design].options(**options))
    assert caught.value.option == option
    assert caught.value.cure


@pytest.mark.parametrize("name", ["oddity", "two_interval", "morph"])
def test_comparing_designs_need_the_original(name):
    available = stimuli(SOURCES[:3], ["pool1", "pool2"], [1], original=None, size_px=256)
    options = {"levels": {"pool1": 0, "pool2": 1}} if name == "morph" else {}
    with pytest.raises(OptionError, match="Add original to the manifest's controls"):
        make_trials(name, available, DESIGNS[name].options(**options))


def test_original_may_have_another_name():
    available = stimuli(SOURCES[:3], ["pool1"], [1], original="photograph", size_px=256)
    rows = make_trials("oddity", available, DESIGNS["oddity"].options()).rows
    assert {row["original_id"] for row in rows} == {f"{source}-photograph" for source in SOURCES[:3]}
    assert {row["condition"] for row in rows} == {"pool1"}


def test_error_names_the_missing_stimulus():
    whole = stimuli(SOURCES[:3], ["pool1"], [1], size_px=256)
    available = replace(
        whole, exemplars=tuple(e for e in whole.exemplars if e.stimulus_id != "source_b-pool1-s1")
    )
    with pytest.raises(OptionError, match="no stimulus of the source source_b in the condition pool1"):
        make_trials("rating", available, DESIGNS["rating"].options())


@pytest.mark.parametrize("bad", ["1", "A", "", "left arrow", "é", "f,j", "escape"])
def test_keys_that_a_table_would_change_are_refused(bad):
    with pytest.raises(ValueError, match="keys"):
        DESIGNS["rating"].options(keys=("a", bad))
