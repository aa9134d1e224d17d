from __future__ import annotations

import functools

import pytest
import torch

from stimgen.decoding import decode


@pytest.fixture(scope="session", autouse=True)
def weights():
    """The random weights of the tests, made once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decode, "find_weights", functools.cache(decode.find_weights))
        yield


@pytest.fixture(autouse=True)
def one_thread(request):
    """Images of 24 px are faster with one thread; slow tests use all."""
    before = torch.get_num_threads()
    if not request.node.get_closest_marker("slow"):
        torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
