"""The columns of every table, described once: the tables' data dictionaries are made from here."""

from __future__ import annotations

from stimgen.column import Column
from stimgen.runs.column import GATYS, ID, SCHAAF
from stimgen.runs.stimuli_columns import IMAGES, STIMULI
from stimgen.trials import DESIGNS, design_columns

GRAM_DISTANCES = (
    ID,
    Column(
        "stage",
        "Stage",
        '"optimised": the float image as synthesised; "matched": after matching and clipping; '
        '"file": the PNG, read back.',
    ),
    Column("layer", "Layer", "Layer of the network."),
    Column("constrained", "Constrained", "Whether the stimulus was made to match this layer."),
    Column("gram_loss", "Gram loss", "1/(4 N^2) * sum_ij (G_ij - T_ij)^2, T of the source.", "", GATYS),
    Column("gram_relative", "Relative Gram distance", "||G - T||_F / ||T||_F, T of the source."),
    Column(
        "gram_normalised",
        "Normalised Gram distance",
        "(gram_relative - gram_floor) / (gram_ceiling - gram_floor); empty unless the ceiling is at least twice the floor.",
    ),
    Column(
        "gram_floor",
        "Floor",
        "||G_1 - G_2||_F / ||T||_F of the halves of the source, as in stimuli.csv; empty where they are too small for "
        "the layer.",
    ),
    Column(
        "gram_ceiling",
        "Ceiling",
        "Mean relative Gram distance of three phase-scrambled versions of the source.",
    ),
)

TRACES = (
    ID,
    Column("synthesis_stage", "Synthesis stage", "Number of the stage of the synthesis: 1 is the coarsest."),
    Column("scale_px", "Scale", "Side of the image that was optimised.", "px"),
    Column("layers", "Layers", "Layers that were matched in this stage, separated by spaces."),
    Column("precision", "Precision", "Precision of the convolutions."),
    Column(
        "metric",
        "Metric",
        '"plain": differences of Gram matrices count as in the paper; "flat": in the metric of the source (with '
        "flatness 0 only the layers count otherwise). Losses of the two cannot be compared.",
    ),
    Column("stop_reason", "Stop reason", "Why the stage ended."),
    Column("iteration", "Iteration", "Accepted steps so far in this synthesis stage; 0 is its start."),
    Column("evaluations", "Evaluations", "Evaluations of loss and gradient so far in this stage."),
    Column(
        "loss",
        "Loss",
        "Weighted sum of the losses of the stage's layers, in its metric and precision, of the best image so far.",
        "",
        GATYS,
    ),
)

SPECTRA = (
    ID,
    Column(
        "frequency_cpi",
        "Frequency",
        "Spatial frequency; whole numbers up to Nyquist's frequency.",
        "cycles/image",
    ),
    Column(
        "frequency_cpd",
        "Frequency",
        "Spatial frequency; empty where visual angle is unknown.",
        "cycles/deg",
    ),
    Column(
        "power",
        "Power",
        "Mean of |X|^2 / n^2 over the frequencies whose radius, rounded, is frequency_cpi, X the transform of the "
        "luminance of the file and n its number of pixels; six significant digits.",
        "(fraction of white)^2",
        SCHAAF,
    ),
    Column("power_source", "Power of the source", "The same of the source.", "(fraction of white)^2", SCHAAF),
)

FAILURES = (
    ID,
    Column("error", "Error", "What went wrong."),
    Column("cure", "Cure", "What to do about it."),
)

RUN_TABLES = {
    "stimuli": STIMULI,
    "gram_distances": GRAM_DISTANCES,
    "spectra": SPECTRA,
    "traces": TRACES,
    "failures": FAILURES,
}
"""Name of each table of a run, without ".csv", and its columns."""

TRIAL_LISTS = {f"trials_{name}": design_columns(name) for name in DESIGNS}
"""Columns of the trial lists of each design."""

TABLES = RUN_TABLES | {"images": IMAGES} | TRIAL_LISTS
"""All tables: those of a run, the one that `stimgen stats` writes, and trial lists."""
