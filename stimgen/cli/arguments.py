"""Arguments that several commands have."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from stimgen.cli import completion
from stimgen.errors import InputError, nearest

ManifestPath = Annotated[
    Path,
    typer.Argument(
        metavar="MANIFEST", help="The manifest, a YAML file.", autocompletion=completion.manifests
    ),
]
NetworkName = Annotated[
    str | None,
    typer.Option(
        "--network",
        help="Network in place of the manifest's, such as vgg16.",
        autocompletion=completion.networks,
    ),
]
Seeds = Annotated[
    str | None, typer.Option("--seeds", help="Seeds in place of the manifest's: 7, or 1,2,5, or 1-10.")
]
Device = Annotated[
    str, typer.Option("--device", help="auto, cpu, cuda:0, …", autocompletion=completion.devices)
]
RunPath = Annotated[
    Path, typer.Argument(metavar="RUN", help="The folder of a run.", autocompletion=completion.run_folders)
]
POOLINGS = ("average", "max")


def _known_pooling(pooling: str) -> str:
    if pooling not in POOLINGS:
        raise InputError(f'Unknown pooling "{pooling}".', nearest(pooling, POOLINGS))
    return pooling


Pooling = Annotated[
    str,
    typer.Option(
        "--pooling",
        help="average or max.",
        callback=_known_pooling,
        autocompletion=completion.one_of(*POOLINGS),
    ),
]
Normalise = Annotated[
    bool, typer.Option(help="Rescale filters to a mean activation of 1, as manifests do by default.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show errors only.")]

SEEDS = re.compile(r"([0-9]{1,10})(?:-([0-9]{1,10}))?")
MOST_SEEDS = 100_000


def parse_seeds(text: str | None) -> list[int] | None:
    """Return the seeds that a command line names: "7", "1,2,5" or "1-10"."""
    if text is None:
        return None
    seeds: list[int] = []
    for part in text.split(","):
        form = SEEDS.fullmatch(part.strip())
        if form is None:
            raise InputError(f'--seeds {text}: "{part}" is not a seed.', "Write 7, or 1,2,5, or 1-10.")
        first, last = int(form[1]), int(form[2] or form[1])
        if last < first:
            raise InputError(f'--seeds {text}: "{part}" runs backwards.', f"Write {last}-{first}.")
        count = len(seeds) + last - first + 1
        if count > MOST_SEEDS:
            raise InputError(f"--seeds {text} names {count} seeds or more.", f"Name {MOST_SEEDS} at most.")
        seeds += range(first, last + 1)
    return seeds
