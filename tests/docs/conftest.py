from __future__ import annotations

import shutil

import pytest
import torch
from page_runner import PageRunner, furnish

from stimgen.networks.architectures import NETWORKS


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """With images of 32 px, several threads wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A folder with results/quickstart, made from a manifest with next to no work."""
    folder = tmp_path_factory.mktemp("finished")
    furnish(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("STIMGEN_CACHE", str(folder / "cache"))
        code, output = PageRunner(folder).stimgen(["run", "manifests/quickstart.yaml", "--device", "cpu"])
    assert code == 0, output
    return folder


@pytest.fixture
def page_runner(finished, tmp_path, monkeypatch):
    """Runs the blocks of a page in a folder of its own with the finished run in it."""
    folder = tmp_path / "repository"
    shutil.copytree(finished, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("STIMGEN_CACHE", str(folder / "cache"))
    monkeypatch.setenv("COLUMNS", "120")
    return PageRunner(folder)


@pytest.fixture(scope="session")
def weights_file(tmp_path_factory):
    """A state dict of VGG-16 with arbitrary numbers."""
    path = tmp_path_factory.mktemp("weights") / "my_vgg16.pth"
    state = {}
    for convolution in NETWORKS["vgg16"]().convolutions:
        state[f"{convolution.name}.weight"] = torch.full(convolution.kernel_shape, 0.01)
        state[f"{convolution.name}.bias"] = torch.zeros(convolution.out_channels)
    torch.save(state, path)
    return path
