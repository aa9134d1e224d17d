"""The experiments can be copied to a computer without stimgen, and stimgen is used without PsychoPy."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def imported(folder):
    """Return the packages that the files below a folder import."""
    found = set()
    for file in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    return found


def test_experiments_import_nothing_of_stimgen():
    found = imported("experiments")
    assert {"psychopy", "experiments"} <= found
    assert not found & {"stimgen", "torch", "benchmarks"}


@pytest.mark.parametrize("script", ["oddity/oddity.py", "oddity/analysis.py"])
def test_script_in_a_renamed_folder_names_the_missing_package(tmp_path, script):
    shutil.copytree(ROOT / "experiments", tmp_path / "lab scripts")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        # -S hides all installed packages.
        [sys.executable, "-S", tmp_path / "lab scripts" / script, "--help"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    missing = "The analysis needs " if script == "oddity/analysis.py" else "PsychoPy is not installed"
    assert done.returncode == 2
    assert done.stderr.startswith(missing)
    assert "for this Python" in done.stderr
    assert "pip install" in done.stderr
