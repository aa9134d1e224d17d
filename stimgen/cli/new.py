"""The command `stimgen new`."""

from __future__ import annotations

import contextlib
import json
import shlex
from pathlib import Path
from typing import Annotated

import typer

from stimgen.atomic import create_file, make_folder
from stimgen.bounded import read_file
from stimgen.cli import completion
from stimgen.cli.errors import say
from stimgen.counting import first_few
from stimgen.errors import InputError

GITIGNORE = "/results/\n"


def new(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the stimulus set.")],
    folder: Annotated[
        Path, typer.Option("--folder", help="Where manifests/NAME.yaml will be. Default: the current folder.")
    ] = Path(),
    images: Annotated[
        list[str] | None,
        typer.Option(
            "--images",
            metavar="PATTERN",
            help="Source textures: image files, or a pattern such as textures/*.png. Repeatable. Default: "
            "two photographs that come with scikit-image.",
        ),
    ] = None,
    size: Annotated[int, typer.Option("--size", help="Side of the stimuli, px.")] = 128,
    ppd: Annotated[
        float | None, typer.Option("--ppd", help="Pixels per degree of visual angle on your display.")
    ] = None,
    network: Annotated[
        str, typer.Option("--network", help="Network.", autocompletion=completion.networks)
    ] = "vgg16",
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
    from stimgen.manifest.json_schema import json_schema
    from stimgen.manifest.starter import (
        FOLDER,
        PHOTOGRAPHS,
        SCHEMA_FILE,
        TEXTURES_README,
        check_options,
        find_images,
        read_sources,
        starter_manifest,
    )

    check_options(name, size, ppd, network)
    if context.args and not images:
        raise InputError(
            f'There is one NAME, and "{context.args[0]}" is one more argument.', "Name images with --images."
        )
    manifest = folder / FOLDER / f"{name}.yaml"
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--folder {folder} is not a folder.", "Name a folder; it need not exist yet.")
    if manifest.exists() or manifest.is_symlink():
        raise InputError(
            f"There is a manifest {manifest} already, and nothing is overwritten.",
            "Choose another name, or another folder with --folder.",
        )
    # A shell replaces a pattern without quotes by files, of which --images takes the first.
    found = []
    named = find_images([*images, *context.args], Path.cwd()) if images else PHOTOGRAPHS
    for source in read_sources(named, folder, size_px=size, name=name):
        found.append(source)
        if images:
            say(f"{source.id}: {source.origin}, {source.width} × {source.height} px")
    text = starter_manifest(name, found, size_px=size, ppd=ppd, network=network)

    make_folder(manifest.parent)
    schema = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    schema_file = manifest.with_name(SCHEMA_FILE)
    if not _ensure(schema_file, schema):
        say(f"{schema_file} is of another version of stimgen; replace it: stimgen schema > {schema_file}")
    _ensure(folder / ".gitignore", GITIGNORE)
    if not images:
        make_folder(folder / "textures")
        _ensure(folder / "textures" / "README.md", TEXTURES_README.read_text("utf-8"))
    create_file(manifest, text.encode())
    say(f"{manifest}: {size} × {size} px, sources: {first_few([source.id for source in found])}")
    words = shlex.quote(str(manifest))
    say(f"Next:  stimgen check {words}   (what it will make)")
    say(f"       stimgen run {words}     (makes it)")


def _ensure(path: Path, text: str) -> bool:
    """Write a file if there is none; return whether it has this text."""
    content = text.encode()
    with contextlib.suppress(FileExistsError):
        create_file(path, content)
    with contextlib.suppress(OSError):
        return read_file(path, len(content)) == content
    return False
