"""Stimuli to show, and checks that are written from the documentation and not from the code."""

from __future__ import annotations

from itertools import combinations

from stimgen.trials import Available, Exemplar


def stimuli(sources, textures, seeds, *, unseeded=(), original="original", size_px=64):
    """Return stimuli of some sources: textures with seeds, conditions without, and originals unless None."""
    found = []
    for source in sources:
        found += [Exemplar(f"{source}-{c}-s{s}", source, c, s, False) for c in textures for s in seeds]
        found += [Exemplar(f"{source}-{c}", source, c, None, False) for c in unseeded]
        if original:
            found.append(Exemplar(f"{source}-{original}", source, original, None, True))
    return Available.of(found, size_px)


def check_even(rows, column, values, *groupings):
    """In each group of each grouping (a tuple of columns), the values differ by at most one in number."""
    for columns in groupings:
        groups = {}
        for row in rows:
            groups.setdefault(tuple(row[c] for c in columns), []).append(row[column])
        for found in groups.values():
            counts = [found.count(value) for value in values]
            assert sum(counts) == len(found)
            assert max(counts) - min(counts) <= 1, (column, columns, counts)


def check_order(rows, options):
    """Trials are numbered, in their blocks, and far enough from others with the same source."""
    trials = list({row["trial"]: row for row in rows}.values())
    assert [row["trial"] for row in trials] == list(range(1, len(trials) + 1))
    last = {}
    for number, row in enumerate(trials, 1):
        assert number - last.get(row["source"], -2000) > options.min_source_gap
        last[row["source"]] = number
        assert row["block"] == (number + options.break_every - 1) // options.break_every
        assert row["break_before"] == (number > 1 and number % options.break_every == 1 % options.break_every)


def check_patches(rows, size_px, patches):
    """Patches lie within their images, and those of one image do not overlap."""
    for row in rows:
        side = row["crop_px"]
        places = [(row[f"{name}_id"], row[f"{name}_x"], row[f"{name}_y"]) for name in patches]
        assert all(0 <= edge <= size_px - side for _, *edges in places for edge in edges)
        for (image, x, y), (other, other_x, other_y) in combinations(places, 2):
            assert image != other or abs(x - other_x) >= side or abs(y - other_y) >= side


def check_turns(rows, available, *columns):
    """Exemplars of a source and a condition are shown equally often, to within one, in each group."""
    for source in available.sources:
        for condition in available.conditions:
            own = [row for row in rows if (row["source"], row["condition"]) == (source, condition)]
            exemplars = [exemplar.stimulus_id for exemplar in available.cell(source, condition)]
            check_even(own, "stimulus_id", exemplars, columns)
