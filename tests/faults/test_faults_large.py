"""A manifest of 5,000 stimuli: what is counted. Times are in benchmarks/results/planning.txt."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from fault_bench import write_manifest

from benchmarks import planning
from stimgen.manifest.load import load_manifest
from stimgen.manifest.plan import plan
from stimgen.runs import recipe as module
from stimgen.runs.preparation import Networks, load_sources
from stimgen.runs.recipe import recipe, recipe_sha256

pytestmark = pytest.mark.slow

COUNT = """
import json, sys
opened = {}
def hook(event, given):
    if event == "open" and str(given[0]).endswith(".png") and "manifests" in str(given[0]):
        opened[str(given[0])] = opened.get(str(given[0]), 0) + 1
sys.addaudithook(hook)
"""


def test_memory_of_a_plan(fault, tmp_path):
    fault(
        "manifest of 5,000 stimuli: memory",
        done="load, plan and batches of 2,500 and of 5,000 stimuli, allocations traced",
        expects="fewer than 4 kB per stimulus, and not in proportion to their number",
    )
    peaks = []
    for stimuli in (2500, 5000):
        folder = tmp_path / str(stimuli)
        folder.mkdir()
        path = planning.write_manifest(folder, stimuli, stimuli // planning.CONDITIONS // 10)
        assert len(plan(load_manifest(path))) == stimuli
        planning.peak_bytes(path)  # once for what is imported and kept
        peaks.append(planning.peak_bytes(path) / stimuli)
    fault.saw(f"{peaks[0] / 1000:.1f} and {peaks[1] / 1000:.1f} kB per stimulus")
    assert peaks[1] < 4000
    assert peaks[1] < 2 * peaks[0]


def test_check_of_a_large_manifest(fault, tmp_path):
    fault(
        "manifest of 5,000 stimuli: stimgen check",
        done="stimgen check, with a note of what is imported and of every image that is opened",
        expects="exit 0; PyTorch is not imported, no image is opened",
    )
    path = planning.write_manifest(tmp_path, 5000, 100)
    code = (
        "import sys, stimgen.cli\n"
        "opened = []\n"
        "sys.addaudithook(lambda event, given: event == 'open' and str(given[0]).endswith('.png') "
        "and opened.append(given[0]))\n"
        f"sys.argv = ['stimgen', 'check', {str(path)!r}]\n"
        "try:\n    stimgen.cli.main()\n"
        "except SystemExit as end:\n    code = end.code\n"
        "print(f'exit {code}, torch imported: {\"torch\" in sys.modules}, images opened: {len(opened)}')"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    *report, seen = ended.stdout.splitlines()
    fault.saw(f"{report[0].rpartition(': ')[2]}; {seen}")
    assert report[0].endswith("5000 stimuli"), ended.stderr
    assert seen == "exit 0, torch imported: False, images opened: 0"


def test_recipes_of_a_large_set(fault, tmp_path):
    fault(
        "manifest of 5,000 stimuli, each matched to all sources",
        done="recipes of all stimuli, hashed",
        expects="the list of sources is made and written as text once, not once per stimulus",
    )
    path = planning.write_manifest(tmp_path, 5000, 250, matching={"histogram": "set"})
    manifest = load_manifest(path)
    networks, sources = Networks(manifest, "cpu"), load_sources(manifest)
    module._set_sha256.cache_clear()
    made = [recipe(manifest, one, sources, networks.weights, ("conv1_1",)) for one in plan(manifest)]
    hashes = {recipe_sha256(one) for one in made}
    fault.saw(f"{len(hashes)} recipes, {module._set_sha256.cache_info().misses} list of sources")
    assert len(hashes) == 5000
    assert len({id(one["source_set"]) for one in made}) == 1
    # The text in parts is the text of the whole.
    whole = json.dumps(made[0], sort_keys=True, separators=(",", ":"), allow_nan=False)
    assert module.hashlib.sha256(whole.encode()).hexdigest() == recipe_sha256(made[0])


def test_sources_are_read_once(bench, fault):
    fault(
        "many stimuli of few sources",
        done="a run of 42 stimuli of two sources, with a note of every source that is opened",
        expects="each source file opened once",
    )
    write_manifest(bench.folder, seeds={"first": 1, "count": 20})
    before = COUNT
    before += "import os; end = os._exit\n"
    before += "def leave(code):\n    print(json.dumps(opened), flush=True); end(code)\n"
    before += "os._exit = leave\n"
    ran = bench.run(before=before)
    opened = json.loads(re.search(r"\{.*\}", ran.output)[0])
    bench.see(ran, 0, "42 made")
    fault.saw(f"times that each was opened: {sorted(opened.values())}")
    assert sorted(opened.values()) == [1, 1]
