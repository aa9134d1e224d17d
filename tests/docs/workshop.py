"""A folder like the repository's in which the documentation's snippets run, with manifests made small."""

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
import yaml
from doc_pages import ROOT, Block
from PIL import Image
from typer.testing import CliRunner

from experiments.shared.monitor import load_monitor
from stimgen import cli
from stimgen.executors.site import load_site
from stimgen.manifest.load import load_manifest

NUMBER = re.compile(r"\d+\.\d+")
ALLOWED_ERROR = 0.5  # of printed distances, made with another processor or another PyTorch
MINIMAL: dict[str, Any] = {
    "stimgen": 1,
    "name": "minimal",
    "image": {"size_px": 64},
    "sources": ["skimage:brick"],
    "layer_sets": {"conv1_1": ["conv1_1"]},
}


def furnish(folder: Path) -> None:
    """Put into a folder what a user has: the repository's manifests and experiments, and textures."""
    shutil.copytree(ROOT / "manifests", folder / "manifests")
    shutil.copytree(
        ROOT / "experiments", folder / "experiments", ignore=shutil.ignore_patterns("__pycache__")
    )
    package = importlib.util.find_spec("skimage")
    assert package is not None
    assert package.origin is not None
    textures = folder / "manifests" / "textures"
    textures.mkdir()
    with Image.open(Path(package.origin).parent / "data" / "grass.png") as photograph:
        for name in ("bark", "sand"):
            photograph.crop((0, 0, 400, 400)).save(textures / f"{name}.png")


