from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from manifest_texts import load, refusal


def test_overrides_replace_network_and_seeds(tmp_path: Path) -> None:
    sets = {"a": ["pool1"], "b": {"layers": ["pool1"], "network": {"name": "vgg19"}}}
    manifest = load(tmp_path, override_network="vgg16", override_seeds=[7, 3], layer_sets=sets)
    assert manifest.seeds == (7, 3)
    assert (manifest.network.name, manifest.network.weights) == ("vgg16", "imagenet")
    assert [entry.network.name for entry in manifest.layer_sets.values()] == ["vgg16", "vgg19"]


@pytest.mark.parametrize(
    ("network", "section", "message"),
    [
        ("vgg17", {}, '--network: unknown network "vgg17". Did you mean'),
        (
            "vgg19",
            {"name": "vgg16", "weights": "torchvision"},
            'network.weights: unknown weights "torchvision"',
        ),
        ("vgg19", {"name": "vgg16", "weights": "w.pth"}, "can't use this weights file of vgg16"),
        ("vgg16", {}, 'no layer "conv3_4"'),
    ],
)
def test_network_override_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: str, section: Any, message: str
) -> None:
    monkeypatch.setenv("STIMGEN_CACHE", str(tmp_path))
    (tmp_path / "w.pth").write_bytes(b"x")
    sets = {"a": ["conv3_4"]}
    assert message in refusal(tmp_path, override_network=network, network=section, layer_sets=sets)


@pytest.mark.parametrize("seeds", [[], [1, 1], [-1], [2**32]])
def test_seeds_override_is_checked(tmp_path: Path, seeds: list[int]) -> None:
    assert refusal(tmp_path, override_seeds=seeds).startswith("--seeds: expected different whole numbers")
