"""What is written in a figure: names of rows and columns, and values below stimuli."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from stimgen.errors import InputError, nearest
from stimgen.report.grid import Cell, Grid
from stimgen.report.labels import normalised


def parse_labels(options: Sequence[str]) -> dict[str, str]:
    """Return the labels by name that a command line gives as NAME=TEXT.

    Raises
    ------
    InputError
        If an option is something else, or a name is given twice.
    """
    labels: dict[str, str] = {}
    for option in options:
        name, equals, text = option.partition("=")
        if not equals:
            raise InputError(
                f'--label "{option}" has no "=".', 'Write --label pool4="pool4, 177k parameters".'
            )
        if name in labels:
            raise InputError(f'--label gives "{name}" two labels.', "Give one.")
        labels[name] = text
    return labels


def two_digits(cell: str) -> str:
    """Return a number of a table in two significant digits; whole numbers stay as they are.

    Raises
    ------
    ValueError
        If it is not a number.

    Examples
    --------
    >>> two_digits("0.04951"), two_digits("134"), two_digits("134.2"), two_digits("0.0000123")
    ('0.050', '134', '130', '1.2e-05')
    """
    if re.fullmatch(r"[-+]?[0-9]+", cell):
        return cell
    value = float(cell)
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    rounded = f"{value:.1e}"
    exponent = int(rounded.partition("e")[2])
    return f"{float(rounded):.{max(0, 1 - exponent)}f}" if -5 < exponent < 6 else rounded


def names(grid: Grid, labels: Mapping[str, str]) -> dict[tuple[str, str], str]:
    """Return what is written beside each row and above each column, by "row" or "column" and name.

    Raises
    ------
    InputError
        If a label is of nothing in the grid.
    """
    shown = [*grid.rows, *grid.columns]
    unknown = next((name for name in labels if name not in shown), None)
    if unknown is not None:
        raise InputError(f'--label: no row or column is called "{unknown}".', nearest(unknown, shown))
    texts = {}
    for side, key, names in (("row", grid.rows_key, grid.rows), ("column", grid.columns_key, grid.columns)):
        for name in names:
            plain = f"seed {name}" if key == "seed" else name
            texts[side, name] = normalised(labels.get(name, plain))
    return texts


def note(cell: Cell, column: str) -> str:
    """Return what is written below a stimulus: a value of its row of stimuli.csv, with its unit.

    Raises
    ------
    InputError
        If there is no such column, or it does not hold a number.
    """
    if column not in cell.row:
        raise InputError(
            f'--annotate: {cell.run.folder / "stimuli.csv"} has no column "{column}".',
            nearest(column, list(cell.row)),
        )
    value = cell.row[column]
    if not value:
        return ""
    try:
        number = two_digits(value)
    except ValueError:
        raise InputError(
            f'--annotate: the column {column} holds "{value}", which is not a number.',
            "Choose a column of numbers; stimuli.json describes them all.",
        ) from None
    return normalised(f"{number} {cell.run.units.get(column, '')}")
