"""Sources without colour in a set of colour."""

from __future__ import annotations

import numpy as np
import pytest
from texture_problems import random_network, texture

from stimgen.texture.presets import Gatys2015, Multiscale
from stimgen.texture.problem import Problem, SourceImage
from stimgen.texture.statistic import weighted_terms
from stimgen.texture.synthesis import synthesise

SHORT = Multiscale(smallest_px=16, evaluations=(8,), shallow_evaluations=(), plain_evaluations=3)
TERMS = weighted_terms({"conv1_1": 1.0, "pool1": 1.0, "pool2": 1.0})


def problem(source):
    return Problem(SourceImage(source), TERMS, np.random.default_rng(1))


def made(source, preset):
    (synthesis,) = synthesise([problem(source)], random_network(), preset)
    return synthesis.image


@pytest.mark.parametrize("preset", [SHORT, Gatys2015(iterations=4)])
def test_a_source_without_colour_gives_the_texture_of_its_plane(preset):
    plane = texture("gravel", 32)
    coloured = np.stack([plane, plane, np.flipud(plane)], axis=2)
    np.testing.assert_array_equal(made(np.repeat(plane[..., None], 3, axis=2), preset), made(plane, preset))
    assert made(coloured, preset).shape == (32, 32, 3)


def test_textures_with_and_without_colour_are_returned_in_the_order_of_their_problems():
    plane = texture("gravel", 32)
    sources = [plane, np.stack([plane, plane, np.flipud(plane)], axis=2), np.fliplr(plane)]
    found = synthesise([problem(source) for source in sources], random_network(), SHORT)
    assert [synthesis.image.shape for synthesis in found] == [(32, 32), (32, 32, 3), (32, 32)]
