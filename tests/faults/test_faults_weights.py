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

WRITERS = {"pth": network_files.write_pth, "safetensors": network_files.write_safetensors}
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
        if fault == "stalls":
            time.sleep(1)
        length = {"Content-Length": str(len(content))}
        return Response(iter([content[:1000] if fault == "is cut off" else content]), headers=length)

    server.clear()
    server.expect_request("/net.pth").respond_with_handler(respond)
    return requests


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


@pytest.mark.parametrize(
    ("fault", "cause"),
    [("is cut off", "The transfer was cut off"), ("stalls", "timed out")],
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
