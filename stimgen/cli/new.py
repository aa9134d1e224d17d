"""The command `stimgen new`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from stimgen.cli import completion
from stimgen.cli.arguments import option
from stimgen.cli.errors import say
from stimgen.errors import InputError


def new(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the stimulus set.")],
    folder: Annotated[
        Path, option("Where manifests/NAME.yaml will be. Default: the current folder.")
    ] = Path(),
    images: Annotated[
        list[str] | None,
        option(
            "Source textures: image files, or a pattern such as textures/*.png. Repeatable. Default: "
            "two photographs that come with scikit-image.",
            metavar="PATTERN",
        ),
    ] = None,
    size: Annotated[int, option("Side of the stimuli, px.")] = 128,
    ppd: Annotated[float | None, option("Pixels per degree of visual angle on your display.")] = None,
    network: Annotated[str, option("Network.", complete=completion.networks)] = "vgg16",
) -> None:
    """Write a first manifest that runs as it is, with a comment on every line and alternatives to switch on.

    Images are read, and refused if they cannot be sources of this size; their ids are their file names.
    Beside the manifest, its JSON Schema is written for editors; without --images also a folder textures that
    says what to put there; and a .gitignore for results. Nothing is ever overwritten.

    For example:
      stimgen new exp1
      stimgen new exp1 --images "textures/*.png" --size 256 --ppd 41
      stimgen new pilot --folder ~/experiments/pilot --network vgg19
    """
    from stimgen.manifest.starter import write_project

    if context.args and not images:
        raise InputError(
            f'There is one NAME, and "{context.args[0]}" is one more argument.', "Name images with --images."
        )
    # A shell replaces a pattern without quotes by files, of which --images takes the first.
    patterns = [*(images or ()), *context.args]
    manifest = write_project(name, folder, patterns, size_px=size, ppd=ppd, network=network, say=say)
    words = shlex.quote(str(manifest))
    say(f"Next:  stimgen check {words}   (what it will make)")
    say(f"       stimgen run {words}     (makes it)")
