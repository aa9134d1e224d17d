"""The Dask cluster of the documentation, started with the commands of the page."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from doc_pages import ROOT, blocks
from workshop import reduced

from stimgen.verify.run import verify_run

pytestmark = pytest.mark.slow
PAGE = {
    block.marks["dask"]: block.text for block in blocks(ROOT / "docs" / "scale.md") if "dask" in block.marks
}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts a program in a folder with the manifest that the README runs, made small."""
    data = reduced(yaml.safe_load((ROOT / "manifests" / "quickstart.yaml").read_text()))
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "quickstart.yaml").write_text(yaml.safe_dump(data, sort_keys=False))
    (tmp_path / "site.yaml").write_text(PAGE["site file"])
    started: list[subprocess.Popen[bytes]] = []

    def begin(*command: str) -> subprocess.Popen[bytes]:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        with (tmp_path / "output").open("ab") as output:
            started.append(
                subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=output, stderr=output)
            )
        return started[-1]

    yield begin
    for process in started:
        process.terminate()
    for process in started:
        process.wait(30)


def test_a_cluster_started_as_the_page_says_makes_a_run(tmp_path, start):
    stimgen = (sys.executable, "-m", "stimgen")
    assert start(*stimgen, "cluster", "certs", "tls").wait(60) == 0
    assert (tmp_path / "tls" / ".gitignore").read_text() == "*\n"
    scheduler, worker = PAGE["scheduler and worker"].splitlines()
    for line, file in ((scheduler, tmp_path / "scheduler.json"), (worker, None)):
        program, *arguments = shlex.split(line)
        assert program == "dask"
        start(sys.executable, "-m", "dask", *arguments)
        until = time.monotonic() + 60
        while file is not None and not file.exists():
            assert time.monotonic() < until, (tmp_path / "output").read_text()
            time.sleep(0.1)
    run = start(*stimgen, "run", "manifests/quickstart.yaml", "--site", "site.yaml", "--no-report")
    assert run.wait(240) == 0, (tmp_path / "output").read_text()
    assert verify_run(tmp_path / "results" / "quickstart").findings == ()
