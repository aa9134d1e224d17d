"""The command `stimgen decode`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stimgen.cli import completion
from stimgen.cli.arguments import Device
from stimgen.cli.errors import say
from stimgen.errors import InputError, nearest


def decode(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Images in one subfolder per class: FOLDER/CLASS/FILE.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for the results.")],
    test: Annotated[
        Path | None,
        typer.Option("--test", help="Test images, in a folder with the same classes. Default: a split."),
    ] = None,
    test_share: Annotated[
        float, typer.Option("--test-share", help="Share of each class held out for the test, without --test.")
    ] = 0.25,
    validation_share: Annotated[
        float, typer.Option("--validation-share", help="Share of the rest that chooses the regularisation.")
    ] = 0.25,
    group_by: Annotated[
        str | None,
        typer.Option(
            "--group-by",
            help="Regular expression that finds the group in a file's name; images of a group stay together.",
        ),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(
            "--layers",
            help="Layers, separated by commas; conv1_1..pool5 is all from the one to the other. Default: the "
            "network's usual ones, and its last.",
            autocompletion=completion.layers,
        ),
    ] = None,
    network: Annotated[
        str, typer.Option("--network", help="Network.", autocompletion=completion.networks)
    ] = "vgg19",
    weights: Annotated[
        str,
        typer.Option(
            "--weights",
            help="Name of published or imported weights, a file, or random.",
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
    size_px: Annotated[
        int, typer.Option("--size-px", min=1, help="Side that the largest central square is shrunk to.")
    ] = 224,
    color: Annotated[
        str, typer.Option("--color", help="grey or rgb.", autocompletion=completion.one_of("grey", "rgb"))
    ] = "rgb",
    components: Annotated[
        int | None,
        typer.Option("--components", min=1, help="Principal components to keep. Default: all features."),
    ] = None,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Passes over the training images.")] = 20,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the split and of the training.")] = 1,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, help="Images in one pass through the network.")
    ] = 32,
    features: Annotated[
        Path | None,
        typer.Option("--features", help="Folder that features are kept in. Default: OUT/features."),
    ] = None,
    device: Device = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show errors only.")] = False,
) -> None:
    """Decode classes of images from the Gram matrices of each layer, with a linear classifier.

    Writes decoding.csv (accuracy per layer), predictions.csv, decoding.png and more. The same command goes on
    after an interruption. Images that cannot be used are left out and listed in failures.csv; the exit code
    is then 3.

    For example:

      stimgen decode textures --network vgg16 --size-px 128 --out results/textures

      stimgen decode imagenet/train --test imagenet/val --components 512 --out results/imagenet

      stimgen decode crops --group-by "^(.+)-[0-9]+$" --out results/crops
    """
    if pooling not in ("average", "max"):
        raise InputError(f'Unknown pooling "{pooling}".', nearest(pooling, ("average", "max")))

    from stimgen.decoding.decode import Reporter
    from stimgen.decoding.decode import decode as decode_classes
    from stimgen.decoding.settings import DecodeSettings, ImageSettings, TrainingSettings
    from stimgen.manifest.schema import NetworkSpec
    from stimgen.networks.architectures import NETWORKS
    from stimgen.networks.device import find_device

    torch_device = find_device(device)
    architecture = NETWORKS[network]()
    names = [*architecture.default_layers, architecture.layers[-1]]
    if layers is not None:
        names = [layer.strip() for layer in layers.split(",")]
    settings = DecodeSettings(
        folder=folder,
        test=test,
        test_share=test_share,
        validation_share=validation_share,
        group_by=group_by,
        network=NetworkSpec(name=network, weights=weights, pooling=pooling, normalise=normalise),
        layers=architecture.expand(names),
        image=ImageSettings(size_px, color),
        training=TrainingSettings(components, epochs, seed),
        batch_size=batch_size,
    )
    report = Reporter(quiet=quiet)
    result = decode_classes(settings, out, torch_device, features=features, report=report)
    if not quiet:
        for row in result.table.to_dict("records"):
            typer.echo(
                f"{row['layer']:8} top-1 {row['top1']:.3f} "
                f"({row['top1_low']:.3f} to {row['top1_high']:.3f}), chance {row['chance_top1']:.3f}"
            )
        for line in result.lines:
            report.say(line)
        report.say(f"Table: {out / 'decoding.csv'}, figure: {out / 'decoding.png'}")
    if result.unusable:
        say(f"{len(result.unusable)} images were left out; why is in {out / 'failures.csv'}")
        raise typer.Exit(3)
