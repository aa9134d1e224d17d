"""What `precision: auto` becomes, with a clock that tells what it is told to."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from texture_problems import random_network

from stimgen.networks.weights.cache import cache_folder
from stimgen.texture import precision
from stimgen.texture.precision import descent_dtype, evaluation

FLOAT32, BFLOAT16 = torch.float32, torch.bfloat16


class Clock:
    """Stands for `seconds`: bfloat16 takes `slowness` times as long as float32; evaluations are counted."""

    def __init__(self) -> None:
        self.slowness, self.seen = 0.5, []

    def evaluation(self, extractor, side_px):
        return extractor.dtype, side_px

    def seconds(self, work, device):
        self.seen.append(work)
        dtype, side_px = work
        return side_px**2 * (self.slowness if dtype == BFLOAT16 else 1.0)


@pytest.fixture
def clock(monkeypatch, tmp_path):
    monkeypatch.setenv("STIMGEN_CACHE", str(tmp_path / "cache"))
    clock = Clock()
    monkeypatch.setattr(precision, "evaluation", clock.evaluation)
    monkeypatch.setattr(precision, "seconds", clock.seconds)
    return clock


def in_new_process():
    """Return what a process that has decided nothing yet takes."""
    precision._decided.clear()
    return descent_dtype("auto", random_network())


@pytest.mark.parametrize(
    ("slowness", "expected"), [(0.5, BFLOAT16), (0.9, BFLOAT16), (0.95, FLOAT32), (1.5, FLOAT32)]
)
def test_bfloat16_is_taken_where_it_is_clearly_faster(clock, slowness, expected):
    clock.slowness = slowness
    assert descent_dtype("auto", random_network()) == expected
    assert {side_px for _, side_px in clock.seen} == {32, 128}


def test_a_machine_decides_once_and_says_so_to_all_processes(clock):
    assert descent_dtype("auto", random_network()) == BFLOAT16
    evaluations, clock.slowness = len(clock.seen), 2
    assert descent_dtype("auto", random_network()) == in_new_process() == BFLOAT16
    assert len(clock.seen) == evaluations


def test_another_network_or_number_of_threads_is_tried_anew(clock, monkeypatch):
    network = random_network()
    descent_dtype("auto", network)
    clock.slowness = 2
    other = replace(network.architecture, name="vgg19")
    assert descent_dtype("auto", replace(network, architecture=other)) == FLOAT32
    monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    assert descent_dtype("auto", network) == FLOAT32
    monkeypatch.undo()


def test_all_cuts_of_a_network_share_the_decision(clock):
    network = random_network()
    descent_dtype("auto", network)
    clock.slowness = 2
    shallow = replace(network, padding="mirrored", kernels=network.kernels[:2], biases=network.biases[:2])
    cut = replace(network.architecture, steps=network.architecture.upto("pool1"))
    assert descent_dtype("auto", replace(shallow, architecture=cut)) == BFLOAT16


def test_the_whole_network_is_timed():
    whole = precision.whole_network(random_network())
    assert whole.architecture.steps[-1].name == "pool5"
    assert precision.evaluation(whole, 32)()[0].shape == (1, 3, 32, 32)


def test_another_pytorch_is_tried_anew(clock, monkeypatch):
    descent_dtype("auto", random_network())
    clock.slowness = 2
    monkeypatch.setattr(torch, "__version__", "99.0")
    assert descent_dtype("auto", random_network()) == FLOAT32


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b'{"of": 1}', b'{"faster": "bfloat16", "of": ""}'])
def test_a_damaged_file_is_written_again(clock, content):
    descent_dtype("auto", random_network())
    (file,) = (cache_folder() / "precision").iterdir()
    whole, clock.slowness = file.read_bytes(), 0.4
    file.write_bytes(content)
    assert in_new_process() == BFLOAT16
    assert file.read_bytes() == whole


def test_without_a_cache_the_trial_is_run_once_in_a_process(clock, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("STIMGEN_CACHE", str(tmp_path / "file"))
    assert in_new_process() == BFLOAT16
    evaluations = len(clock.seen)
    assert descent_dtype("auto", random_network()) == BFLOAT16
    assert len(clock.seen) == evaluations
    in_new_process()
    assert len(clock.seen) == 2 * evaluations


def test_what_another_process_has_kept_meanwhile_counts(clock, monkeypatch):
    assert descent_dtype("auto", random_network()) == BFLOAT16
    (file,) = (cache_folder() / "precision").iterdir()
    kept = file.read_bytes()
    file.unlink()

    def trial(extractor):
        file.write_bytes(kept)
        return FLOAT32

    monkeypatch.setattr(precision, "_trial", trial)
    assert in_new_process() == BFLOAT16
    assert file.read_bytes() == kept


def test_emulation_ends_the_trial_at_the_first_size(clock):
    clock.slowness = 30
    assert descent_dtype("auto", random_network()) == FLOAT32
    assert {side_px for _, side_px in clock.seen} == {32}


def test_a_precision_that_is_asked_for_is_taken_without_a_trial(clock):
    assert descent_dtype("float32", random_network()) == FLOAT32
    assert descent_dtype("bfloat16", random_network()) == BFLOAT16
    assert descent_dtype("auto", random_network(torch.float64)) == torch.float64
    assert not clock.seen


def test_what_is_timed_computes_a_gradient_in_the_precision_of_the_network():
    for dtype in (FLOAT32, BFLOAT16):
        (gradient,) = evaluation(random_network(dtype), 32)()
        assert gradient.shape == (1, 3, 32, 32)
        assert gradient.abs().sum() > 0
