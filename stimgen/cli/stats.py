"""The command `stimgen stats`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stimgen.cli import completion
from stimgen.cli.arguments import Device
from stimgen.cli.errors import say
from stimgen.errors import InputError, nearest


def stats(
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGE...", help="PNG, TIFF or JPEG files, or skimage:NAME.")
    ],
    source: Annotated[
        str | None, typer.Option("--source", help="Image to compare them with, such as the original texture.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="CSV file, with its data dictionary (.json) beside it. Default: screen."),
    ] = None,
    gram: Annotated[
        bool, typer.Option(help="Measure Gram distances from the source, which needs a network.")
    ] = True,
    network: Annotated[
        str, typer.Option("--network", help="Network for Gram distances.", autocompletion=completion.networks)
    ] = "vgg19",
    weights: Annotated[
        str,
        typer.Option(
            "--weights",
            help="Name of published or imported weights, or a file.",
            autocompletion=completion.weights,
        ),
    ] = "imagenet",
    pooling: Annotated[
        str,
        typer.Option("--pooling", help="average or max.", autocompletion=completion.one_of("average", "max")),
    ] = "average",
    normalise: Annotated[
        bool, typer.Option(help="Rescale filters to a mean activation of 1, as manifests do by default.")
    ] = True,
    layers: Annotated[
        str | None,
        typer.Option(
            "--layers",
            help="Layers for Gram distances, separated by commas. Default: conv1_1,pool1,pool2,pool3,pool4 "
            "for VGG, conv1,pool1,pool2,conv3,conv4 for AlexNet.",
            autocompletion=completion.layers,
        ),
    ] = None,
    portilla_simoncelli: Annotated[
        bool,
        typer.Option(
            "--portilla-simoncelli", help="Measure the distance in Portilla & Simoncelli's statistics."
        ),
    ] = False,
    ppd: Annotated[
        float | None,
        typer.Option("--ppd", help="Pixels per degree, for cycles per degree and contrast energy."),
    ] = None,
    device: Device = "auto",
) -> None:
    """Measure images that any program made, in the columns of stimuli.csv.

    With --source also what compares: histogram, spectrum, Gram distances, copies. Statistics that compare
    pixel by pixel or frequency by frequency are empty for images of another size than the source. The
    source must be at the images' scale: not the photograph that they were shrunk from.

    For example:

      stimgen stats paper/texture_01.png paper/noise_01.png

      stimgen stats paper/*.png --source paper/original.png --network vgg16 --out statistics.csv
    """
    if ppd is not None and not 0 < ppd < float("inf"):
        raise InputError(f"--ppd {ppd}: expected a number above 0.", "Give pixels per degree, such as 41.")
    if pooling not in ("average", "max"):
        raise InputError(f'Unknown pooling "{pooling}".', nearest(pooling, ("average", "max")))
    if out is not None and (out.suffix.lower() != ".csv" or not out.parent.is_dir()):
        raise InputError(
            f"--out {out} is not a CSV file in a folder that exists.",
            "Name a file that ends in .csv; its data dictionary gets the same name with .json.",
        )

    from stimgen.manifest.schema import NetworkSpec
    from stimgen.networks.architectures import NETWORKS
    from stimgen.networks.device import find_device
    from stimgen.runs.csv_files import in_order, to_csv, to_json
    from stimgen.runs.measure_images import GramMeasurement, measure_images
    from stimgen.runs.store import write_atomically

    where = find_device(device)
    measurement = None
    if gram and source is not None:
        spec = NetworkSpec(name=network, weights=weights, pooling=pooling, normalise=normalise)
        architecture = NETWORKS[network]()
        named = architecture.default_layers
        if layers is not None:
            named = architecture.expand(layer.strip() for layer in layers.split(","))
        measurement = GramMeasurement(spec, named, where)
    measured = measure_images(
        images, source=source, gram=measurement, portilla_simoncelli=portilla_simoncelli, ppd=ppd
    )
    table, dictionary = in_order("images", measured)
    if out is None:
        typer.echo(to_csv(table), nl=False)
    else:
        write_atomically(out, to_csv(table))
        write_atomically(out.with_suffix(".json"), to_json(dictionary))
        say(f"{len(table)} images measured. Table: {out}, its columns: {out.with_suffix('.json')}")
