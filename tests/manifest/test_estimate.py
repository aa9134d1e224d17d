from __future__ import annotations

import json
from pathlib import Path

import pytest
from manifest_texts import load

from stimgen.errors import InputError
from stimgen.manifest import estimate as costs
from stimgen.manifest.estimate import device_without_torch, estimate, memory_bytes, stimulus_flops
from stimgen.manifest.plan import plan
from stimgen.networks.architectures import NETWORKS


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STIMGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(costs, "gpu_names", list)


def test_operations_follow_the_schedule(tmp_path: Path) -> None:
    vgg19 = NETWORKS["vgg19"]()
    layer_sets = {"pool2": ["conv1_1", "pool1", "pool2"]}
    published = load(tmp_path, layer_sets=layer_sets, synthesis={"preset": "gatys2015", "iterations": 10})
    at_full_size = 2 * vgg19.forward_flops(["conv1_1", "pool1", "pool2"], 256)
    assert stimulus_flops(published, published.layer_sets["pool2"]) == 10 * at_full_size
    schedule = {"evaluations": [3, 2, 5], "shallow_evaluations": [4], "plain_evaluations": 7}
    scales = load(tmp_path, layer_sets=layer_sets, synthesis=schedule)
    expected = 3 * 2 * vgg19.forward_flops(["conv1_1"], 64)
    expected += 2 * 2 * vgg19.forward_flops(["conv1_1", "pool1"], 128)
    expected += 4 * 2 * vgg19.forward_flops(["conv1_1", "pool1"], 256) + (5 + 7) * at_full_size
    assert stimulus_flops(scales, scales.layer_sets["pool2"]) == expected


def test_a_recorded_speed_gives_the_time(tmp_path: Path) -> None:
    manifest = load(tmp_path, seeds=[1, 2, 3], controls=["phase_scrambled", "random_weights"])
    costs.record_speed("cpu multiscale auto", 200.0)
    cost = estimate(manifest, plan(manifest), device="cpu")
    expected = 6 * stimulus_flops(manifest, manifest.layer_sets["pool4"]) / 200e9
    assert cost.seconds == pytest.approx(expected)
    assert "earlier runs" in cost.basis


def test_cpu_is_measured_when_nothing_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = load(tmp_path)
    monkeypatch.setattr(costs, "measured_cpu_speed", lambda: 100.0)
    cost = estimate(manifest, plan(manifest))
    expected = stimulus_flops(manifest, manifest.layer_sets["pool4"]) / (100e9 * costs.CONVOLUTION_SHARE)
    assert cost.seconds == pytest.approx(expected)
    assert "core" in cost.device_name


def test_controls_alone_take_no_synthesis(tmp_path: Path) -> None:
    manifest = load(tmp_path, layer_sets=None, controls=["original"])
    cost = estimate(manifest, plan(manifest))
    assert (cost.seconds, cost.memory_bytes) == (0.0, costs.PROCESS_BYTES)


def test_memory_counts_activations_kernels_and_history(tmp_path: Path) -> None:
    pixels = 64 * 64
    # A byte for each number, the maps, three times as much for gradients; kernels and biases twice; 20 pairs.
    expected = (1 + 4 + 3 * 4) * 64 * pixels + 4 * (2 * (27 + 1) * 64 + 2 * 20 * pixels)
    for color, preset, more in (
        ("grey", "multiscale", 0),
        ("rgb", "multiscale", 4 * 2 * 20 * 2 * pixels),
        ("grey", "gatys2015", 4 * 2 * 20 * pixels),
    ):
        image = {"size_px": 64, "color": color}
        manifest = load(tmp_path, image=image, layer_sets={"conv1_1": ["conv1_1"]}, synthesis=preset)
        assert memory_bytes(manifest, manifest.layer_sets["conv1_1"]) == expected + more


def test_gpu_has_no_time_before_its_first_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "gpu_names", lambda: ["Card A", "Card B"])
    manifest = load(tmp_path)
    stimuli = plan(manifest)
    cost = estimate(manifest, stimuli, device="cuda:1")
    assert (cost.seconds, cost.device_name) == (None, "Card B")
    assert "until the first run" in cost.basis
    costs.record_speed("cuda:1 multiscale auto", 50_000)
    assert estimate(manifest, stimuli, device="cuda:1").seconds is not None
    assert estimate(manifest, stimuli, device="cuda").seconds is None


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    assert device_without_torch("auto")[0] == "cpu"
    with pytest.raises(InputError, match="no GPU cuda; nvidia-smi lists: none"):
        device_without_torch("cuda")
    for unknown in ("gpu", "cuda:", "cuda:x", "cuda:-1", "cpu:0", ""):
        with pytest.raises(InputError, match="Unknown device"):
            device_without_torch(unknown)
    monkeypatch.setattr(costs, "gpu_names", lambda: ["Card A"])
    monkeypatch.setattr(costs.importlib.metadata, "version", lambda name: "2.15.0")
    assert device_without_torch("auto") == ("cuda:0", "Card A")
    monkeypatch.setattr(costs.importlib.metadata, "version", lambda name: "2.15.0+cpu")
    assert device_without_torch("auto")[0] == "cpu"
    with pytest.raises(InputError, match="cuda:0 Card A"):
        device_without_torch("cuda:1")


def test_gpu_names_come_from_nvidia_smi(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'Card A'\necho 'Card B'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert costs.gpu_names() == ["Card A", "Card B"]
    for visible, names in (("1", ["Card B"]), ("1,0", ["Card B", "Card A"]), ("", []), ("-1", []), ("7", [])):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert costs.gpu_names() == names
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    tool.write_text("#!/bin/sh\necho 'no driver' >&2\nexit 9\n")
    assert costs.gpu_names() == []
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    assert costs.gpu_names() == []


def test_speeds_are_kept_beside_each_other_in_one_file() -> None:
    costs.record_speed("cpu", 120.5)
    costs.record_speed("cuda:0", 40_000)
    costs.record_speed("cpu", 130)
    folder = costs.speed_file().parent
    assert json.loads(costs.speed_file().read_text()) == {"cpu": 130, "cuda:0": 40_000}
    assert [path.name for path in folder.iterdir()] == ["speed.json"]
    assert costs.recorded_speeds()["cpu"] == 130


@pytest.mark.parametrize("content", ["[1]", '{"cpu": "fast"}', '{"cpu": NaN}', '{"cpu": 0}', "\0"])
def test_damaged_speed_file_counts_as_none(content: str) -> None:
    costs.speed_file().parent.mkdir(parents=True)
    costs.speed_file().write_text(content)
    assert costs.recorded_speeds() == {}
    costs.record_speed("cpu", 3.0)
    assert costs.recorded_speeds() == {"cpu": 3.0}


def test_portilla_simoncelli_is_counted_by_pixels_and_channels(tmp_path: Path) -> None:
    for image, seconds in (({"size_px": 256}, 90), ({"size_px": 128, "color": "rgb"}, 90 * 3 / 4)):
        manifest = load(tmp_path, image=image, layer_sets={}, controls=["portilla_simoncelli"])
        stimuli = plan(manifest)
        cost = estimate(manifest, stimuli, device="cpu")
        assert cost.seconds == len(stimuli) * seconds
        assert "portilla_simoncelli" in cost.basis
