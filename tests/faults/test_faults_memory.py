"""No memory left, on a device and on a CPU; and controls that go wrong."""

from __future__ import annotations

import pytest
from fault_bench import write_image, write_manifest

BOUND = """
import re, resource
def bound(more):
    used = int(re.search(r"VmSize:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
    resource.setrlimit(resource.RLIMIT_AS, (used + more, resource.RLIM_INFINITY))
"""
CPU = f"""{BOUND}
from stimgen.runs import make
original = make.synthesise
def synthesise(*given, **named):
    bound(8 * 2**20)
    try:
        return original(*given, **named)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
make.synthesise = synthesise
"""
START = f"""{BOUND}
from stimgen.runs import preparation
original = preparation.load_sources
def load_sources(manifest):
    bound(2**20)
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


def test_computer_out_of_memory_during_a_synthesis(bench):
    write_manifest(
        bench.folder,
        image={"size_px": 256},
        sources=[{"id": "brick", "image": "skimage:brick"}],
        synthesis={"preset": "multiscale", "smallest_px": 256, "evaluations": [2]},
        seeds=[1],
        trials=None,
    )
    bench.check(bench.run(before=CPU), 3, "There is not enough memory", "FAILED")
    assert "smaller stimuli" in (bench.results / "failures.csv").read_text()
    bench.check_disk()
    bench.check(bench.run(), 0, "1 made, 1 kept")


def test_computer_out_of_memory_at_the_start(bench):
    write_image(bench.folder / "manifests" / "large.png", 1, size_px=3000)
    write_manifest(bench.folder, sources=[{"id": "large", "image": "large.png"}], trials=None)
    ended = bench.run(before=START)
    # Memory runs out before or while the image is read: that depends on what Python has left.
    named = "large.png is too large for the memory" in ended.errors
    bench.check(ended, 2 if named else 4, "memory")
    assert not bench.results.exists()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise ZeroDivisionError('no reason')", ["ZeroDivisionError: no reason"]),
        ("return source * np.nan", ["not finite"]),
        ("return source[:-1]", ["(31, 32)", "(32, 32)"]),
        ("return None", ["NoneType"]),
    ],
    ids=["raises", "NaN", "another shape", "another type"],
)
def test_faulty_control_fails_alone(bench, body, words):
    write_manifest(bench.folder, controls=["original", "faulty"], trials=None)
    bench.check(bench.run(before=CONTROL.format(body=body)), 3, "FAILED", *words)
    bench.check_disk("6 of 6")
    assert not list(bench.results.glob("*/*faulty*"))
