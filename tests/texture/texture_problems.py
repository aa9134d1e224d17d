"""A random network, photographs and problems, for the tests of texture synthesis."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch

from stimgen.images.pixels import Image
from stimgen.images.read import read_image
from stimgen.images.sources import shrink
from stimgen.networks.extractor import FeatureExtractor, build_extractor
from stimgen.networks.weights import find_weights
from stimgen.texture.objective import Objective
from stimgen.texture.problem import Problem, SourceImage
from stimgen.texture.statistic import weighted_terms

LAYERS = ("conv1_1", "pool1", "pool2", "pool3")


@cache
def random_network(dtype: torch.dtype = torch.float32) -> FeatureExtractor:
    """Return VGG-16 up to pool3 with random weights, which computes as the trained one does."""
    weights = find_weights("vgg16", "random:3")
    return build_extractor(weights, deepest=LAYERS[-1], normalise=False, dtype=dtype)


def texture(name: str, size_px: int = 64, color: bool = False) -> Image:
    """Return a photograph, shrunk to a square."""
    pixels = read_image(f"skimage:{name}").pixels
    side = min(pixels.shape[:2])
    return shrink(pixels[:side, :side] if color or pixels.ndim == 2 else pixels[:side, :side, 0], size_px)[0]


def problem(name: str, layers: Sequence[str], seed: int, size_px: int = 64, color: bool = False) -> Problem:
    """Return the problem to match Gram matrices on layers with a weight of 1."""
    goal = SourceImage(texture(name, size_px, color))
    return Problem(goal, weighted_terms(dict.fromkeys(layers, 1.0)), np.random.default_rng(seed))


def source_of(problem: Problem) -> Image:
    """Return the image whose statistics a problem asks for."""
    assert isinstance(problem.goal, SourceImage)
    return problem.goal.image


def objective_of(problem: Problem, network: FeatureExtractor) -> Objective:
    """Return the plain objective of a problem at full size."""
    terms = problem.terms
    return Objective.plain(network, terms, problem.goal.features(network, list(terms), 0))
