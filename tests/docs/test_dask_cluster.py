"""The Dask cluster of the documentation, started with the commands of the page."""

from __future__ import annotations

import os
import shlex

import pytest
import yaml
from commands import Commands, until
from doc_pages import ROOT, block_marked
from page_runner import reduced

from stimgen.verify.run import verify_run

pytestmark = pytest.mark.slow


@pytest.fixture
def bench(tmp_path):
    """A folder with the quickstart manifest, made small, and the page's site file."""
    manifest = yaml.safe_load((ROOT / "manifests" / "quickstart.yaml").read_text("utf-8"))
    found = Commands(tmp_path, reduced(manifest), os.environ | {"CUDA_VISIBLE_DEVICES": ""})
    (tmp_path / "site.yaml").write_text(block_marked("docs/scale.md", "dask", "site file"))
    yield found
    found.stop()


def test_cluster_started_as_the_page_says_makes_a_run(bench):
    assert bench.run("cluster", "certs", "tls").code == 0
    scheduler, worker = (
        shlex.split(line)
        for line in block_marked("docs/scale.md", "dask", "scheduler and worker").splitlines()
    )
    bench.start(*scheduler[1:], module=scheduler[0])
    until((bench.folder / "scheduler.json").exists, 60)
    bench.start(*worker[1:], module=worker[0])
    outcome = bench.run("run", "manifests/quickstart.yaml", "--site", "site.yaml", "--no-report")
    assert outcome.code == 0, outcome.output
    assert verify_run(bench.folder / "results" / "quickstart").findings == ()
