"""Streams that are closed or full, encodings that lack characters, and narrow terminals."""

from __future__ import annotations

import subprocess
import sys

import pytest
from fault_bench import bytes_of, write_manifest
from launching import Ended

CHECK = "stimgen check manifests/faults.yaml --all"
RUN = "stimgen run manifests/faults.yaml --no-report"


@pytest.fixture
def shell(bench):
    """Return a function that gives a command line to a shell; `stimgen` is a function there."""

    def run(command, **environment):
        define = f'set -o pipefail; stimgen() {{ "{sys.executable}" -m stimgen "$@"; }}; '
        done = subprocess.run(
            ["bash", "-c", define + command],
            cwd=bench.folder,
            env={**bench.launcher.environment, **environment},
            capture_output=True,
            check=False,
        )
        texts = (stream.decode("utf-8", "replace") for stream in (done.stdout, done.stderr))
        ended = Ended(done.returncode, *texts)
        for word in ("Traceback", "Exception ignored", "This is a bug"):
            assert word not in ended.output + ended.errors, ended.errors
        return ended

    return run


def test_output_piped_to_head(shell):
    ended = shell(f"{CHECK} | (head -n 1; sleep 1)")
    assert ended.output.count("\n") == 1
    assert ended.errors == ""
    assert ended.code in (0, 1)  # nothing goes wrong with a pipe that takes it all before head ends


@pytest.mark.parametrize("command", [CHECK, "stimgen --version"], ids=["check", "version"])
def test_output_to_a_full_disk(bench, shell, command):
    bench.check(shell(f"{command} > /dev/full"), 4, "No space left on device")


@pytest.mark.parametrize("streams", ["2> /dev/full", ">&- 2>&- <&-"], ids=["full", "closed"])
def test_run_whose_streams_are_useless(bench, shell, streams):
    ended = shell(f"{RUN} {streams}")
    bench.check(ended, 0)
    bench.check_disk("6 of 6")
    assert ended.output == ""
    assert bytes_of(bench.results) == bench.reference


def test_error_while_standard_error_is_closed(bench, shell):
    ended = shell("stimgen run missing.yaml 2>&-")
    bench.check(ended, 2)
    assert ended.output == ""


@pytest.mark.parametrize(
    "encoding",
    [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}],
    ids=["ascii", "no UTF-8 at all"],
)
def test_locale_without_unicode(bench, shell, encoding):
    environment = {"LC_ALL": "", "LANG": "", **encoding}
    write_manifest(bench.folder, description="质感 текстура Größe")
    bench.check(shell(RUN, **environment), 0)
    assert bytes_of(bench.results) == bench.reference
    write_manifest(bench.folder, description="质感", nonsense="质感")
    bench.check(shell(RUN, **environment), 2, "nonsense")


@pytest.mark.parametrize("columns", ["1", "x"])
def test_width_of_the_terminal(bench, shell, columns):
    environment = {"COLUMNS": columns, "TERM": "xterm", "TERMINAL_WIDTH": ""}
    bench.check(shell("stimgen weights list && stimgen run --help", **environment), 0, "imagenet")
    command = RUN.replace("stimgen", f"{sys.executable} -m stimgen", 1)
    bench.check(shell(f"script -qec '{command}' /dev/null", **environment), 0)
    assert bytes_of(bench.results) == bench.reference
