"""What a column of a table is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes
    ----------
    name
        Header. "{layer}" stands for a layer name, in columns that exist once per measured layer, and
        "{family}" likewise for a family of Portilla & Simoncelli's statistics.
    long_name
        A few words for axis labels.
    description
        What it is, with its formula.
    unit
        "" for names and numbers without a unit.
    origin
        Publication of the definition; "" where there is none.
    on_request
        Whether the column is there only where the manifest asks for the measurement.
    """

    name: str
    long_name: str
    description: str
    unit: str = ""
    origin: str = ""
    on_request: bool = False

    @property
    def always(self) -> bool:
        """Whether a table has this column whatever its rows."""
        return "{" not in self.name and not self.on_request
