"""A column that several tables have, and publications that columns name."""

from __future__ import annotations

from stimgen.column import Column

GATYS = "Gatys, Ecker & Bethge (2015), NeurIPS 28"
SCHAAF = "van der Schaaf & van Hateren (1996), Vision Res. 36:2759"

ID = Column(
    "stimulus_id",
    "Stimulus",
    "Name of the stimulus: source-condition-sSEED, or source-condition for a control without randomness.",
)
