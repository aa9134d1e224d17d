"""Names in a manifest resolve to functions through registries."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from stimgen.errors import InputError, nearest

Entry = TypeVar("Entry")


class Registry(Mapping[str, Entry]):
    """Entries by name; the modules of `package` are imported on first use, so that adding one is one file.

    `kind` says in messages what the entries are. The modules must be cheap to import (no torch at the top).
    """

    def __init__(self, kind: str, package: str) -> None:
        self._kind = kind
        self._package = package
        self._entries: dict[str, Entry] = {}
        self._loaded = False

    def add(self, name: str, entry: Entry) -> None:
        """Register `entry`; a name can be taken once."""
        if name in self._entries:
            raise ValueError(f"{self._kind} {name!r} is registered twice")
        self._entries[name] = entry

    def register(self, name: str) -> Callable[[Entry], Entry]:
        """Return a decorator that registers its function or class as `name`."""

        def decorate(entry: Entry) -> Entry:
            self.add(name, entry)
            return entry

        return decorate

    def __getitem__(self, name: str) -> Entry:
        self._load()
        try:
            return self._entries[name]
        except KeyError:
            raise InputError(f'Unknown {self._kind} "{name}".', nearest(name, self)) from None

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        self._load()
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        self._load()
        return name in self._entries

    def _load(self) -> None:
        if not self._loaded:
            package = importlib.import_module(self._package)
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{self._package}.{module.name}")
            self._loaded = True
