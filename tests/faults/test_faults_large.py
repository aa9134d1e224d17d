"""A manifest of 5,000 stimuli: memory, opened files and recipes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tracemalloc

from fault_bench import write_manifest

from benchmarks import large
from stimgen.manifest.load import load_manifest
from stimgen.manifest.plan import plan
from stimgen.runs.batches import plan_batches

COUNT = """
import json, os, sys
opened = {}
def hook(event, given):
    if event == "open" and str(given[0]).endswith(".png") and "manifests" in str(given[0]):
        opened[str(given[0])] = opened.get(str(given[0]), 0) + 1
sys.addaudithook(hook)
end = os._exit
def leave(code):
    print(json.dumps(opened), flush=True)
    end(code)
os._exit = leave
"""
CHECK = """
import sys, stimgen.cli
opened = []
def hook(event, given):
    if event == "open" and str(given[0]).endswith(".png"):
        opened.append(str(given[0]))
sys.addaudithook(hook)
sys.argv = ['stimgen', 'check', {path!r}]
try:
    stimgen.cli.main()
except SystemExit as end:
    print(end.code, 'torch' in sys.modules, len(opened), len(set(opened)))
"""


def peak_bytes(path):
    """Return the most memory that a plan takes, from the manifest's text to its batches."""
    tracemalloc.start()
    try:
        manifest = load_manifest(path)
        plan_batches(manifest, plan(manifest), 1)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_of_a_plan(tmp_path):
    peaks = []
    for stimuli in (2500, 5000):
        folder = tmp_path / str(stimuli)
        folder.mkdir()
        path = large.write_manifest(folder, stimuli, stimuli // large.CONDITIONS // 10)
        assert len(plan(load_manifest(path))) == stimuli
        peak_bytes(path)  # once for what is imported and kept
        peaks.append(peak_bytes(path) / stimuli)
    assert peaks[1] < 4000
    assert peaks[1] < 2 * peaks[0]


def test_check_opens_each_source_once(tmp_path):
    path = large.write_manifest(tmp_path, 5000, 100)
    command = [sys.executable, "-c", CHECK.format(path=str(path))]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    report, *_, last = ended.stdout.splitlines()
    assert report.endswith("5000 stimuli"), ended.stderr
    assert last == "0 False 100 100"


def test_each_source_is_read_once(bench):
    write_manifest(bench.folder, seeds={"first": 1, "count": 20})
    ended = bench.run(before=COUNT)
    bench.check(ended, 0, "42 made")
    opened = json.loads(re.search(r"\{.*\}", ended.output)[0])
    assert list(opened.values()) == [1, 1]
