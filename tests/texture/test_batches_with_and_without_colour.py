"""Textures with and without colour in one batch."""

from __future__ import annotations

import numpy as np
from texture_problems import random_network, texture

from stimgen.texture.presets import Multiscale
from stimgen.texture.problem import Problem, SourceImage
from stimgen.texture.statistic import weighted_terms
from stimgen.texture.synthesis import synthesise

SHORT = Multiscale(smallest_px=16, evaluations=(8,), shallow_evaluations=(), plain_evaluations=3)
TERMS = weighted_terms({"conv1_1": 1.0, "pool1": 1.0, "pool2": 1.0})


def problem(source):
    return Problem(SourceImage(source), TERMS, np.random.default_rng(1))


def test_textures_with_and_without_colour_are_returned_in_the_order_of_their_problems():
    plane = texture("gravel", 32)
    sources = [plane, np.stack([plane, plane, np.flipud(plane)], axis=2), np.fliplr(plane)]
    found = synthesise([problem(source) for source in sources], random_network(), SHORT)
    assert [synthesis.image.shape for synthesis in found] == [(32, 32), (32, 32, 3), (32, 32)]
