"""The commands that analyse images of any origin: `stimgen stats` and `stimgen decode`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from stimgen.cli import completion
from stimgen.cli.arguments import Device, Normalise, Padding, Pooling, Quiet, option
from stimgen.cli.errors import say
from stimgen.errors import InputError

if TYPE_CHECKING:
    from stimgen.manifest.schema import NetworkSpec


def stats(
    images: Annotated[list[str], typer.Argument(metavar="IMAGE...", help="Image files, or skimage:NAME.")],
    source: Annotated[str | None, option("Image to compare them with, such as the original texture.")] = None,
    out: Annotated[
        Path | None, option("CSV file, with its data dictionary (.json) beside it. Default: screen.")
    ] = None,
    gram: Annotated[bool, option("Measure Gram distances from the source, which needs a network.")] = True,
    network: Annotated[str, option("Network for Gram distances.", complete=completion.networks)] = "vgg19",
    weights: Annotated[
        str, option("Name of published or imported weights, or a file.", complete=completion.weights)
    ] = "imagenet",
    pooling: Pooling = "average",
    padding: Padding = "mirrored",
    normalise: Normalise = True,
    layers: Annotated[
        str | None,
        option(
            "Layers for Gram distances, separated by commas. Default: conv1_1,pool1,pool2,pool3,pool4 "
            "for VGG, conv1,pool1,pool2,conv3,conv4 for AlexNet.",
            complete=completion.layers,
        ),
    ] = None,
    portilla_simoncelli: Annotated[
        bool, option("Measure the distance in Portilla & Simoncelli's statistics.", "--portilla-simoncelli")
    ] = False,
    ppd: Annotated[
        float | None, option("Pixels per degree, for cycles per degree and contrast energy.")
    ] = None,
    white: Annotated[
        int | None,
        option("Sample of integer images that is white, such as 4095 for 12 bits in 16.", min=1, max=65535),
    ] = None,
    linearise: Annotated[
        Literal["none", "srgb"],
        option("srgb: undo the coding of sRGB photographs. none: take values as they are."),
    ] = "none",
    device: Device = "auto",
) -> None:
    """Measure images that any program made, in the columns of stimuli.csv.

    With --source also what compares: histogram, spectrum, Gram distances, copies. Statistics that compare
    pixel by pixel or frequency by frequency are empty for images of another size than the source. The
    source must be at the images' scale: not the photograph that they were shrunk from. --white and
    --linearise are of all images and the source.

    For example:
      stimgen stats paper/texture_01.png paper/noise_01.png
      stimgen stats paper/*.png --source paper/original.png --network vgg16 --out statistics.csv
    """
    if ppd is not None and not 0 < ppd < float("inf"):
        raise InputError(f"--ppd {ppd}: expected a number above 0.", "Give pixels per degree, such as 41.")
    if out is not None and (out.suffix.lower() != ".csv" or not out.parent.is_dir()):
        raise InputError(
            f"--out {out} is not a CSV file in a folder that exists.",
            "Name a file that ends in .csv; its data dictionary gets the same name with .json.",
        )

    from stimgen.images.read import read_image
    from stimgen.networks.device import find_device
    from stimgen.runs.csv_files import in_order, to_csv, to_json
    from stimgen.runs.measure_images import GramMeasurement, measure_images
    from stimgen.runs.store import write_atomically

    where = find_device(device)
    measurement = None
    if gram and source is not None:
        measurement = GramMeasurement(*_network(network, weights, pooling, padding, normalise, layers), where)
    measured = measure_images(
        images,
        source=source,
        gram=measurement,
        portilla_simoncelli=portilla_simoncelli,
        ppd=ppd,
        white=white,
        linearise=linearise,
    )
    if measurement and source:
        sides = zip(measured["height_px"], measured["width_px"], strict=True)
        other = sum(size != read_image(source).pixels.shape[:2] for size in sides)
        if other:
            say(
                f"{other} of {len(measured)} images have another size than the source. Their Gram distances "
                "also contain what the network sees at the border, the more the smaller the image."
            )
    table, dictionary = in_order("images", measured)
    if out is None:
        typer.echo(to_csv(table), nl=False)
    else:
        write_atomically(out, to_csv(table))
        write_atomically(out.with_suffix(".json"), to_json(dictionary))
        say(f"{len(table)} images measured. Table: {out}, its columns: {out.with_suffix('.json')}")


def decode(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Images in one subfolder per class: FOLDER/CLASS/FILE.")
    ],
    out: Annotated[Path, option("Folder for the results.")],
    test: Annotated[
        Path | None, option("Test images, in a folder with the same classes. Default: a split.")
    ] = None,
    test_share: Annotated[float, option("Share of each class held out for the test, without --test.")] = 0.25,
    validation_share: Annotated[float, option("Share of the rest that chooses the regularisation.")] = 0.25,
    group_by: Annotated[
        str | None,
        option("Regular expression that finds the group in a file's name; images of a group stay together."),
    ] = None,
    layers: Annotated[
        str | None,
        option(
            "Layers, separated by commas; conv1_1..pool5 is all from the one to the other. Default: the "
            "network's usual ones, and its last.",
            complete=completion.layers,
        ),
    ] = None,
    network: Annotated[str, option("Network.", complete=completion.networks)] = "vgg19",
    weights: Annotated[
        str, option("Name of published or imported weights, a file, or random.", complete=completion.weights)
    ] = "imagenet",
    pooling: Pooling = "average",
    padding: Padding = "mirrored",
    normalise: Normalise = True,
    size_px: Annotated[int, option("Side that the largest central square is shrunk to.", min=1)] = 224,
    color: Annotated[str, option("grey or rgb.", complete=completion.one_of("grey", "rgb"))] = "rgb",
    components: Annotated[
        int | None, option("Principal components to keep. Default: all features.", min=1)
    ] = None,
    epochs: Annotated[int, option("Passes over the training images.", min=1)] = 20,
    seed: Annotated[int, option("Of the split and of the training.", min=0)] = 1,
    batch_size: Annotated[int, option("Images in one pass through the network.", min=1)] = 32,
    features: Annotated[
        Path | None, option("Folder that features are kept in. Default: OUT/features.")
    ] = None,
    device: Device = "auto",
    quiet: Quiet = False,
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
    from stimgen.decoding.decode import Reporter
    from stimgen.decoding.decode import decode as decode_classes
    from stimgen.decoding.settings import DecodeSettings, ImageSettings, TrainingSettings
    from stimgen.networks.device import find_device

    torch_device = find_device(device)
    spec, named = _network(network, weights, pooling, padding, normalise, layers, with_last=True)
    settings = DecodeSettings(
        folder=folder,
        test=test,
        test_share=test_share,
        validation_share=validation_share,
        group_by=group_by,
        network=spec,
        layers=named,
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


def _network(
    name: str,
    weights: str,
    pooling: str,
    padding: str,
    normalise: bool,
    layers: str | None,
    *,
    with_last: bool = False,
) -> tuple[NetworkSpec, tuple[str, ...]]:
    """Return a network and the layers that a command line names, by default the network's usual ones."""
    from stimgen.manifest.schema import NetworkSpec
    from stimgen.networks.architectures import NETWORKS

    architecture = NETWORKS[name]()
    named = [*architecture.default_layers, *(architecture.layers[-1:] if with_last else ())]
    if layers is not None:
        named = [layer.strip() for layer in layers.split(",")]
    spec = NetworkSpec(name=name, weights=weights, pooling=pooling, padding=padding, normalise=normalise)
    return spec, architecture.expand(named)