def reduced(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return a manifest with the same conditions and sources, and next to no work."""
    image = {k: v for k, v in manifest["image"].items() if k != "size_deg"} | {"size_px": 32}
    synthesis = manifest.get("synthesis", {"preset": "multiscale"})
    preset = synthesis if isinstance(synthesis, str) else synthesis.get("preset", "multiscale")
    effort = {"iterations": 2} if preset == "gatys2015" else {"evaluations": [2]}
    sources = [
        {k: v for k, v in ({"image": s} if isinstance(s, str) else s).items() if k != "crop"}
        for s in manifest["sources"]
    ]
    seeds = manifest.get("seeds", [1])
    seeds = {**seeds, "count": 1} if isinstance(seeds, dict) else seeds[:1]
    changed = {"image": image, "sources": sources, "seeds": seeds, "synthesis": {"preset": preset, **effort}}
    # What normalisation costs on every start is time for nothing here.
    return manifest | changed | {"network": manifest.get("network", {}) | {"normalise": False}}


@dataclass
class Workshop:
    """Runs the blocks of one page in order.

    Attributes
    ----------
    folder
        The working folder, a copy of the repository's as a user has it.
    full
        Whether manifests are run as they are, and printed numbers compared.
    not_run
        Blocks that were only looked at, because they need what is not here.
    """

    folder: Path
    full: bool = False
    not_run: list[Block] = field(default_factory=list)
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
        elif block.language != "{toctree}":  # what the site makes of it has tests of its own
            # Pictures of folders and diagrams; the import order has a test of its own.
            assert block.language == "text", f"{block.place}: how is a {block.language!r} block tested?"

    def _python(self, block: Block) -> None:
        # Compiled at its place in the page, so that tracebacks and syntax errors point there.
        code = compile("\n" * (block.line - 1) + block.text, str(ROOT / block.page), "exec")
        need = block.marks.get("needs")
        if "file" in block.marks:
            return
        if need and importlib.util.find_spec(need) is None:
            self.not_run.append(block)
        elif need == "psychopy":
            # In a process of its own: it changes the interpreter's settings, and opens a window.
            done = subprocess.run(
                [*on_display(), sys.executable, "-c", block.text],
                cwd=self.folder,
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, f"{block.place}:\n{done.stdout}{done.stderr}"
        else:
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(code, self._names)
            self._printed = out.getvalue()

    def _yaml(self, block: Block) -> None:
        data = yaml.safe_load(block.text)
        if "calibration" in block.marks:
            load_monitor(self.folder / block.marks["file"])
            return
        if "executor" in data:
            (self.folder / "site.yaml").write_text(block.text, encoding="utf-8")
            load_site(self.folder / "site.yaml")
            return
        path = self.folder / "manifests" / f"{'complete' if 'stimgen' in data else 'fragment'}.yaml"
        if "invalid" in block.marks:
            return  # the command that follows shows what is wrong
        complete = block.text if "stimgen" in data else yaml.safe_dump(MINIMAL | data, sort_keys=False)
        path.write_text(complete, encoding="utf-8")
        load_manifest(path)

    def _console(self, block: Block) -> None:
        for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            command, _, expected = part.partition("\n")
            words = shlex.split(command)
            need = block.marks.get("needs")
            if need in ("internet", "participant") or (need and importlib.util.find_spec(need) is None):
                self.not_run += [block] if block not in self.not_run else []
                parse_command(words)
                continue
            self._command(words, expected, block)

    def _setup(self, block: Block) -> None:
        """Run the last of a chain of set-up commands; the others are read, and what they name must exist."""
        *before, last = block.text.strip().split(" && ")
        assert before[0] == "python3 -m venv .venv", block.place
        (install,) = before[1:]
        extras = re.fullmatch(r"\.venv/bin/pip install (?:-e )?'\.\[(\w+)\]'", install)
        assert extras, f"{block.place}: {install}"
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
        assert extras[1] in project["project"]["optional-dependencies"], block.place
        words = shlex.split(last.removeprefix(".venv/bin/"))
        if words[0] == "pytest":
            same = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
            assert last.removeprefix(".venv/bin/") in same, f"{block.place}: .ci/run runs another command"
            assert f"'.[{extras[1]}]'" in same, f"{block.place}: .ci/run installs something else"
        else:
            self._command(words, "", block)

    def _command(self, words: list[str], expected: str, block: Block) -> None:
        program, *patterns = words
        # What a shell does: the files that a pattern matches, or the pattern.
        arguments = [name for word in patterns for name in _matching(word)]
        if program == "python":
            display = on_display() if block.marks.get("needs") == "psychopy" else []
            done = subprocess.run(
                [*display, sys.executable, *arguments], cwd=self.folder, capture_output=True, text=True
            )
            code, output = done.returncode, done.stdout + done.stderr
        else:
            assert program == "stimgen", f"{block.place}: {program} is not a command that is tested"
            code, output = self.stimgen(arguments)
        wanted = int(block.marks.get("exit code", 0))
        assert code == wanted, f"{block.place}: {shlex.join(words)} ended with {code}\n{output}"
        if expected:
            self._compare(expected, output, block)

    def stimgen(self, arguments: list[str]) -> tuple[int, str]:
        """Return exit code and output of a command, with the manifest of `run` made small unless `full`."""
        redirected = ">" in arguments
        if redirected:
            arguments, (_, target) = arguments[:-2], arguments[-2:]
        if arguments[0] == "run" and not self.full:
            arguments = ["run", self._reduce(arguments[1]), *arguments[2:]]
        if arguments[0] == "trials" and not self.full:
            arguments = ["crop_px=16" if word.startswith("crop_px=") else word for word in arguments]
        result = CliRunner().invoke(cli.app, arguments)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        if redirected:
            (self.folder / target).write_text(result.stdout, encoding="utf-8")
        return result.exit_code, result.output

    def _reduce(self, manifest: str) -> str:
        path = self.folder / manifest
        small = path.with_name(f"reduced_{path.name}")
        data = reduced(yaml.safe_load(path.read_text(encoding="utf-8")))
        small.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
        return os.path.relpath(small, self.folder)

    def _compare(self, expected: str, printed: str, block: Block) -> None:
        """Compare with "..." for anything; distances need to be right only where the full manifest is run."""
        assert printed, f"{block.place}: nothing was printed"
        wanted, got = expected, printed
        if "output" in block.marks:
            wanted, got = NUMBER.sub("0", expected), NUMBER.sub("0", printed)
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        assert doctest.OutputChecker().check_output(wanted, got, flags), (
            f"{block.place} says:\n{expected}\nand this was printed:\n{printed}"
        )
        if self.full and "output" in block.marks:
            said, found = ([float(n) for n in NUMBER.findall(text)] for text in (expected, printed))
            assert found == pytest.approx(said, rel=ALLOWED_ERROR, abs=0.005), f"{block.place}:\n{printed}"


def on_display() -> list[str]:
    """Return what a command line begins with to open windows on a virtual display, if there is no other."""
    if "DISPLAY" in os.environ or shutil.which("xvfb-run") is None:
        return []
    return ["xvfb-run", "-a", "-s", "-screen 0 1920x1200x24"]


def parse_command(words: list[str]) -> None:
    """Raise if a command has arguments that its command line does not know."""
    if words[0] == "python":
        # The parsers are in scripts that import what may be missing.
        script = ROOT / words[1]
        known = script.read_text("utf-8") + (script.parents[1] / "shared" / "arguments.py").read_text("utf-8")
        assert all(f'"{word}"' in known for word in words if word.startswith("--")), words
        return
    from typer.main import get_command

    command: Any = get_command(cli.app)
    program, *arguments = words
    assert program == "stimgen"
    while hasattr(command, "commands"):
        name, *arguments = arguments
        command = command.commands[name]
    command.make_context("stimgen", arguments)


def _matching(word: str) -> list[str]:
    if "*" not in word:
        return [word]
    return sorted(str(path) for path in Path().glob(word)) or [word]
