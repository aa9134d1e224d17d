"""Weights of networks: found, read from files of several formats, cached, and identified by SHA-256."""

from stimgen.networks.weights.find import (
    at_hand,
    fetch_weights,
    find_weights,
    list_weights,
    verify_weights,
    whereabouts,
)
from stimgen.networks.weights.formats import Weights, random_weights
from stimgen.networks.weights.readers import WeightsError

__all__ = [
    "Weights",
    "WeightsError",
    "at_hand",
    "fetch_weights",
    "find_weights",
    "list_weights",
    "random_weights",
    "verify_weights",
    "whereabouts",
]
