from __future__ import annotations

import shutil
from contextlib import contextmanager

import pytest
import torch
from workshop import Workshop, furnish

from stimgen.networks.architectures import NETWORKS


@contextmanager
def one_thread():
    """Use one thread: several wait for each other, with images of 32 px on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A folder with results/quickstart, made by the real runner from a manifest that was made small."""
    folder = tmp_path_factory.mktemp("finished")
    furnish(folder)
    with pytest.MonkeyPatch.context() as patch, one_thread():
        patch.chdir(folder)
        patch.setenv("STIMGEN_CACHE", str(folder / "cache"))
        workshop = Workshop(folder)
        code, output = workshop.stimgen(["run", "manifests/quickstart.yaml", "--device", "cpu"])
    assert code == 0, output
    return folder


@pytest.fixture
def workshop(finished, tmp_path, monkeypatch):
    """A folder of one page's own, with the finished run in it."""
    folder = tmp_path / "repository"
    shutil.copytree(finished, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("STIMGEN_CACHE", str(folder / "cache"))
    monkeypatch.setenv("COLUMNS", "120")
    with one_thread():
        yield Workshop(folder)


@pytest.fixture(scope="session")
def weights_file(tmp_path_factory):
    """A state dict of VGG-16 with random numbers."""
    path = tmp_path_factory.mktemp("weights") / "my_vgg16.pth"
    state = {}
    for convolution in NETWORKS["vgg16"]().convolutions:
        state[f"{convolution.name}.weight"] = torch.full(convolution.kernel_shape, 0.01)
        state[f"{convolution.name}.bias"] = torch.zeros(convolution.out_channels)
    torch.save(state, path)
    return path
