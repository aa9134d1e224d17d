"""Weights that are damaged, and downloads that break off."""

from __future__ import annotations

import hashlib
import re

import fault_networks
import network_files
import numpy as np
import pytest
from fault_bench import write_manifest
from fault_server import Server

from stimgen.networks.weights.record import Convolutions

pytestmark = pytest.mark.slow

TINY = "import fault_networks; fault_networks.register_tiny()"
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


def convolutions(architecture=fault_networks.TINY):
    rng = np.random.default_rng(5)
    kernels = [rng.standard_normal(c.kernel_shape).astype(np.float32) / 6 for c in architecture.convolutions]
    return Convolutions(tuple(kernels), tuple(np.zeros(len(k), np.float32) for k in kernels))


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)


def cached(bench):
    folder = bench.folder / "cache" / "weights"
    return sorted(p.name for p in folder.glob("**/*") if p.suffix != ".lock") if folder.exists() else []


@pytest.mark.parametrize("ending", WRITERS)
@pytest.mark.parametrize("damage", ["cut off in the middle", "empty", "of another network"])
def test_damaged_file(bench, fault, env, ending, damage):
    fault(
        f".{ending} file {damage}",
        done=f"stimgen weights import net.{ending}",
        expects="exit 4 with the file and the cure, nothing in the cache; the right file is imported",
    )
    path = bench.folder / f"net.{ending}"
    WRITERS[ending](path, convolutions())
    whole = path.read_bytes()
    if damage == "of another network":
        other = fault_networks.OTHER
        WRITERS[ending](path, convolutions(other))
    else:
        path.write_bytes(whole[: len(whole) // 2] if "cut" in damage else b"")
    ran = bench.stimgen("weights", "import", path, *IMPORT, before=TINY, env=env)
    bench.see(ran, 4, f"net.{ending}")
    assert len(ran.errors.strip().splitlines()) >= 2, "no cure"
    assert cached(bench) == []
    path.write_bytes(whole)
    bench.see(bench.stimgen("weights", "import", path, *IMPORT, before=TINY, env=env), 0)


@pytest.mark.parametrize("ending", WRITERS)
def test_flipped_bit(bench, fault, env, ending):
    fault(
        f"one bit of a .{ending} file flipped",
        done=f"stimgen weights import net.{ending}, a bit of a kernel changed",
        expects="exit 4 where the format has checksums (.pth), else another SHA-256, which all records have",
    )
    path = bench.folder / f"net.{ending}"
    WRITERS[ending](path, convolutions())
    right = bench.stimgen("weights", "import", path, *IMPORT, before=TINY, env=env)
    number = convolutions().kernels[1][0, 0, 0, 1]
    flip(path, path.read_bytes().index(number.tobytes()))
    ran = bench.stimgen("weights", "import", path, *IMPORT[:-1], "other", before=TINY, env=env)
    if ending == "pth":
        bench.see(ran, 4, "net.pth is damaged", "Get the file again")
        assert cached(bench) == ["tiny-mine.safetensors"]
        return
    bench.see(ran, 0)
    hashes = [TENSORS.search(one.output)[1] for one in (right, ran)]
    assert hashes[0] != hashes[1]
    fault.saw(f"tensors {hashes[1]}, those of the right file {hashes[0]}")


@pytest.mark.parametrize("damage", ["a bit flipped", "cut off", "emptied", "replaced by another network's"])
def test_damaged_cache(bench, fault, env, damage):
    fault(
        f"weights in the cache {damage}",
        done="weights imported, one stimulus missing, the file in the cache damaged, then the same run",
        expects="exit 4 with the file and the cure; after the cure the same bytes",
    )
    path = bench.folder / "net.pth"
    network_files.write_pth(path, convolutions())
    write_manifest(bench.folder, network={"name": "tiny", "weights": "mine", "normalise": False})
    import_it = ("weights", "import", path, *IMPORT)
    assert bench.stimgen(*import_it, before=TINY, env=env).code == 0
    assert bench.run(before=TINY, env=env).code == 0
    missing = bench.results / "stimuli" / "one-conv1_1-s2.png"
    content = missing.read_bytes()
    missing.unlink()
    file = bench.folder / "cache" / "weights" / "tiny-mine.safetensors"
    whole = file.read_bytes()
    if "bit" in damage:
        flip(file, -9)
    elif "replaced" in damage:
        file.write_bytes(whole.replace(b'"network":"tiny"', b'"network":"vgg7"'))
    else:
        file.write_bytes(whole[:-100] if "cut" in damage else b"")
    bench.see(bench.run(before=TINY, env=env), 4, "tiny-mine.safetensors", "Delete the file")
    assert bench.stimgen("weights", "verify", before=TINY, env=env).code == 4
    assert "lacks" in bench.see_disk()
    file.unlink()
    assert bench.stimgen(*import_it, before=TINY, env=env).code == 0
    bench.see(bench.run(before=TINY, env=env), 0, "1 made, 5 kept")
    assert missing.read_bytes() == content


def test_weights_file_changed_between_runs(bench, fault):
    fault(
        "weights file changed between two runs",
        done="a run with weights of a file, then another file under its name",
        expects="exit 0: all textures and measurements are made anew, and it says so",
    )
    path = bench.folder / "manifests" / "net.pth"
    fault_networks.write_pth(path)
    write_manifest(bench.folder, network={"name": "tiny", "weights": "net.pth", "normalise": False})
    recognise = f"{TINY}; fault_networks.recognise_all()"
    bench.see(bench.run(before=recognise), 0, "6 made")
    fault_networks.write_pth(path, 2.0)
    bench.see(bench.run(before=recognise), 0, "6 made", "altered: replaced")
    bench.see_disk()


FAULTS = {
    "is cut off": ["The transfer was cut off"],
    "is cut off in a chunk": ["IncompleteRead"],
    "is reset": ["reset by peer"],
    "stalls": ["timed out"],
    "is no HTTP": ["nonsense"],
    "is 404": ["404"],
    "is 500": ["500"],
    "is a page of HTML": ["something else"],
    "is another file": ["something else"],
}


@pytest.mark.parametrize("what", FAULTS)
def test_download(bench, fault, env, what):
    fault(
        f"the answer to a download {what}",
        done="a server of the test answers so, then as it should",
        expects="exit 4 with address, cause and all the ways to get the weights; no file; then it works",
    )
    fault_networks.write_pth(bench.folder / "net.pth")
    content = (bench.folder / "net.pth").read_bytes()
    with Server(content) as server:
        prefix = hashlib.sha256(content).hexdigest()[:8]
        before = (
            f"import fault_networks; fault_networks.publish({server.url!r}, {prefix!r}); "
            "from stimgen.networks.weights import find; find.TIMEOUT_S = 0.5"
        )
        server.fault = what
        write_manifest(bench.folder, network={"name": "tiny", "normalise": False})
        ran = bench.run(before=before, env=env)
        bench.see(ran, 4, server.url, "stimgen weights import FILE", *FAULTS[what])
        assert cached(bench) == []
        assert not bench.results.exists()
        server.fault = None
        bench.see(bench.run(before=before, env=env), 0)
        assert cached(bench) == ["tiny-imagenet.safetensors"]
        asked = server.asked
        bench.see(bench.run(before=before, env=env), 0, "Nothing to do")
        assert server.asked == asked


def test_download_to_a_full_disk(bench, disk, fault):
    fault(
        "disk full during a download",
        done="STIMGEN_CACHE on a full disk",
        expects="exit 4 with the folder and STIMGEN_CACHE; no file; then it works",
    )
    import sabotage

    cache = disk("cache", "size=64k")
    (cache / "weights").mkdir()
    sabotage.fill(str(cache))
    fault_networks.write_pth(bench.folder / "net.pth")
    content = (bench.folder / "net.pth").read_bytes()
    env = {"STIMGEN_CACHE": str(cache)}
    with Server(content) as server:
        prefix = hashlib.sha256(content).hexdigest()[:8]
        before = f"import fault_networks; fault_networks.publish({server.url!r}, {prefix!r})"
        ran = bench.stimgen("weights", "fetch", "tiny", before=before, env=env)
        bench.see(ran, 4, "No space left on device", "STIMGEN_CACHE")
        assert cached(bench) == []
        (cache / "ballast").unlink()
        bench.see(bench.stimgen("weights", "fetch", "tiny", before=before, env=env), 0)
