"""Numbers for the page on the paper: a figure's manifest with its textures at 128 px, and what came out.

python -m benchmarks.paper manifests/gatys2015/figure2.yaml --network vgg16
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import pandas as pd

from stimgen.manifest.load import load_manifest
from stimgen.manifest.resolved import LayerSet
from stimgen.runs.progress import Progress
from stimgen.runs.runner import run

SIZE_PX = 128
PHOTOGRAPH = "photograph"
"""Id of the source that is no texture. It is in the pictures and not in the numbers."""

MATCHED = ("conv1_1", "pool1", "pool2", "pool3", "pool4")
"""Layers of the paper's five-layer model. All others up to pool4 are held out from it."""

NUMBERS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("manifest", type=Path, help="Manifest of a figure, measured on conv1_1..pool4.")
    parser.add_argument("--network", help="Network in place of the manifest's.")
    parser.add_argument("--alexnet", default="imagenet", help="Weights of AlexNet.")
    parser.add_argument("--out", type=Path, help="Run folder. Default: results/paper/NAME.")
    arguments = parser.parse_args()
    manifest = load_manifest(arguments.manifest, network=arguments.network)
    small = replace(
        manifest,
        image=replace(manifest.image, size_px=SIZE_PX),
        sources=tuple(source for source in manifest.sources if source.id != PHOTOGRAPH),
        layer_sets={
            name: _with_weights(entry, arguments.alexnet) for name, entry in manifest.layer_sets.items()
        },
        controls=tuple(control for control in manifest.controls if control.name == "original"),
    )
    folder = arguments.out or Path("results/paper") / manifest.name
    result = run(small, out=folder, progress=Progress(quiet=False))
    if result.failures:
        raise SystemExit(f"{len(result.failures)} stimuli could not be made: {folder / 'failures.csv'}")
    numbers = NUMBERS / f"paper-{manifest.name}.csv"
    summary(folder).to_csv(numbers, index=False, float_format="%.5g", lineterminator="\n")


def _with_weights(layer_set: LayerSet, alexnet: str) -> LayerSet:
    if layer_set.network.name != "alexnet":
        return layer_set
    return replace(layer_set, network=layer_set.network.model_copy(update={"weights": alexnet}))


def summary(folder: Path) -> pd.DataFrame:
    """Return one row per texture of a run.

    It has two means of the relative Gram distance of the file: `matched_layers` over the five layers of the
    paper, and `held_out_layers` over all others, whatever the condition matched.
    """
    stimuli = pd.read_csv(folder / "stimuli.csv")
    distances = pd.read_csv(folder / "gram_distances.csv")
    on_file = distances[distances["stage"] == "file"].copy()
    on_file["layers"] = on_file["layer"].isin(MATCHED).map({True: "matched_layers", False: "held_out_layers"})
    means = on_file.pivot_table(index="stimulus_id", columns="layers", values="gram_relative")
    textures = stimuli[stimuli["kind"] == "texture"].set_index("stimulus_id")
    kept = ["condition", "source", "seed", "size_px", "network", "weights", "measured_in", "parameters"]
    rows = textures[[*kept, "residual_gram"]].join(means[["matched_layers", "held_out_layers"]])
    return rows.astype({"seed": int, "parameters": int}).reset_index(drop=True)


if __name__ == "__main__":
    main()
