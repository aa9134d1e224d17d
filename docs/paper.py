"""Numbers for the page on the paper: Gram distances of finished runs on layers that no condition matched.

python docs/paper.py results/figure2 docs/paper/figure2.csv
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

MATCHED = ("conv1_1", "pool1", "pool2", "pool3", "pool4")
"""Layers of the paper's five-layer model. All others up to pool4 are held out from it."""


def main() -> None:
    """Read the command line and write the numbers."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", type=Path, help="Run folder, measured on the layers conv1_1..pool4.")
    parser.add_argument("numbers", type=Path, help="CSV file to write.")
    arguments = parser.parse_args()
    summary(arguments.run).to_csv(arguments.numbers, index=False, float_format="%.5g", lineterminator="\n")


def summary(run: Path) -> pd.DataFrame:
    """Return one row per texture and Portilla-Simoncelli control of a run.

    Parameters
    ----------
    run
        The run folder.

    Returns
    -------
    DataFrame
        What it is, its `parameters` and `residual_gram` as in stimuli.csv, and two means of the relative Gram
        distance of the file: `matched_layers` over the five layers of the paper, and `held_out_layers`
        over all others, whatever the condition matched.
    """
    stimuli = pd.read_csv(run / "stimuli.csv")
    distances = pd.read_csv(run / "gram_distances.csv")
    on_file = distances[distances["stage"] == "file"].copy()
    on_file["layers"] = on_file["layer"].isin(MATCHED).map({True: "matched_layers", False: "held_out_layers"})
    means = on_file.pivot_table(index="stimulus_id", columns="layers", values="gram_relative")
    shown = stimuli[stimuli["seed"].notna()]
    kept = ["condition", "source", "seed", "size_px", "network", "weights", "parameters", "residual_gram"]
    rows = shown.set_index("stimulus_id")[kept].join(means[["matched_layers", "held_out_layers"]])
    return rows.astype({"seed": int, "parameters": "Int64"}).reset_index(drop=True)


def table(numbers: Path) -> str:
    """Return a Markdown table of the means over sources and seeds, in the order of the run.

    Parameters
    ----------
    numbers
        What `main` wrote.
    """
    rows = pd.read_csv(numbers)
    conditions = list(dict.fromkeys(rows["condition"]))
    sources = list(dict.fromkeys(rows["source"]))
    header = ["condition", "parameters", *sources, "all", "lower than the condition above"]
    lines = [header, ["---"] * len(header)]
    before: pd.Series | None = None
    for condition in conditions:
        own = rows[rows["condition"] == condition].set_index(["source", "seed"])
        held_out = own["held_out_layers"]
        by_source = held_out.groupby("source").mean()
        fallen = "" if before is None else f"{int((held_out < before).sum())} of {len(held_out)}"
        parameters = own["parameters"].iloc[0]
        lines.append(
            [
                f"`{condition}`",
                "" if pd.isna(parameters) else f"{int(parameters):,}",
                *(f"{by_source[source]:.3f}" for source in sources),
                f"{held_out.mean():.3f}",
                fallen,
            ]
        )
        before = held_out
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
