"""Streams that are closed or full, encodings that lack characters, and narrow terminals: real processes."""

from __future__ import annotations

import subprocess
import sys

import pytest
from fault_bench import Ran, bytes_of, write_image, write_manifest

pytestmark = pytest.mark.slow

CHECK = "check manifests/faults.yaml --all"
RUN = "run manifests/faults.yaml"


@pytest.fixture
def shell(bench):
    """Return a function that gives a command line to a shell; `stimgen` is a function there."""

    def run(command, **environment):
        define = f'set -o pipefail; stimgen() {{ "{sys.executable}" -m stimgen "$@"; }}; '
        ended = subprocess.run(
            ["bash", "-c", define + command],
            cwd=bench.folder,
            env={**bench.launcher.environment, **environment},
            capture_output=True,
            check=False,
        )
        ran = Ran(
            ended.returncode, ended.stdout.decode("utf-8", "replace"), ended.stderr.decode("utf-8", "replace")
        )
        for word in ("Traceback", "Exception ignored", "This is a bug"):
            assert word not in ran.output + ran.errors, ran.errors
        return ran

    return run


def test_reader_gone(bench, shell, fault):
    fault(
        "reader of the output gone",
        done="stimgen check … | head -n 1",
        expects="the first line, and no message about the pipe",
    )
    ran = shell(f"stimgen {CHECK} | (head -n 1; sleep 1)")
    assert ran.output.count("\n") == 1
    assert ran.errors == ""
    assert ran.code in (0, 1)  # with a pipe that takes it all before head ends, nothing goes wrong
    fault.saw(f"exit {ran.code}: {ran.output}")


@pytest.mark.parametrize("command", [CHECK, "schema", "weights list", "--version"])
def test_output_full(bench, shell, fault, command):
    fault(
        f"output of {command.split()[0]} to a full disk",
        done=f"stimgen {command.split(' m')[0]} > /dev/full",
        expects="exit 4 with the cause",
    )
    bench.see(shell(f"stimgen {command} > /dev/full"), 4, "No space left on device")


@pytest.mark.parametrize("how", ["2> /dev/full", "2>&-", ">&- 2>&- <&-", "2> >(head -n 1 > /dev/null)"])
def test_nowhere_to_say(bench, shell, fault, how):
    fault(
        f"nobody takes the progress lines: {how}",
        done=f"stimgen run … {how}",
        expects="exit 0 and the same bytes: the run does not end because it cannot be told",
    )
    ran = shell(f"stimgen {RUN} {how}")
    bench.see(ran, 0)
    bench.see_disk()
    assert ran.output == ""
    assert bytes_of(bench.results) == bench.reference


def test_error_with_no_stream(bench, shell, fault):
    fault(
        "an error while the standard error is closed",
        done="stimgen run of a missing manifest, 2>&-",
        expects="exit 2, and nothing in the standard output",
    )
    ran = shell("stimgen run missing.yaml 2>&-")
    bench.see(ran, 2)
    assert ran.output == ""


ENCODINGS = {
    "LC_ALL=C": {"LC_ALL": "C"},
    "PYTHONIOENCODING=ascii": {"PYTHONIOENCODING": "ascii"},
    "PYTHONIOENCODING=latin-1": {"PYTHONIOENCODING": "latin-1"},
    "LC_ALL=C, no UTF-8 at all": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}


@pytest.mark.parametrize("name", ENCODINGS)
def test_locale(bench, shell, fault, name):
    fault(
        f"characters that the locale lacks ({name})",
        done="a description in three scripts: check, run, and a manifest with a mistake",
        expects="exit 0, 0 and 2; the same bytes; what cannot be shown is escaped",
    )
    environment = {"LC_ALL": "", "LANG": "", **ENCODINGS[name]}
    write_manifest(bench.folder, description="质感 текстура Größe")
    ran = shell(f"stimgen {CHECK}", **environment)
    bench.see(ran, 0)
    bench.see(shell(f"stimgen {RUN}", **environment), 0)
    assert bytes_of(bench.results) == bench.reference
    write_manifest(bench.folder, description="质感", nonsense="质感")
    bench.see(shell(f"stimgen {RUN}", **environment), 2, "nonsense")


def test_unicode_path_in_a_locale_without(bench, shell, fault):
    fault(
        "source named in Unicode, locale C",
        done="sources: 质感.png with LC_ALL=C",
        expects="exit 0",
    )
    write_image(bench.folder / "manifests" / "质感.png", 1)
    write_manifest(bench.folder, sources=[{"id": "one", "image": "质感.png"}], trials=None)
    bench.see(shell(f"stimgen {RUN}", LC_ALL="C"), 0, "3 made")


@pytest.mark.parametrize("columns", ["1", "20", "0", "x"])
def test_narrow_terminal(bench, shell, fault, columns):
    fault(
        f"terminal of {columns} columns",
        done=f"COLUMNS={columns}: weights list, run on a pseudo-terminal, --help",
        expects="exit 0 each time",
    )
    environment = {"COLUMNS": columns, "TERM": "xterm", "TERMINAL_WIDTH": ""}
    bench.see(shell("stimgen weights list", **environment), 0, "imagenet")
    ran = shell(f"script -qec '{sys.executable} -m stimgen {RUN}' /dev/null", **environment)
    fault.saw(f"run: exit {ran.code}")
    assert ran.code == 0, ran.output
    assert bytes_of(bench.results) == bench.reference
    bench.see(shell("stimgen run --help", **environment), 0)
