from __future__ import annotations

import hashlib
from dataclasses import replace

import network_files
import numpy as np
import pytest

from stimgen.networks.architectures import (
    CONVENTIONS,
    NETWORKS,
    Architecture,
    Convolution,
    Pool,
    PublishedWeights,
)
from stimgen.networks.weights import find_weights
from stimgen.networks.weights.formats import Convolutions

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
    ("conv1_1", "pool1", "pool2"),
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache folder for each test; the user's cache is never read or written."""
    monkeypatch.setenv("STIMGEN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weights"


@pytest.fixture
def tiny(monkeypatch):
    """A registered network of three convolutions."""
    assert "vgg16" in NETWORKS
    monkeypatch.setitem(NETWORKS._entries, "tiny", lambda: TINY)
    return TINY


@pytest.fixture
def convolutions():
    """Random weights of the network "tiny"."""
    rng = np.random.default_rng(5)
    kernels = tuple(rng.standard_normal(c.kernel_shape).astype(np.float32) / 6 for c in TINY.convolutions)
    return Convolutions(kernels, tuple(rng.standard_normal(len(k)).astype(np.float32) / 9 for k in kernels))


@pytest.fixture
def net(tmp_path, tiny, convolutions):
    """A state dict of "tiny"."""
    network_files.write_pth(tmp_path / "net.pth", convolutions)
    return tmp_path / "net.pth"


@pytest.fixture
def tiny_weights(tiny, convolutions):
    """A function that returns the weights of "tiny" with a given input convention."""

    def make(convention):
        return convolutions.weights("tiny", "test", CONVENTIONS[convention], "test", "0" * 64)

    return make


@pytest.fixture(scope="session")
def oxford(tmp_path_factory):
    """The Oxford VGG-16 weights, from the package that carries them."""
    with pytest.MonkeyPatch.context() as changed:
        changed.setenv("STIMGEN_CACHE", str(tmp_path_factory.mktemp("no_cache")))
        return find_weights("vgg16", "imagenet")


@pytest.fixture
def publish(tiny, convolutions, tmp_path, httpserver, monkeypatch):
    """A function that publishes the weights of "tiny" on a local server."""

    def make(**changes):
        network_files.write_pth(tmp_path / "published.pth", convolutions)
        content = (tmp_path / "published.pth").read_bytes()
        httpserver.expect_request("/published.pth").respond_with_data(content)
        published = PublishedWeights(
            name="imagenet",
            source=httpserver.url_for("/published.pth"),
            sha256=hashlib.sha256(content).hexdigest(),
            convention="caffe-rgb",
            licence="CC BY",
            citation="Someone",
        )
        published = replace(published, **changes)
        monkeypatch.setitem(NETWORKS._entries, "tiny", lambda: replace(TINY, weights=(published,)))
        return published

    return make
