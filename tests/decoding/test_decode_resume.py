"""A command that is killed goes on where it was, with the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from decoding_images import QUICK, feature_bytes, read, write_gratings
from typer.testing import CliRunner

from stimgen.cli import app

SLOWLY = """
import time
import stimgen.decoding.extraction as extraction
from stimgen.cli import main
load = extraction.load_source
def slow(*arguments, **words):
    time.sleep(0.2)
    return load(*arguments, **words)
extraction.load_source = slow
main()
"""


def command(folder, out):
    return ["decode", str(folder), "--out", str(out), *QUICK, "--batch-size", "4"]


def run_whole(folder, out):
    result = CliRunner().invoke(app, command(folder, out))
    assert result.exit_code == 0, result.output


def lines(out):
    return sum(len(path.read_bytes()) // 65 for path in out.glob("features/*/images.txt"))


def test_a_killed_command_goes_on_and_ends_with_the_same_bytes(tmp_path):
    write_gratings(tmp_path / "images", 20)
    run_whole(tmp_path / "images", tmp_path / "whole")

    slowly = [sys.executable, "-c", SLOWLY, *command(tmp_path / "images", tmp_path / "killed")]
    # The number of threads changes the order of sums, and so the last bits.
    killed = subprocess.Popen(
        slowly,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while lines(tmp_path / "killed") < 8 and killed.poll() is None:
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    done = lines(tmp_path / "killed")
    assert 8 <= done < 40
    assert not (tmp_path / "killed" / "decoding.csv").exists()
    (index,) = tmp_path.glob("killed/features/*/images.txt")
    before = index.read_bytes()

    run_whole(tmp_path / "images", tmp_path / "killed")
    assert index.read_bytes().startswith(before)
    assert feature_bytes(tmp_path / "killed" / "features") == feature_bytes(tmp_path / "whole" / "features")
    one, two = (read(tmp_path / name, "decoding") for name in ("killed", "whole"))
    assert one.equals(two)
