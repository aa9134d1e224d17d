"""Where stimuli and labels of a figure lie, in whole numbers of whatever unit the labels are measured in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stimgen.report.grid import Grid
from stimgen.report.labels import Block


@dataclass(frozen=True)
class Place:
    """Where a rectangle lies in a figure: its left and upper edge, width and height."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class Spacing:
    """Sizes that a figure is arranged by.

    Attributes
    ----------
    side
        Of a stimulus.
    gap
        Between stimuli.
    near
        From a text to what it is about.
    edge
        Around everything.
    """

    side: int
    gap: int
    near: int
    edge: int


@dataclass(frozen=True)
class Layout:
    """Places in a figure.

    Attributes
    ----------
    width, height
        Of the figure.
    cells
        Place of each cell by the names of its row and column, of empty cells too.
    labels
        Texts with their places, "centre" or "right"; empty ones are left out.
    """

    width: int
    height: int
    cells: Mapping[tuple[str, str], Place]
    labels: tuple[tuple[Block, Place, str], ...]


def arrange(
    grid: Grid,
    columns: Sequence[Block],
    rows: Sequence[Block],
    below: Mapping[tuple[str, str], Block],
    spacing: Spacing,
) -> Layout:
    """Return places of all cells of a grid and of their labels; nothing overlaps.

    Parameters
    ----------
    grid
        What is shown where.
    columns, rows
        Labels of columns and rows, in order.
    below
        Annotations by the names of row and column.
    spacing
        Sizes.
    """
    side, gap, near, edge = spacing.side, spacing.gap, spacing.near, spacing.edge
    header = max(block.height for block in columns)
    margin = max(block.width for block in rows)
    note = max((block.height for block in below.values()), default=0)
    tall = side + (note + near if note else 0)
    # A single letter may be wider than a stimulus, and a long text in many lines taller.
    wide_step = max(side, *(block.width for block in (*columns, *below.values()))) + gap
    tall_step = max(tall, *(block.height for block in rows)) + gap
    left = edge + (margin + near if margin else 0)
    top = edge + (header + near if header else 0)

    cells, placed = {}, []
    for j, (column, block) in enumerate(zip(grid.columns, columns, strict=True)):
        centre = left + j * wide_step + (wide_step - gap) // 2
        placed.append((block, _centred(block, centre, edge + header - block.height), "centre"))
        for i, row in enumerate(grid.rows):
            at = Place(centre - side // 2, top + i * tall_step, side, side)
            cells[row, column] = at
            if (row, column) in below:
                text = below[row, column]
                placed.append((text, _centred(text, centre, at.top + side + near), "centre"))
    for i, block in enumerate(rows):
        # Beside the middle of the stimulus, or as far down as a tall label needs.
        y = top + i * tall_step + max(0, (side - block.height) // 2)
        placed.append((block, Place(edge + margin - block.width, y, block.width, block.height), "right"))
    return Layout(
        width=left + len(grid.columns) * wide_step - gap + edge,
        height=top + len(grid.rows) * tall_step - gap + edge,
        cells=cells,
        labels=tuple(entry for entry in placed if entry[0].lines),
    )


def _centred(block: Block, centre: int, top: int) -> Place:
    return Place(centre - block.width // 2, top, block.width, block.height)
