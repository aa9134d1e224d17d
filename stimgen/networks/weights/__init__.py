"""Weights of networks: found, read from any format, kept in a cache, and known by their SHA-256."""

from stimgen.networks.weights.find import fetch_weights, find_weights, import_weights
from stimgen.networks.weights.inventory import (
    ListedWeights,
    VerifiedWeights,
    at_hand,
    list_weights,
    verify_weights,
    whereabouts,
)
from stimgen.networks.weights.record import Weights, WeightsError, tensors_sha256

__all__ = [
    "ListedWeights",
    "VerifiedWeights",
    "Weights",
    "WeightsError",
    "at_hand",
    "fetch_weights",
    "find_weights",
    "import_weights",
    "list_weights",
    "tensors_sha256",
    "verify_weights",
    "whereabouts",
]
