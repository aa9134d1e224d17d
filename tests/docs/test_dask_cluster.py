"""The Dask cluster of the documentation, started with the commands of the page."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time

import pytest
from doc_pages import ROOT, block_marked
from page_runner import write_reduced

from stimgen.verify.run import verify_run

pytestmark = pytest.mark.slow


@pytest.fixture
def start(tmp_path):
    """Starts a module in a folder with the quickstart manifest, made small, and the page's site file."""
    (tmp_path / "manifests").mkdir()
    write_reduced(ROOT / "manifests" / "quickstart.yaml", tmp_path / "manifests" / "quickstart.yaml")
    (tmp_path / "site.yaml").write_text(block_marked("docs/scale.md", "dask", "site file"))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    started = []

    def begin(*command):
        with (tmp_path / "output").open("ab") as output:
            started.append(
                subprocess.Popen(
                    [sys.executable, "-m", *command],
                    cwd=tmp_path,
                    env=environment,
                    stdout=output,
                    stderr=output,
                )
            )
        return started[-1]

    yield begin
    for process in started:
        process.terminate()
    for process in started:
        process.wait(30)


def test_cluster_started_as_the_page_says_makes_a_run(tmp_path, start):
    assert start("stimgen", "cluster", "certs", "tls").wait(60) == 0
    scheduler, worker = block_marked("docs/scale.md", "dask", "scheduler and worker").splitlines()
    start(*shlex.split(scheduler))
    until = time.monotonic() + 60
    while not (tmp_path / "scheduler.json").exists():
        assert time.monotonic() < until, (tmp_path / "output").read_text()
        time.sleep(0.1)
    start(*shlex.split(worker))
    run = start("stimgen", "run", "manifests/quickstart.yaml", "--site", "site.yaml", "--no-report")
    assert run.wait(240) == 0, (tmp_path / "output").read_text()
    assert verify_run(tmp_path / "results" / "quickstart").findings == ()
