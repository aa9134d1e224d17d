"""Trial lists: a design's trials in the order in which they are shown, with the columns that all have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stimgen.column import Column
from stimgen.trials.available import Available, Row
from stimgen.trials.balance import in_random_order, side_of
from stimgen.trials.design import DESIGNS, TrialOptions
from stimgen.trials.verify import verify

FIRST_COLUMNS = (
    Column("design", "Design", "How the trial shows stimuli."),
    Column("trial", "Trial", "Number of the trial, from 1 in the order of showing."),
    Column("block", "Block", "Number of the block, from 1."),
    Column("break_before", "Break", "1 if a break comes before this trial, else 0."),
    Column("source", "Source", "Id of the source texture."),
    Column("condition", "Condition", "Condition of the stimulus that is judged."),
    Column(
        "seed",
        "Seed",
        "Its seed; empty for a control without randomness. Readers make floats of a column with empty cells.",
    ),
    Column("stimulus_id", "Stimulus", "The stimulus that is judged."),
    Column(
        "crop_px",
        "Patch",
        "Side of the patches that are shown; the stimulus's side if it is shown whole.",
        "px",
    ),
    Column(
        "ppd", "Resolution", "Pixels per degree of visual angle; empty if the manifest gives none.", "px/deg"
    ),
    Column("presentation_s", "Presentation", "How long each image is shown.", "s"),
    Column("response_s", "Response", "How long a response is waited for.", "s"),
    Column("interval_s", "Interval", "From the response to the next trial.", "s"),
)


@dataclass(frozen=True)
class TrialList:
    """Trials in the order in which they are shown, in at most so many `seconds` without breaks.

    `rows` have the columns that need neither the files of a run nor `ppd`.
    """

    rows: tuple[Row, ...]
    trials: int
    blocks: int
    seconds: float


def design_columns(name: str) -> tuple[Column, ...]:
    """Return all columns of a design's lists, in their order."""
    design = DESIGNS[name]
    columns = [*FIRST_COLUMNS, *design.columns]
    for p in design.patches:
        columns += [
            Column(f"{p}_id", f"Stimulus, {p}", f"The stimulus that the {p} patch is cut from."),
            Column(f"{p}_file", f"File, {p}", "Its PNG file, relative to the folder of the trial list."),
            Column(f"{p}_x", f"Left edge, {p}", f"Left edge of the {p} patch in the stimulus.", "px"),
            Column(f"{p}_y", f"Top edge, {p}", f"Top edge of the {p} patch in the stimulus.", "px"),
            Column(f"{p}_sha256", f"File's hash, {p}", 'SHA-256 of the PNG file, after "sha256:".'),
        ]
    return tuple(columns)


def make_trials(name: str, available: Available, options: TrialOptions) -> TrialList:
    """Make a trial list. The same stimuli, options and seed make the same list."""
    design = DESIGNS[name]
    rng = np.random.default_rng(options.seed)
    made = design.make(available, options, rng)
    ordered = in_random_order(made, options.min_source_gap, rng)
    shared = options.model_dump(include={"presentation_s", "response_s", "interval_s"})
    shared["crop_px"] = side_of(options.crop_px, available.size_px)
    rows = []
    for index, trial in enumerate(ordered):
        number = {
            "design": name,
            "trial": index + 1,
            "block": index // options.break_every + 1,
            "break_before": int(index > 0 and index % options.break_every == 0),
        }
        rows += [number | shared | row for row in trial]
    verify(rows, available, options, design.patches)
    blocks = -(-len(ordered) // options.break_every)
    return TrialList(tuple(rows), len(ordered), blocks, len(ordered) * options.trial_s)
