"""What Tab offers, asked in the way in which the shells ask."""

from __future__ import annotations

import csv
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from stimgen.cli import app, completion
from stimgen.networks.architectures import NETWORKS
from stimgen.trials import DESIGNS

SLOW_MODULES = ("torch", "torchvision", "pandas", "skimage", "scipy", "sklearn", "matplotlib", "plotly")
MAIN = (
    "import sys\n"
    "from stimgen.cli import main\n"
    "try:\n    main()\n"
    f"finally:\n    print(*[m for m in {SLOW_MODULES} if m in sys.modules], file=sys.stderr)\n"
)


def ask(shell, typed, **variables):
    """Return what the program prints for a shell; it must have imported nothing slow."""
    environment = os.environ | {"_STIMGEN_COMPLETE": f"complete_{shell}"} | variables
    done = subprocess.run(
        [sys.executable, "-c", MAIN], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "", f"{typed}: {done.stderr}"
    return done.stdout


def as_bash(typed):
    """Return what bash says of a command line whose last word, which may be empty, is to be completed."""
    words = f"stimgen {typed}".split(" ")
    return {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)}


def bash(typed):
    """Return what bash is offered, by this process."""
    variables = {"_STIMGEN_COMPLETE": "complete_bash", **as_bash(typed)}
    result = CliRunner().invoke(app, [], prog_name="stimgen", env=variables)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout.split()


@pytest.fixture
def project(workplace):
    """A project with two manifests and a run of two conditions."""
    (workplace / "manifests").mkdir()
    for name in ("exp1.yaml", "exp2.yml", "notes.txt", "a b.yaml", "$(touch x).yaml"):
        (workplace / "manifests" / name).write_text("")
    run = workplace / "results" / "exp1"
    run.mkdir(parents=True)
    (run / "run.json").write_text("{}")
    (run / "manifest.yaml").write_text("")
    with (run / "stimuli.csv").open("w", newline="") as file:
        rows = [("stimulus_id", "source", "condition", "gram_relative_pool4")]
        rows += [("a", "bark", "pool4", "1"), ("b", "bark", "original", "0"), ("c", "`x`", "pool4", "0")]
        csv.writer(file).writerows(rows)
    (workplace / "results" / "notes").mkdir()
    return workplace


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("ne", ["new"]),
        ("weights i", ["import"]),
        ("run ", ["manifests/exp1.yaml", "manifests/exp2.yml"]),
        ("check manifests/exp2", ["manifests/exp2.yml"]),
        ("check ./man", ["./manifests/exp1.yaml", "./manifests/exp2.yml"]),
        ("verify ", ["results/exp1"]),
        ("tables res", ["results/exp1"]),
        ("trials r", ["results/exp1"]),
        ("report results/", ["results/exp1"]),
        ("figure results/exp1 re", ["results/exp1"]),
        ("figure nowhere", []),
        ("figure results/exp1 --rows s", ["source", "seed"]),
        ("figure results/exp1 --annotate gram", ["gram_relative_pool4"]),
        ("figure results/exp1 --label ", ["pool4", "original", "bark"]),
        ("run a.yaml --network ", list(NETWORKS)),
        ("run a.yaml --batch", ["--batch-size"]),
        ("new exp1 --network vgg1", ["vgg16", "vgg19"]),
        ("run a.yaml --device cp", ["cpu"]),
        ("trials results/exp1 --design ", list(DESIGNS)),
        ("stats a.png --layers conv1_1,pool4,pool", [f"conv1_1,pool4,pool{n}" for n in (1, 2, 3, 5)]),
        ("stats a.png --network alexnet --layers c", [f"conv{n}" for n in range(1, 6)]),
        ("stats a.png --pooling m", ["max"]),
        ("decode images --weights im", ["imagenet"]),
        ("weights fetch vgg16 ", ["imagenet", "torchvision"]),
        ("weights import a.pth --input caffe", ["caffe-rgb", "caffe-bgr"]),
    ],
)
def test_bash_is_offered(typed, offered, project):
    assert bash(typed) == offered


def test_zsh_and_fish_are_offered_the_same(project):
    # In a process of its own, which must import nothing slow.
    assert ask("bash", "figure", **as_bash("figure results/exp1 --annotate gram")) == "gram_relative_pool4\n"
    zsh = ask("zsh", "zsh", _TYPER_COMPLETE_ARGS="stimgen run man")
    assert '"manifests/exp1.yaml"' in zsh
    assert '"manifests/exp2.yml"' in zsh
    fish = {"_TYPER_COMPLETE_ARGS": "stimgen verify res", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    assert ask("fish", "fish", **fish) == "results/exp1\n"


def test_a_table_that_is_a_pipe_is_not_waited_for(project):
    table = project / "results" / "exp1" / "stimuli.csv"
    table.unlink()
    os.mkfifo(table)
    assert bash("figure results/exp1 --annotate g") == []


def test_large_trees_are_not_searched_to_their_end(workplace, monkeypatch):
    deep = workplace / "a" / "b" / "c" / "d"
    deep.mkdir(parents=True)
    (deep / "far.yaml").write_text("")
    (workplace / "a" / "b" / "near.yaml").write_text("")
    assert completion.manifests("") == ["a/b/near.yaml"]
    assert completion.manifests("a/b/c/") == ["a/b/c/d/far.yaml"]
    (workplace / "loop").symlink_to(workplace)
    assert completion.manifests("") == ["a/b/near.yaml"]
    monkeypatch.setattr(completion, "MAX_ENTRIES", 1)
    assert completion.manifests("") == []
