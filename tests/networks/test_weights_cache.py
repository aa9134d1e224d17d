from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import network_files
import numpy as np
import pytest

from stimgen.networks import catalogue
from stimgen.networks.architectures import Architecture
from stimgen.networks.catalogue import PublishedWeights
from stimgen.networks.weights import (
    WeightsError,
    fetch_weights,
    find_weights,
    import_weights,
    list_weights,
    verify_weights,
)
from stimgen.networks.weights.record import Convolutions

Publish = Callable[..., PublishedWeights]


def _files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*")) if folder.exists() else []


def _damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def test_a_damaged_cache_file_is_an_error_and_verify_says_which(
    publish: Publish, tmp_path: Path, cache: Path
) -> None:
    publish()
    fetch_weights("tiny", "imagenet")
    import_weights(tmp_path / "published.pth", "tiny", name="mine")
    file = cache / "tiny-imagenet.safetensors"
    _damage(file)
    with pytest.raises(WeightsError, match=r"tiny-imagenet.safetensors is altered(.|\n)*Delete the file"):
        find_weights("tiny", "imagenet")
    verified = {(v.network, v.name): v for v in verify_weights()}
    assert not verified["tiny", "imagenet"].intact
    assert "altered" in verified["tiny", "imagenet"].detail
    assert verified["tiny", "mine"].intact
    assert verified["vgg16", "imagenet"].intact
    file.write_bytes(file.read_bytes()[:100])
    for read in (find_weights, fetch_weights):
        with pytest.raises(WeightsError, match=r"tiny-imagenet.safetensors is damaged"):
            read("tiny", "imagenet")
    assert (
        next(r for r in list_weights() if r.network == "tiny" and r.name == "imagenet").location == "damaged"
    )


def test_a_renamed_cache_file_is_an_error(
    tmp_path: Path, tiny: Architecture, convolutions: Convolutions, cache: Path
) -> None:
    network_files.write_pth(tmp_path / "net.pth", convolutions)
    import_weights(tmp_path / "net.pth", "tiny", convention="torchvision")
    (cache / "tiny-net.safetensors").rename(cache / "tiny-other.safetensors")
    with pytest.raises(WeightsError, match=r'holds other weights: "net" of tiny'):
        find_weights("tiny", "other")
    assert [v.detail for v in verify_weights() if v.network == "tiny"] == [
        'It holds "net" of tiny: the file was renamed.'
    ]


def test_an_interrupted_write_leaves_no_file(
    tmp_path: Path,
    tiny: Architecture,
    convolutions: Convolutions,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    network_files.write_pth(tmp_path / "net.pth", convolutions)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WeightsError, match=r"No space left on device\.\n.*STIMGEN_CACHE"):
        import_weights(tmp_path / "net.pth", "tiny", convention="torchvision")
    assert _files(cache) == []


def test_list_says_where_everything_is(publish: Publish, tmp_path: Path, cache: Path) -> None:
    published = catalogue.PUBLISHED
    entry = publish()
    catalogue.PUBLISHED = (*published, entry)  # undone by the fixture's monkeypatch
    import_weights(tmp_path / "published.pth", "tiny", name="mine")
    (cache / "not weights.safetensors").touch()
    rows = {(row.network, row.name): row for row in list_weights()}
    assert list(rows) == [
        ("alexnet", "imagenet"),
        ("tiny", "imagenet"),
        ("vgg16", "imagenet"),
        ("vgg16", "torchvision"),
        ("vgg19", "imagenet"),
        ("tiny", "mine"),
    ]
    assert [row.location for row in rows.values()] == [
        "download",
        "download",
        "package",
        "download",
        "download",
        "cache",
    ]
    assert rows["tiny", "mine"].path == cache / "tiny-mine.safetensors"
    assert rows["tiny", "mine"].convention == "caffe-rgb"
    assert rows["vgg16", "imagenet"].convention == "caffe-bgr"
    assert rows["vgg16", "imagenet"].licence == "CC BY 4.0"
    assert rows["vgg19", "imagenet"].origin.endswith("vgg19-dcbb9e9d.pth")


def test_the_catalogue_agrees_with_torchvision() -> None:
    from torchvision.models import AlexNet_Weights, VGG16_Weights, VGG19_Weights

    theirs = {
        ("alexnet", "imagenet"): AlexNet_Weights.IMAGENET1K_V1,
        ("vgg16", "imagenet"): VGG16_Weights.IMAGENET1K_FEATURES,
        ("vgg16", "torchvision"): VGG16_Weights.IMAGENET1K_V1,
        ("vgg19", "imagenet"): VGG19_Weights.IMAGENET1K_V1,
    }
    assert {(entry.network, entry.name) for entry in catalogue.PUBLISHED} == set(theirs)
    for entry in catalogue.PUBLISHED:
        weights = theirs[entry.network, entry.name]
        assert entry.url == weights.url
        assert entry.url.endswith(f"-{entry.sha256_prefix}.pth")
        convention, transforms = catalogue.CONVENTIONS[entry.convention], weights.transforms()
        # torchvision rounds the Oxford mean to whole grey levels.
        np.testing.assert_allclose(np.divide(convention.mean, convention.scale), transforms.mean, atol=0.003)
        np.testing.assert_allclose(np.divide(convention.std, convention.scale), transforms.std, rtol=1e-6)
    assert catalogue.weights_names("vgg16") == ("imagenet", "torchvision")
