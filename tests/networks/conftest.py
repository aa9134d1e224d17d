from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stimgen.networks import catalogue
from stimgen.networks.architectures import NETWORKS, Architecture, Convolution, Pool
from stimgen.networks.weights import Weights, find_weights
from stimgen.networks.weights.record import Convolutions, weights_of

TINY = Architecture(
    "tiny",
    (
        Convolution("conv1_1", 3, 4),
        Convolution("conv1_2", 4, 4),
        Pool("pool1"),
        Convolution("conv2_1", 4, 6),
        Pool("pool2"),
    ),
    "none",
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own for every test: the user's is never read or written."""
    monkeypatch.setenv("STIMGEN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weights"


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Architecture:
    """A registered network of three convolutions."""
    assert "vgg16" in NETWORKS
    monkeypatch.setitem(NETWORKS._entries, "tiny", lambda: TINY)
    return TINY


@pytest.fixture
def convolutions() -> Convolutions:
    """Random weights of the network "tiny"."""
    rng = np.random.default_rng(5)
    kernels = tuple(rng.standard_normal(c.kernel_shape).astype(np.float32) / 6 for c in TINY.convolutions)
    return Convolutions(kernels, tuple(rng.standard_normal(len(k)).astype(np.float32) / 9 for k in kernels))


@pytest.fixture
def tiny_weights(tiny: Architecture, convolutions: Convolutions) -> Callable[[str], Weights]:
    """The weights of "tiny" with an input convention of choice."""

    def make(convention: str) -> Weights:
        return weights_of(
            convolutions,
            network="tiny",
            name="test",
            convention=catalogue.CONVENTIONS[convention],
            origin="test",
            file_sha256="0" * 64,
        )

    return make


@pytest.fixture(scope="session")
def oxford(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    """The Oxford VGG-16 weights, from the package that carries them."""
    return find_weights("vgg16", "imagenet", cache_dir=tmp_path_factory.mktemp("no_cache"))
