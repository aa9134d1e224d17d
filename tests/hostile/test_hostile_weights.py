"""Weights files that are made to run code, to open other files, or to exhaust time or memory."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from stimgen.networks.architectures import NETWORKS
from stimgen.networks.import_weights import import_weights
from stimgen.networks.weights import WeightsError, find_weights
from stimgen.networks.weights.cache import cached_path
from stimgen.networks.weights.formats import read_convolutions

VGG16 = NETWORKS["vgg16"]()
KERNEL = torch.zeros(64, 3, 3, 3)


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STIMGEN_CACHE", str(tmp_path / "cache"))


def refused(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        read_convolutions(path, VGG16)
    assert caught.value.cure
    return caught.value.problem


def save_zip(path: Path, payload: object) -> None:
    torch.save({"features.0.weight": KERNEL, "epoch": payload}, path)


def save_pickle(path: Path, payload: object) -> None:
    path.write_bytes(pickle.dumps(payload, protocol=2))


@pytest.mark.parametrize("save", [save_zip, save_pickle])
@pytest.mark.parametrize("ending", [".pth", ".h5", ".onnx", ".safetensors"])
def test_pickles_are_never_run(save: Callable[[Path, object], None], ending: str, tmp_path: Path) -> None:
    payload, path = tmp_path / "executed", tmp_path / f"evil{ending}"
    save(path, Payload(payload))
    refused(path)
    with pytest.raises(WeightsError):
        find_weights("vgg16", str(path))
    with pytest.raises(WeightsError):
        import_weights(path, "vgg16", convention="torchvision")
    assert not payload.exists()


def test_a_payload_would_run_if_it_were_unpickled(tmp_path: Path) -> None:
    """Else the test above could not fail."""
    path = tmp_path / "evil.pth"
    save_zip(path, Payload(tmp_path / "executed"))
    torch.load(path, weights_only=False)
    assert (tmp_path / "executed").is_dir()


def test_torchscript_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "script.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated, and still read
        torch.jit.save(torch.jit.script(torch.nn.Conv2d(3, 64, 3)), path)
    assert "is a TorchScript program, which is not opened" in refused(path)


def repacked(path: Path, compression: int, *, pickled: bytes | None = None, zeros: int = 0) -> None:
    """Write the archive of a small state dict again, compressed or with other content."""
    file = io.BytesIO()
    torch.save({"features.0.weight": KERNEL}, file)
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(path, "w", compression) as new:
        for name in old.namelist():
            content = old.read(name)
            if pickled is not None and name.endswith("data.pkl"):
                content = pickled
            new.writestr(name, content + bytes(zeros if name.endswith("data/0") else 0))


def test_zip_bombs_are_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pth"
    repacked(path, zipfile.ZIP_DEFLATED, zeros=2**24)
    assert path.stat().st_size < 2**16
    assert "is compressed, and might fill the memory" in refused(path)


def test_endless_pickles_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "pickle.pth"
    repacked(path, zipfile.ZIP_STORED, pickled=b"\x80\x02" + b"(" * 2**20)
    assert "has too much in it beside numbers" in refused(path)
    path.write_bytes(b"\x80\x02" + b"(" * 2**20)
    assert "there is too much in it beside numbers" in refused(path)


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (torch.zeros(1).expand(64, 3, 30_000, 30_000), "claims to hold 172800000000 numbers"),
        (torch.zeros(1, dtype=torch.float16).expand(2**40), "claims to hold"),
        (torch.zeros(64, 3, 3, 3, device="meta"), "is not a readable PyTorch state dict"),
        (torch.zeros(64, 3, 3, 3, dtype=torch.complex64), "found 0"),
    ],
)
def test_strange_tensors_are_refused(tensor: torch.Tensor, words: str, tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    torch.save({"features.0.weight": tensor}, path)
    assert words in refused(path)


@pytest.mark.parametrize("name", ["conv" + "9" * 5000, "conv²1", "\x1b[31m"])
def test_any_text_can_name_a_layer(name: str, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({f"{name}.weight": KERNEL, "conv2.weight": KERNEL.clone()}, tmp_path / "net.safetensors")
    assert len(refused(tmp_path / "net.safetensors")) < 1000


def safetensors_of(header: object, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


TWO = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
SAFETENSORS = {
    "huge header": struct.pack("<Q", 2**63) + b"{}",
    "more numbers than bytes": safetensors_of({"a": TWO | {"shape": [2**40], "data_offsets": [0, 2**42]}}),
    "overflow": safetensors_of({"a": TWO | {"shape": [2**62, 4], "data_offsets": [0, 8]}}, bytes(8)),
    "overlap": safetensors_of({"a": TWO, "b": TWO}, bytes(8)),
    "unknown type": safetensors_of({"a": TWO | {"dtype": "F99"}}, bytes(8)),
    "type that torch has and numpy has not": safetensors_of(
        {"a.weight": {"dtype": "F4", "shape": [16], "data_offsets": [0, 8]}}, bytes(8)
    ),
    "deep": safetensors_of(b"[" * 100_000),
    "nothing": b"",
    "no tensors": safetensors_of({}),
}
HEADER = {
    "format": "stimgen weights 1", "network": "vgg16", "name": "mine", "convention": "torchvision",
    "origin": "file", "file_sha256": "0", "tensors_sha256": "0", "normalised": "no",
}  # fmt: skip
HEADERS = {
    "network": HEADER | {"network": "../../x"},
    "convention": HEADER | {"convention": "x"},
    "tensors": HEADER,
    "format": {"format": "other"},
}


@pytest.mark.parametrize("content", SAFETENSORS.values(), ids=SAFETENSORS)
def test_damaged_safetensors_are_refused_also_in_the_cache(content: bytes) -> None:
    path = cached_path("vgg16", "mine")
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    refused(path)
    with pytest.raises(WeightsError):
        find_weights("vgg16", "mine")


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_wrong_headers_in_the_cache_are_refused(header: dict[str, str]) -> None:
    path = cached_path("vgg16", "mine")
    path.parent.mkdir(parents=True)
    path.write_bytes(safetensors_of({"__metadata__": header}))
    with pytest.raises(WeightsError, match=re.escape(str(path))):
        find_weights("vgg16", "mine")


def onnx_of(tensor: TensorProto | None, **convolution: list[str]) -> bytes:
    arguments = {"inputs": ["x", "w"], "outputs": ["y"]} | convolution
    graph = helper.make_graph(
        [helper.make_node("Conv", **arguments)], "graph", [], [], [tensor] if tensor else []
    )
    return bytes(helper.make_model(graph).SerializeToString())


def tensor_of(data_type: int, *dims: int, raw: bytes = b"") -> TensorProto:
    return TensorProto(name="w", data_type=data_type, dims=dims, raw_data=raw)


def external(location: str) -> TensorProto:
    tensor = TensorProto(name="w", data_type=1, dims=[64, 3, 3, 3], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    return tensor


ONNX = {
    "data above": (onnx_of(external("../../../../etc/passwd")), "in another file, which is not opened"),
    "absolute data": (onnx_of(external("/dev/zero")), "in another file, which is not opened"),
    "more dimensions than data": (onnx_of(tensor_of(1, 2**40, 2**20, raw=bytes(8))), "not a readable ONNX"),
    "no data": (onnx_of(tensor_of(1, 64, 3, 3, 3)), "is not a readable ONNX file"),
    "no tensor": (onnx_of(None), "are computed"),
    "no output": (onnx_of(numpy_helper.from_array(KERNEL.numpy(), "w"), outputs=[]), "no bias"),
    "nothing": (b"", "found 0"),
    "noise": (bytes(range(256)) * 4, "is not a readable ONNX file"),
}


@pytest.mark.parametrize(("content", "words"), ONNX.values(), ids=ONNX)
def test_hostile_onnx_files_are_refused(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(content)
    assert words in refused(tmp_path / "net.onnx")


def external_link(file: h5py.File) -> None:
    file["conv1/weight"] = h5py.ExternalLink("/dev/zero", "/x")
    file["conv1/bias"] = np.zeros(64, "f4")


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("/dev/zero", "x", (4,))
    file.create_virtual_dataset("conv1/weight", layout)


def circle(file: h5py.File) -> None:
    file["a"] = file["/"]
    file["b"] = h5py.SoftLink("/a/b")


def names_that_lead_out(file: h5py.File) -> None:
    file.attrs["layer_names"] = ["a"]
    file.create_group("a").attrs["weight_names"] = ["../../x"]


def dataset(*arguments: object, **options: object) -> Callable[[h5py.File], None]:
    return lambda file: file.create_dataset("conv1/weight", *arguments, **options)


HDF5: dict[str, Callable[[h5py.File], object]] = {
    "external link": external_link,
    "external data": dataset((64, 3, 3, 3), "f4", external=[("/dev/zero", 0, 6912)]),
    "virtual": virtual,
    "huge": dataset((2**30, 2**20), "f4", chunks=(64, 64)),
    "packed": dataset(data=np.zeros(2**22, "f4"), chunks=True, compression="gzip"),
    "deep": lambda file: file.create_group("/".join("x" * 200)),
    "circle": circle,
    "names of no list": lambda file: file.attrs.update(layer_names=5),
    "names that lead out": names_that_lead_out,
}


@pytest.mark.parametrize("write", HDF5.values(), ids=HDF5)
def test_hostile_hdf5_files_are_refused(write: Callable[[h5py.File], object], tmp_path: Path) -> None:
    path = tmp_path / "net.h5"
    with h5py.File(path, "w") as file:
        write(file)
    refused(path)


@pytest.mark.parametrize("ending", [".pth", ".safetensors", ".onnx", ".h5"])
def test_huge_files_pipes_and_folders_are_refused_unread(ending: str, tmp_path: Path) -> None:
    sparse, pipe, folder = (tmp_path / f"{name}{ending}" for name in ("sparse", "pipe", "folder"))
    with sparse.open("wb") as file:
        file.truncate(10**12)
    os.mkfifo(pipe)
    folder.mkdir()
    assert "1000000000000 bytes" in refused(sparse)
    assert "There is no weights file" in refused(pipe)
    assert "There is no weights file" in refused(folder)
