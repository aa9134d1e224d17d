"""Words that a shell offers after Tab: manifests, run folders, and the names that options take.

Torch and pandas are not imported. Names that a shell would split or run are not offered.
"""

from __future__ import annotations

import contextlib
import csv
import os
import re
from collections import deque
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path

import typer

from stimgen.bounded import read_file

# Names that need no quotes in any shell.
PLAIN = re.compile(r"[\w.+@%,=/-]+")
# Number of levels and of entries that are searched, and the largest table that names are taken from.
DEPTH = 2
MAX_ENTRIES = 2000
MAX_TABLE_BYTES = 20_000_000


def manifests(incomplete: str) -> list[str]:
    """Return the YAML files whose paths begin so; those inside of runs are copies, and left out."""
    return _search(incomplete, lambda entry: entry.is_file() and entry.name.endswith((".yaml", ".yml")))


def run_folders(incomplete: str) -> list[str]:
    """Return the run folders whose paths begin so."""
    return _search(incomplete, lambda entry: entry.is_dir() and _is_run(entry.path))


def names_in(module: str, registry: str) -> Callable[[str], list[str]]:
    """Return a function that completes a name of a registry, which is imported when it is asked for."""
    return lambda incomplete: _starting(getattr(import_module(module), registry), incomplete)


networks = names_in("stimgen.networks.architectures", "NETWORKS")
conventions = names_in("stimgen.networks.architectures", "CONVENTIONS")
designs = names_in("stimgen.trials", "DESIGNS")


def layers(context: typer.Context, incomplete: str) -> list[str]:
    """Return the layers of the command's network for the last name in a list with commas."""
    from stimgen.networks.architectures import NETWORKS

    before, comma, last = incomplete.rpartition(",")
    network = str(context.params.get("network"))
    known = NETWORKS[network]().layers if network in NETWORKS else ()
    taken = before.split(",")
    return [f"{before}{comma}{name}" for name in _starting(known, last) if name not in taken]


def weights(context: typer.Context, incomplete: str) -> list[str]:
    """Return the published weights of the command's network, and those in the cache."""
    from stimgen.manifest.resolve import known_weights

    return _starting(known_weights(str(context.params.get("network"))), incomplete)


def devices(incomplete: str) -> list[str]:
    """Return the devices of this machine, as NVIDIA's driver lists them."""
    from stimgen.manifest.estimate import gpu_names

    return _starting(["auto", "cpu", *(f"cuda:{index}" for index in range(len(gpu_names())))], incomplete)


def one_of(*words: str) -> Callable[[str], list[str]]:
    """Return a function that completes one of a few words."""
    return lambda incomplete: _starting(words, incomplete)


def columns(incomplete: str) -> list[str]:
    """Return the columns of the tables of the command's runs."""
    return _plain((name for run in _runs() for header in _table(run)[:1] for name in header), incomplete)


def names(incomplete: str) -> list[str]:
    """Return the conditions and sources of the command's runs."""
    found = []
    for header, *rows in filter(None, map(_table, _runs())):
        for key in (name for name in ("condition", "source") if name in header):
            place = header.index(key)
            found += [row[place] for row in rows if len(row) == len(header)]
    return _plain(found, incomplete)


def _runs() -> list[Path]:
    """Return the runs that the command line names so far, from its words: it is not complete yet."""
    line = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")
    return [Path(word) for word in line.split() if _is_run(word)]


def _table(run: Path) -> list[list[str]]:
    """Return header and rows of stimuli.csv; empty if it cannot be read, which the command will report."""
    try:
        text = read_file(run / "stimuli.csv", MAX_TABLE_BYTES).decode("utf-8")
        return list(csv.reader(text.splitlines()))
    except (OSError, ValueError, csv.Error):
        return []


def _search(incomplete: str, wanted: Callable[[os.DirEntry[str]], bool]) -> list[str]:
    """Return the wanted entries whose paths begin so, upper levels first; run folders are not entered."""
    waiting, looked_at = deque([(incomplete[: incomplete.rfind("/") + 1], 0)]), 0
    found: list[str] = []
    while waiting:
        folder, depth = waiting.popleft()
        entries: list[os.DirEntry[str]] = []
        with contextlib.suppress(OSError), os.scandir(folder or ".") as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
        for entry in entries:
            looked_at += 1
            if looked_at > MAX_ENTRIES:
                return found
            path = f"{folder}{entry.name}"
            if entry.name.startswith(".") or not path.startswith(incomplete) or not PLAIN.fullmatch(path):
                continue
            if wanted(entry):
                found.append(path)
            elif depth < DEPTH and entry.is_dir(follow_symlinks=False) and not _is_run(entry.path):
                waiting.append((f"{path}/", depth + 1))
    return found


def _is_run(path: str) -> bool:
    return os.path.isfile(f"{path}/run.json")  # noqa: PTH113 (this one is never an error)


def _starting(known: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in dict.fromkeys(known) if name.startswith(incomplete)]


def _plain(found: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in _starting(found, incomplete) if PLAIN.fullmatch(name)]
