"""`stimgen --version`: each line against something else that knows."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import stimgen
from stimgen.cli import app
from stimgen.networks.weights import fetch_weights
from stimgen.runs.environment import REPORTED, commit_of, report_lines

ROOT = Path(stimgen.__file__).parents[1]


def report():
    result = CliRunner().invoke(app, ["--version"])
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def values(lines, key):
    return [value.strip() for name, _, value in (line.partition("  ") for line in lines) if name == key]


def test_lines_name_the_machine_and_the_versions_of_packages():
    import torch

    lines = report()
    assert values(lines, "folder") == [str(Path(stimgen.__file__).parent)]
    assert values(lines, "python") == [f"{sys.version.split()[0]}, {sys.executable}"]
    assert values(lines, "system")[0].startswith(f"{os.uname().sysname}-{os.uname().release}")
    assert re.fullmatch(r".+ \(\d+ cores?\)", values(lines, "processor")[0])
    assert values(lines, "threads") == [str(torch.get_num_threads())]
    assert values(lines, "device")
    assert values(lines, "cache") == [os.environ["STIMGEN_CACHE"]]
    installed = {
        (one.metadata["Name"] or "").lower().replace("_", "-"): one.version
        for one in importlib.metadata.distributions()
    }
    for package in REPORTED:
        assert values(lines, package) == [installed.get(package, "not installed")]


def test_weights_have_the_hash_of_their_tensors(tmp_path):
    package = values(report_lines(), "weights")
    fetched = fetch_weights("vgg16", "imagenet")
    assert package == [f"vgg16 imagenet, package, tensors sha256:{fetched.tensors_sha256}"]
    assert values(report_lines(), "weights") == [
        f"vgg16 imagenet, cache, tensors sha256:{fetched.tensors_sha256}"
    ]
    (tmp_path / "cache" / "weights" / "vgg19-imagenet.safetensors").write_bytes(b"x")
    damaged = values(report_lines(), "weights")[1]
    assert damaged.startswith("vgg19 imagenet, damaged, The weights file ")


def test_broken_pytorch_is_reported_in_a_line(tmp_path):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise OSError('libcudart.so.12: no such file')\n")
    path = {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    command = [sys.executable, "-m", "stimgen", "--version"]
    done = subprocess.run(command, env=os.environ | path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert values(lines, "PyTorch") == ["does not work: OSError: libcudart.so.12: no such file"]
    assert values(lines, "cache")
    assert values(lines, "weights")


def test_first_line_can_be_read_alone():
    command = f"{sys.executable} -m stimgen --version | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (f"stimgen {stimgen.__version__}\n", "")


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_commit_of_a_checkout(tmp_path):
    def git(*words):
        command = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    (tmp_path / "file").write_text("1")
    git("init", "--quiet")
    git("add", "file")
    git("commit", "--quiet", "--message", "first")
    git("tag", "-a", "v1", "-m", "v1")
    commit = git("rev-parse", "HEAD")
    assert commit_of(tmp_path) == commit
    (tmp_path / "file").write_text("2")
    assert commit_of(tmp_path) == f"{commit}, with changes"
    # A package that is installed below somebody's repository is not at its commit.
    (tmp_path / "site-packages").mkdir()
    assert commit_of(tmp_path / "site-packages") is None


def test_unreadable_checkout_says_why(tmp_path, monkeypatch):
    (tmp_path / ".git").write_text("gitdir: /nowhere")
    assert commit_of(tmp_path).startswith("unknown: ")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit_of(tmp_path) == "unknown: [Errno 2] No such file or directory: 'git'"
