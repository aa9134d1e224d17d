"""Weights that are damaged, and downloads that break off."""

from __future__ import annotations

import hashlib
import re
import time

import fault_networks
import network_files
import pytest
from fault_bench import write_manifest
from fault_networks import REGISTER, convolutions
from werkzeug import Response

WRITERS = {
    "pth": network_files.write_pth,
    "safetensors": network_files.write_safetensors,
    "onnx": network_files.write_onnx,
    "h5": network_files.write_caffe,
}
IMPORT = ("--network", "tiny", "--input", "torchvision", "--name", "mine")
TENSORS = re.compile(r"Tensors sha256:(\w+)")


@pytest.fixture
def env(bench):
    return {"STIMGEN_CACHE": str(bench.folder / "cache")}


def flip(path, place):
    """Flip one bit of a file."""
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)


def cached(bench):
    folder = bench.folder / "cache" / "weights"
    return sorted(p.name for p in folder.glob("**/*") if p.suffix != ".lock") if folder.exists() else []


def answer(server, content, fault=None):
    """Let a server answer with a file, or go wrong; return the list to which requests are added."""
    requests = []

    def respond(request):
        requests.append(request)
        match fault:
            case "is cut off":
                return Response(iter([content[:1000]]), headers={"Content-Length": str(len(content))})
            case "stalls":
                time.sleep(1)
            case "is 404":
                return Response(status=404)
            case "is another file":
                return Response(bytes(len(content)))
        return Response(content)

    server.clear()
    server.expect_request("/net.pth").respond_with_handler(respond)
    return requests


@pytest.mark.parametrize(
    ("ending", "damage"),
    [("pth", "truncated"), ("safetensors", "empty"), ("onnx", "other network"), ("h5", "truncated")],
)
def test_damaged_file_is_not_imported(bench, env, ending, damage):
    path = bench.folder / f"net.{ending}"
    WRITERS[ending](path, convolutions())
    whole = path.read_bytes()
    if damage == "other network":
        WRITERS[ending](path, convolutions(fault_networks.OTHER))
    else:
        path.write_bytes(whole[: len(whole) // 2] if damage == "truncated" else b"")
    ended = bench.stimgen("weights", "import", path, *IMPORT, before=REGISTER, env=env)
    bench.check(ended, 4, f"net.{ending}")
    assert len(ended.errors.strip().splitlines()) >= 2, "no hint"
    assert cached(bench) == []
    path.write_bytes(whole)
    bench.check(bench.stimgen("weights", "import", path, *IMPORT, before=REGISTER, env=env), 0)


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_flipped_bit_in_a_file(bench, env, ending):
    path = bench.folder / f"net.{ending}"
    WRITERS[ending](path, convolutions())
    right = bench.stimgen("weights", "import", path, *IMPORT, before=REGISTER, env=env)
    flip(path, path.read_bytes().index(convolutions().kernels[1][0, 0, 0, 1].tobytes()))
    ended = bench.stimgen("weights", "import", path, *IMPORT[:-1], "other", before=REGISTER, env=env)
    if ending == "pth":  # which has checksums
        bench.check(ended, 4, "net.pth is damaged", "Get the file again")
        assert cached(bench) == ["tiny-mine.safetensors"]
        return
    bench.check(ended, 0)
    assert TENSORS.search(ended.output)[1] != TENSORS.search(right.output)[1]


@pytest.mark.parametrize("damage", ["flipped bit", "truncated"])
def test_damaged_weights_in_the_cache(bench, env, damage):
    path = bench.folder / "net.pth"
    network_files.write_pth(path, convolutions())
    measure = {"layers": ["conv1_1"], "copying": False}
    network = {"name": "tiny", "weights": "mine", "normalise": False}
    write_manifest(bench.folder, network=network, measure=measure)
    import_it = ("weights", "import", path, *IMPORT)
    bench.check(bench.stimgen(*import_it, before=REGISTER, env=env), 0)
    bench.check(bench.run(before=REGISTER, env=env), 0)
    missing = bench.results / "stimuli" / "one-conv1_1-s2.png"
    content = missing.read_bytes()
    missing.unlink()
    file = bench.folder / "cache" / "weights" / "tiny-mine.safetensors"
    if damage == "flipped bit":
        flip(file, -9)
    else:
        file.write_bytes(file.read_bytes()[:-100])
    bench.check(bench.run(before=REGISTER, env=env), 4, "tiny-mine.safetensors", "Delete the file")
    bench.check(bench.stimgen("weights", "verify", before=REGISTER, env=env), 4)
    file.unlink()
    bench.check(bench.stimgen(*import_it, before=REGISTER, env=env), 0)
    bench.check(bench.run(before=REGISTER, env=env), 0, "1 made, 5 kept")
    assert missing.read_bytes() == content


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("is cut off", "The transfer was cut off"),
        ("stalls", "timed out"),
        ("is 404", "404"),
        ("is another file", "something else"),
    ],
)
def test_download_that_goes_wrong(bench, env, httpserver, fault, cause):
    fault_networks.write_pth(bench.folder / "net.pth")
    content = (bench.folder / "net.pth").read_bytes()
    write_manifest(bench.folder, network={"name": "tiny", "normalise": False}, measure=None)
    url, prefix = httpserver.url_for("/net.pth"), hashlib.sha256(content).hexdigest()[:8]
    before = (
        f"import fault_networks; fault_networks.publish({url!r}, {prefix!r}); "
        "from stimgen.networks.weights import find; find.TIMEOUT_S = 0.5"
    )
    answer(httpserver, content, fault)
    ended = bench.run(before=before, env=env)
    bench.check(ended, 4, url, "stimgen weights import FILE", cause)
    assert cached(bench) == []
    assert not bench.results.exists()
    requests = answer(httpserver, content)
    bench.check(bench.run(before=before, env=env), 0)
    assert cached(bench) == ["tiny-imagenet.safetensors"]
    assert len(requests) == 1
    bench.check(bench.run(before=before, env=env), 0, "Nothing to do")
    assert len(requests) == 1
