"""Arguments that several commands have."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from stimgen.cli import completion
from stimgen.errors import InputError, nearest


def option(text: str, *names: str, complete: Callable[..., list[str]] | None = None, **settings: Any) -> Any:
    """Return an option with its help; its name is that of the parameter, if there is no other."""
    return typer.Option(*names, help=text, autocompletion=complete, **settings)


ManifestPath = Annotated[
    Path,
    typer.Argument(
        metavar="MANIFEST", help="The manifest, a YAML file.", autocompletion=completion.manifests
    ),
]
NetworkName = Annotated[
    str | None,
    option("Network in place of the manifest's, such as vgg16.", "--network", complete=completion.networks),
]
Seeds = Annotated[str | None, option("Seeds in place of the manifest's: 7, or 1,2,5, or 1-10.", "--seeds")]
Device = Annotated[str, option("auto, cpu, cuda:0, …", "--device", complete=completion.devices)]
RunPath = Annotated[
    Path, typer.Argument(metavar="RUN", help="The folder of a run.", autocompletion=completion.run_folders)
]


def _kind(name: str, text: str, *known: str) -> Any:
    """Return the option --NAME, whose value is one of a few words."""

    def check(word: str) -> str:
        if word not in known:
            raise InputError(f'Unknown {name} "{word}".', nearest(word, known))
        return word

    return option(text, f"--{name}", complete=completion.one_of(*known), callback=check)


Pooling = Annotated[str, _kind("pooling", "average or max.", "average", "max")]
Padding = Annotated[str, _kind("padding", "Beyond the border: mirrored maps, or zeros.", "mirrored", "zeros")]
Normalise = Annotated[bool, option("Rescale filters to a mean activation of 1, as manifests do by default.")]
Quiet = Annotated[bool, option("Show errors only.", "--quiet", "-q")]

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
