from __future__ import annotations

import functools

import pytest
import torch

from stimgen.decoding import decode


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """A cache of its own: the user's is never read or written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STIMGEN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def weights_made_once(cache):
    """The random weights of the tests, made once for all of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decode, "find_weights", functools.cache(decode.find_weights))
        yield


@pytest.fixture(autouse=True)
def one_thread(request):
    """Images of 24 px are done before several threads have met; slow tests use them all."""
    before = torch.get_num_threads()
    if not request.node.get_closest_marker("slow"):
        torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
