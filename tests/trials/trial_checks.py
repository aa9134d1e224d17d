"""Stimuli to show, and a check of balance that is written from the documentation and not from the code."""

from __future__ import annotations

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
