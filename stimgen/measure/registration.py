"""The registry of statistics: functions of an image, with the columns that they fill."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from stimgen.column import Column
from stimgen.measure.decoded import DecodedImage
from stimgen.registry import Registry

Values = dict[str, float | bool | None]
"""Name of a column, with "{layer}" and the like filled in, to its value; None where it is not defined."""

StatisticFunction = Callable[..., Values]
Function = TypeVar("Function", bound=StatisticFunction)


@dataclass(frozen=True)
class Statistic:
    """A family of columns that are measured together; attributes as in `register_statistic`."""

    name: str
    function: StatisticFunction
    columns: tuple[Column, ...]
    order: int
    version: int = 1
    prepare: Callable[[DecodedImage], Any] | None = None
    option: str | None = None
    needs_network: bool = False
    any_place: bool = False

    def measure(self, image: DecodedImage, source: Any) -> Values:
        """Return the values of an image; `source` is what `prepare` returned, None without a source."""
        if image.inside is not None and not self.needs_network:
            if self.option and source is None:
                return self.function(image, None)
            if not self.any_place:
                return {column.name: None for column in self.columns if "{" not in column.name}
            image = image.counted
        compares = self.prepare is not None or self.needs_network
        return self.function(image, source) if compares else self.function(image)


def register_statistic(name: str, **settings: Any) -> Callable[[Function], Function]:
    """Return a decorator that makes a function the statistic `name`.

    The function takes the image, and with `prepare` what that returned of the source, or None where there is
    nothing to compare with. It returns a dict from column names to values.

    Parameters
    ----------
    name
        Name in records.
    columns
        What the function returns.
    order
        Place of the columns in stimuli.csv; those of smaller numbers come first.
    version
        To be raised when the same pixels come to have other values: stimuli of earlier runs are measured
        again then.
    prepare
        Returns what the function needs to know of a source, once for all its stimuli.
    option
        Key of the manifest's section `measure`. Where it is false, the function gets None for the source.
    any_place
        Whether the values do not depend on where pixels are. Of images with a mask, the function then gets
        the pixels inside; all other statistics are None, but Gram distances.
    needs_network
        Whether the function compares Gram matrices: it gets a `stimgen.measure.gram.SourceGrams`.
    """

    def decorate(function: Function) -> Function:
        STATISTICS.add(name, Statistic(name, function, **settings))
        return function

    return decorate


STATISTICS: Registry[Statistic] = Registry("statistic", "stimgen.measure")


def statistics_in_order(options: Mapping[str, Any] | None = None) -> list[Statistic]:
    """Return the statistics in the order of their columns.

    `options` is the manifest's section `measure`; statistics whose option is false in it are left out.
    """
    asked = (s for s in STATISTICS.values() if s.option is None or (options or {}).get(s.option, True))
    return sorted(asked, key=lambda statistic: statistic.order)


def prepare_source(source: DecodedImage, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what statistics need to know of a source, by their names."""
    return {s.name: s.prepare(source) for s in statistics_in_order(options) if s.prepare is not None}


def measure(image: DecodedImage, source: Mapping[str, Any]) -> Values:
    """Return all statistics of an image.

    `source` is what `prepare_source` returned, and with the key "gram" a `stimgen.measure.gram.SourceGrams`;
    what is missing is not compared.
    """
    values: Values = {}
    for statistic in statistics_in_order():
        values |= statistic.measure(image, source.get(statistic.name))
    return values
