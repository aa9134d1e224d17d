"""The Snakefile of the documentation, run by Snakemake."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from doc_pages import ROOT, block_marked
from page_runner import write_reduced
from same_runs import differences

from stimgen.verify.run import verify_run


@pytest.fixture
def lab(tmp_path):
    """A folder with the Snakefile, and the manifest that it names made small."""
    (tmp_path / "manifests").mkdir()
    write_reduced(ROOT / "manifests" / "quickstart.yaml", tmp_path / "manifests" / "quickstart.yaml")
    (tmp_path / "Snakefile").write_text(block_marked("docs/scale.md", "snakefile"))
    # The commands are found as in an active environment.
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "stimgen"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m stimgen "$@"\n')
    program.chmod(0o755)
    return tmp_path


def run(lab: Path, *command: str) -> str:
    environment = os.environ | {"PATH": f"{lab / 'bin'}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=lab, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_snakefile_makes_what_one_command_makes(lab):
    snakemake = (sys.executable, "-m", "snakemake", "--cores", "2")
    run(lab, *snakemake)
    made = lab / "results" / "quickstart"
    assert (made / "report.html").is_file()
    assert verify_run(made).findings == ()
    run(lab, "stimgen", "run", "manifests/quickstart.yaml", "--out", "results/whole", "--no-report", "-q")
    assert differences(made, lab / "results" / "whole", without={"shards"}) == []
    assert "Nothing to be done" in run(lab, *snakemake)
    # Another manifest with the same recipes: all shards run, and keep the files.
    before = {path: path.stat().st_mtime_ns for path in made.glob("stimuli/*.png")}
    with (lab / "manifests" / "quickstart.yaml").open("a") as file:
        file.write("# the same stimuli\n")
    assert "rule join" in run(lab, *snakemake)
    assert {path: path.stat().st_mtime_ns for path in made.glob("stimuli/*.png")} == before
