"""How many textures are made at once."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from run_manifests import tiny

from stimgen.runs import executor
from stimgen.runs.executor import LARGEST, default_batch_size, measured_peak
from stimgen.runs.preparation import Networks

CPU = torch.device("cpu")


@pytest.fixture
def batch_size(monkeypatch):
    """Return the batch size on a card with `memory` bytes, where problems take what `peak` returns."""

    def given(manifest, memory: int, peak):
        card = SimpleNamespace(total_memory=memory)
        monkeypatch.setattr(executor, "SHARE_OF_MEMORY", 1)
        monkeypatch.setattr(executor, "measured_peak", lambda *asked: peak(asked[2].name, asked[-1]))
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
        return default_batch_size(manifest, Networks(manifest, "cpu"), torch.device("cuda"))

    return given


def test_batch_size_is_1_on_a_cpu(tmp_path):
    manifest = tiny(tmp_path)
    assert default_batch_size(manifest, Networks(manifest, "cpu"), CPU) == 1


@pytest.mark.parametrize(
    ("memory", "fixed", "each", "expected"),
    [
        (1000, 100, 90, 10),
        (1000, 500, 5000, 1),
        (1000, 100, 0, LARGEST),
    ],
)
def test_batch_size_follows_from_two_measurements(tmp_path, batch_size, memory, fixed, each, expected):
    assert batch_size(tiny(tmp_path), memory, lambda name, problems: fixed + each * problems) == expected


def test_layer_set_that_needs_most_memory_is_measured(tmp_path, batch_size):
    manifest = tiny(tmp_path, layer_sets={"a": ["conv1_1"], "c": ["conv1_1", "pool2"], "b": ["pool1"]})
    seen = []

    def peak(name, problems):
        seen.append((name, problems))
        return problems

    batch_size(manifest, 10, peak)
    assert seen == [("c", 1), ("c", 2)]


def test_batch_size_is_1_where_two_do_not_fit(tmp_path, batch_size):
    def peak(name, problems):
        if problems == 2:
            raise torch.OutOfMemoryError("no")
        return 1

    assert batch_size(tiny(tmp_path), 10**9, peak) == 1


@pytest.mark.gpu
def test_memory_grows_linearly_with_the_batch_on_a_gpu(tmp_path):
    device = torch.device("cuda:0")
    manifest = tiny(tmp_path, image={"size_px": 256})
    networks = Networks(manifest, "cuda:0")
    largest = list(manifest.layer_sets.values())[-1]
    one, two, eight = (measured_peak(manifest, networks, largest, device, n) for n in (1, 2, 8))
    assert eight == pytest.approx(one + 7 * (two - one), rel=0.1)
    assert default_batch_size(manifest, networks, device) > 1
