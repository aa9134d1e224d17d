"""What every trial list must fulfil, written from the documentation and not from the code."""

from __future__ import annotations

from collections import Counter
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


def one_row_each(rows):
    seen = {}
    for row in rows:
        seen.setdefault(row["trial"], row)
    return list(seen.values())


def check_order(rows, *, gap, break_every):
    """Numbers from 1, breaks after every `break_every` trials, `gap` others between two of one source."""
    trials = one_row_each(rows)
    assert [row["trial"] for row in rows] == sorted(row["trial"] for row in rows)
    assert [row["trial"] for row in trials] == [i + 1 for i in range(len(trials))]
    assert [row["block"] for row in trials] == [i // break_every + 1 for i in range(len(trials))]
    breaks = {row["trial"] for row in trials if row["break_before"] == 1}
    assert breaks == {n for n in range(2, len(trials) + 1) if (n - 1) % break_every == 0}
    assert {row["break_before"] for row in trials} <= {0, 1}
    sources = [row["source"] for row in trials]
    for start in range(len(sources)):
        window = sources[start : start + gap + 1]
        assert len(set(window)) == len(window), f"{window} from trial {start + 1}"


def check_exemplars(rows, available, conditions, sources, repeats):
    """Each condition of each source `repeats` times, its exemplars equally often to within one."""
    shown = Counter(row["stimulus_id"] for row in rows)
    assert Counter((row["condition"], row["source"]) for row in rows) == {
        (condition, source): repeats for condition in conditions for source in sources
    }
    for condition in conditions:
        for source in sources:
            own = [e for e in available.exemplars if (e.condition, e.source) == (condition, source)]
            counts = [shown[e.stimulus_id] for e in own]
            assert sum(counts) == repeats
            assert max(counts) - min(counts) <= 1
    known = {e.stimulus_id: e for e in available.exemplars}
    for row in rows:
        exemplar = known[row["stimulus_id"]]
        assert (row["source"], row["condition"], row["seed"]) == (
            exemplar.source,
            exemplar.condition,
            exemplar.seed,
        )


def check_patches(rows, names, size_px):
    """Every patch lies in its image, and two of one image share no pixel unless they show it whole."""
    for row in rows:
        side = row["crop_px"]
        covered = {}
        for name in names:
            x, y = row[f"{name}_x"], row[f"{name}_y"]
            assert type(x) is int
            assert type(y) is int
            assert x >= 0
            assert x + side <= size_px
            assert y >= 0
            assert y + side <= size_px
            covered[name] = set(range(x, x + side)), set(range(y, y + side))
        for a, b in combinations(names, 2):
            if row[f"{a}_id"] == row[f"{b}_id"]:
                (ax, ay), (bx, by) = covered[a], covered[b]
                assert not (ax & bx and ay & by)


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
