"""Runs the snippets of a page in a folder like the repository's, with manifests made small."""

from __future__ import annotations

import contextlib
import doctest
import importlib.util
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from doc_pages import ROOT, Block
from PIL import Image, ImageDraw
from typer.testing import CliRunner

from experiments.shared.monitor import load_monitor
from stimgen import cli
from stimgen.executors.site import load_site
from stimgen.manifest.load import load_manifest

NUMBER = re.compile(r"\d+\.\d+")
ALLOWED_ERROR = 0.5  # of printed distances, made with another processor or another PyTorch
NEVER_HERE = ("internet", "participant")
MINIMAL: dict[str, Any] = {
    "stimgen": 1,
    "name": "minimal",
    "image": {"size_px": 64},
    "sources": ["skimage:brick"],
    "layer_sets": {"conv1_1": ["conv1_1"]},
}


def furnish(folder: Path) -> None:
    """Put into a folder what a user has: manifests, experiments, textures, and an object with a mask."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "manifests", folder / "manifests")
    shutil.copytree(ROOT / "experiments", folder / "experiments", ignore=ignored)
    textures = folder / "manifests" / "textures"
    textures.mkdir()
    package = Path(str(importlib.util.find_spec("skimage").origin)).parent
    with Image.open(package / "data" / "grass.png") as photograph:
        for name in ("bark", "sand"):
            photograph.crop((0, 0, 400, 400)).save(textures / f"{name}.png")
        mask = Image.new("L", (400, 400))
        ImageDraw.Draw(mask).ellipse((20, 20, 380, 380), fill=255)
        leaf = photograph.crop((0, 0, 400, 400)).convert("RGB")
        leaf.putalpha(mask)
    for name, image in (("objects/leaf", leaf), ("masks/disc", mask)):
        path = folder / "manifests" / f"{name}.png"
        path.parent.mkdir()
        image.save(path)


def reduced(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return a manifest with the same conditions and sources, and next to no work."""
    image = {k: v for k, v in manifest["image"].items() if k != "size_deg"} | {"size_px": 32}
    synthesis = manifest.get("synthesis", "multiscale")
    preset = synthesis if isinstance(synthesis, str) else synthesis.get("preset", "multiscale")
    effort = {"iterations": 2} if preset == "gatys2015" else {"evaluations": [2]}
    sources = [
        {k: v for k, v in ({"image": source} if isinstance(source, str) else source).items() if k != "crop"}
        for source in manifest["sources"]
    ]
    seeds = manifest.get("seeds", [1])
    seeds = {**seeds, "count": 1} if isinstance(seeds, dict) else seeds[:1]
    network = manifest.get("network", {}) | {"normalise": False}
    synthesis = {"preset": preset, **effort}
    return manifest | {
        "image": image,
        "sources": sources,
        "seeds": seeds,
        "synthesis": synthesis,
        "network": network,
    }


def write_reduced(manifest: Path, target: Path) -> None:
    """Write a manifest made small."""
    data = reduced(yaml.safe_load(manifest.read_text(encoding="utf-8")))
    target.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")


