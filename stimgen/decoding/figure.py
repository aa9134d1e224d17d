"""Accuracy against depth: Figure 4 of Gatys, Ecker & Bethge (2015) for any data set."""

from __future__ import annotations

import io

import pandas as pd


def draw(table: pd.DataFrame, title: str) -> bytes:
    """Return a PNG of top-1 and top-5 accuracy with their 95 % intervals per layer, and chance.

    Parameters
    ----------
    table
        The rows of decoding.csv, shallowest layer first.
    title
        What is above the picture.
    """
    # Without pyplot: no windows, no state, whatever the user's settings are.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.6 + 0.8 * len(table), 3.6), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    places = list(range(len(table)))
    for name, label, colour in (("top1", "top-1", "C0"), ("top5", "top-5", "C1")):
        if table[name].isna().any():
            continue  # five classes or fewer
        middle = table[name].to_numpy(float)
        below, above = middle - table[f"{name}_low"], table[f"{name}_high"] - middle
        axes.errorbar(places, middle, yerr=[below, above], color=colour, marker="o", capsize=3, label=label)
        chance = float(table[f"chance_{name}"].iloc[0])
        axes.axhline(chance, color=colour, linestyle=":", label=f"chance, {label}")
    axes.set(xticks=places, ylim=(0, 1.02), ylabel="accuracy", title=title)
    axes.set_xticklabels(list(table["layer"]), rotation=45, ha="right")
    axes.set_xlim(-0.4, len(table) - 0.6)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", metadata={"Software": None})
    return picture.getvalue()
