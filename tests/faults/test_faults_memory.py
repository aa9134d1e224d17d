"""No memory left, on a device and on a CPU; and controls that go wrong."""

from __future__ import annotations

import pytest
from fault_bench import STIMULI, write_manifest

pytestmark = pytest.mark.slow

DEVICE = """
import torch
from stimgen.runs import make
def no_memory(*given, **named):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
make.synthesise = no_memory
"""
ADDRESS_SPACE = """
import re, resource
from stimgen.runs import make
original = make.synthesise
def synthesise(*given, **named):
    used = int(re.search(r"VmSize:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
    resource.setrlimit(resource.RLIMIT_AS, (used + 32 * 2**20, resource.RLIM_INFINITY))
    try:
        return original(*given, **named)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
make.synthesise = synthesise
"""
EARLY = """
import re, resource
from stimgen.runs import preparation
original = preparation.load_sources
def load_sources(manifest):
    used = int(re.search(r"VmSize:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**20, resource.RLIM_INFINITY))
    return original(manifest)
preparation.load_sources = load_sources
"""
CONTROL = """
import numpy as np
from stimgen.controls import CONTROLS
from stimgen.controls.registration import Control, options_model
def faulty(source, rng):
    {body}
assert "original" in CONTROLS
CONTROLS._entries["faulty"] = Control("faulty", faulty, False, options_model("faulty", faulty))
"""


def test_no_memory_on_the_device(bench, fault):
    fault(
        "device out of memory with one stimulus",
        done="the synthesis raises PyTorch's OutOfMemoryError",
        expects="exit 3: each texture fails with the cure, the controls are made",
    )
    bench.see(bench.run(before=DEVICE), 3, "not enough memory", "FAILED")
    assert "smaller stimuli" in (bench.results / "failures.csv").read_text()
    assert bench.see_disk() == f"2 of {STIMULI} stimuli, all described"
    bench.see_same()


def test_no_memory_on_the_cpu(bench, fault):
    fault(
        "computer out of memory during a synthesis",
        done="the process may take no more than 32 MB of address space more; stimuli of 512 px",
        expects="exit 3: the texture fails with the cure, the control is made",
    )
    image = {"size_px": 512}
    sources = [{"id": "brick", "image": "skimage:brick"}]
    synthesis = {"preset": "multiscale", "smallest_px": 512, "evaluations": [2]}
    small = {"sources": sources, "seeds": [1], "trials": None, "measure": {"copying": False}}
    write_manifest(bench.folder, image=image, synthesis=synthesis, **small)
    bench.see(bench.run(before=ADDRESS_SPACE), 3, "There is not enough memory", "FAILED")
    assert "smaller stimuli" in (bench.results / "failures.csv").read_text()
    bench.see_disk()
    bench.see(bench.run(), 0, "1 made, 1 kept")


def test_no_memory_at_the_start(bench, fault):
    fault(
        "computer out of memory before the first stimulus",
        done="the process may take 1 MB more when it reads a source of 3000 px",
        expects="exit 2 with the image and the cure, or 4 without it; nothing is made",
    )
    from PIL import Image as Pillow

    Pillow.new("L", (3000, 3000), 100).save(bench.folder / "manifests" / "large.png")
    write_manifest(bench.folder, sources=[{"id": "large", "image": "large.png"}], trials=None)
    ran = bench.run(before=EARLY)
    # Where it runs out, before or while the image is read, depends on what Python has left.
    named = "large.png is too large for the memory" in ran.errors
    bench.see(ran, 2 if named else 4, "memory")
    assert not bench.results.exists()
    bench.see(bench.run(), 0)


@pytest.mark.parametrize(
    ("what", "body", "words"),
    [
        ("raises", "raise ZeroDivisionError('no reason')", ["ZeroDivisionError: no reason"]),
        ("returns another shape", "return source[:-1]", ["(31, 32)", "(32, 32)"]),
        ("returns colour for grey", "return np.stack([source] * 3, axis=2)", ["(32, 32, 3)", "(32, 32)"]),
        ("returns NaN", "return source * np.nan", ["not finite"]),
        ("returns nothing", "return None", ["NoneType"]),
        ("returns whole numbers", "return (source * 255).astype(np.uint8)", ["uint8"]),
        ("writes to the source", "source[:] = 0; return source", ["read-only"]),
    ],
)
def test_faulty_control(bench, fault, what, body, words):
    fault(
        f"control that {what}",
        done=f"def faulty(source, rng): {body}",
        expects="exit 3: its stimuli fail with the cause, all others are made; no image of it",
    )
    write_manifest(bench.folder, controls=["original", "faulty"], trials=None)
    ran = bench.run(before=CONTROL.format(body=body))
    bench.see(ran, 3, "FAILED", *words)
    assert bench.see_disk() == f"6 of {STIMULI} stimuli, all described"
    assert not list(bench.results.glob("*/*faulty*"))
    write_manifest(bench.folder)
    bench.see_same()