@dataclass
class PageRunner:
    """Runs the blocks of one page in order.

    Attributes
    ----------
    folder
        The working folder, a copy of the repository's as a user has it.
    full
        Whether manifests are run as they are, and printed numbers compared.
    """

    folder: Path
    full: bool = False
    _names: dict[str, Any] = field(default_factory=dict)
    _printed: str = ""

    def run(self, block: Block) -> None:
        """Run a block as its language and its marks say; raise if it does not do what the page says."""
        if "file" in block.marks:
            path = self.folder / block.marks["file"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        kinds = {"python": self._python, "console": self._console, "bash": self._setup, "yaml": self._yaml}
        if block.language in kinds:
            kinds[block.language](block)
        elif "output" in block.marks:
            self._compare(block.text, self._printed, block)
        else:
            assert block.language in ("text", "{toctree}"), f"{block.place}: no test for {block.language}"

    def _python(self, block: Block) -> None:
        # Compiled at its place in the page, so that tracebacks point there.
        code = compile("\n" * (block.line - 1) + block.text, str(ROOT / block.page), "exec")
        if "file" in block.marks or is_missing(block):
            return
        if block.marks.get("needs") == "psychopy":
            # In a process of its own: it changes the interpreter's settings, and opens a window.
            self._process(["-c", block.text], block)
        else:
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(code, self._names)
            self._printed = out.getvalue()

    def _yaml(self, block: Block) -> None:
        data = yaml.safe_load(block.text)
        if "calibration" in block.marks:
            load_monitor(self.folder / block.marks["file"])
        elif "executor" in data:
            (self.folder / "site.yaml").write_text(block.text, encoding="utf-8")
            load_site(self.folder / "site.yaml")
        elif "invalid" not in block.marks:
            complete = block.text if "stimgen" in data else yaml.safe_dump(MINIMAL | data, sort_keys=False)
            path = self.folder / "manifests" / f"{'complete' if 'stimgen' in data else 'fragment'}.yaml"
            path.write_text(complete, encoding="utf-8")
            load_manifest(path)

    def _console(self, block: Block) -> None:
        for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            command, _, expected = part.partition("\n")
            words = shlex.split(command)
            if is_missing(block):
                check_arguments(words)
            else:
                self._command(words, expected, block)

    def _setup(self, block: Block) -> None:
        """Run the last of a chain of set-up commands; what the others name must exist."""
        environment, install, last = block.text.strip().split(" && ")
        assert environment == "python3 -m venv .venv", block.place
        extra = re.fullmatch(r"\.venv/bin/pip install (?:-e )?'\.\[(\w+)\]'", install)[1]
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        assert extra in project["optional-dependencies"], block.place
        last = last.removeprefix(".venv/bin/")
        if last.startswith("pytest"):
            assert last in (ROOT / ".ci" / "run").read_text(encoding="utf-8"), block.place
        else:
            self._command(shlex.split(last), "", block)

    def _command(self, words: list[str], expected: str, block: Block) -> None:
        # As a shell does: the files that match a pattern, or the pattern.
        found = [sorted(map(str, Path().glob(word))) if "*" in word else [] for word in words]
        program, *arguments = [
            path for word, paths in zip(words, found, strict=True) for path in paths or [word]
        ]
        if program == "python":
            code, output = 0, self._process(arguments, block)
        else:
            assert program == "stimgen", f"{block.place}: {program} is not tested"
            code, output = self.stimgen(arguments)
        assert code == int(block.marks.get("exit code", 0)), f"{block.place}: {shlex.join(words)}\n{output}"
        if expected:
            self._compare(expected, output, block)

    def _process(self, arguments: list[str], block: Block) -> str:
        virtual = block.marks.get("needs") == "psychopy" and "DISPLAY" not in os.environ
        display = ["xvfb-run", "-a", "-s", "-screen 0 1920x1200x24"] if virtual else []
        command = [*display, sys.executable, *arguments]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True)
        assert done.returncode == 0, f"{block.place}:\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def stimgen(self, arguments: list[str]) -> tuple[int, str]:
        """Return exit code and output of a command, with the manifest of `run` made small unless `full`."""
        target = None
        if ">" in arguments:
            *arguments, _, target = arguments
        if arguments[0] == "run" and not self.full:
            path = self.folder / arguments[1]
            small = path.with_name(f"reduced_{path.name}")
            write_reduced(path, small)
            arguments = ["run", os.path.relpath(small, self.folder), *arguments[2:]]
        if arguments[0] == "trials" and not self.full:
            arguments = ["crop_px=16" if word.startswith("crop_px=") else word for word in arguments]
        result = CliRunner().invoke(cli.app, arguments)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        if target:
            (self.folder / target).write_text(result.stdout, encoding="utf-8")
        return result.exit_code, result.output

    def _compare(self, expected: str, printed: str, block: Block) -> None:
        """Compare with "..." for anything; distances need to be right only where the full manifest is run."""
        assert printed, f"{block.place}: nothing was printed"
        wanted, got = expected, printed
        if "output" in block.marks:
            wanted, got = NUMBER.sub("0", expected), NUMBER.sub("0", printed)
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        same = doctest.OutputChecker().check_output(wanted, got, flags)
        assert same, f"{block.place} says:\n{expected}\nand this was printed:\n{printed}"
        if self.full and "output" in block.marks:
            numbers, found = ([float(n) for n in NUMBER.findall(text)] for text in (expected, printed))
            assert found == pytest.approx(numbers, rel=ALLOWED_ERROR, abs=0.005), f"{block.place}:\n{printed}"


def is_missing(block: Block) -> bool:
    """Whether a block needs what is not here."""
    need = block.marks.get("needs")
    assert need in (None, "psychopy", *NEVER_HERE), f"{block.place}: nothing may need {need}"
    return need in NEVER_HERE or (need == "psychopy" and importlib.util.find_spec(need) is None)


def check_arguments(words: list[str]) -> None:
    """Raise if a command that cannot be run here has arguments that it does not know."""
    program, *arguments = words
    if program == "python":
        assert (ROOT / arguments[0]).is_file()
        return
    command: Any = typer.main.get_command(cli.app)
    while hasattr(command, "commands"):
        name, *arguments = arguments
        command = command.commands[name]
    command.make_context("stimgen", arguments)
