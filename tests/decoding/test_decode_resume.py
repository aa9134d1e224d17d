"""A command that is killed goes on where it was, with the same bytes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

from decoding_images import QUICK, feature_bytes, read, write_gratings

SLOWLY = """
import sys, time
import stimgen.decoding.extraction as extraction
from stimgen.cli import main
load, seconds = extraction.load_source, float(sys.argv[1])
def slow(*arguments, **words):
    time.sleep(seconds)
    return load(*arguments, **words)
extraction.load_source = slow
sys.argv[1:] = sys.argv[2:]
main()
"""


def start(seconds, folder, out):
    command = ["decode", str(folder), "--out", str(out), *QUICK, "--batch-size", "4"]
    return subprocess.Popen(
        [sys.executable, "-c", SLOWLY, str(seconds), *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process):
    output, _ = process.communicate()
    assert process.returncode == 0, output


def lines(out):
    return sum(len(path.read_bytes()) // 65 for path in out.glob("features/*/images.txt"))


def test_a_killed_command_goes_on_and_ends_with_the_same_bytes(tmp_path):
    write_gratings(tmp_path / "images", 20)
    finish(start(0, tmp_path / "images", tmp_path / "whole"))

    killed = start(0.2, tmp_path / "images", tmp_path / "killed")
    deadline = time.monotonic() + 60
    while lines(tmp_path / "killed") < 8 and time.monotonic() < deadline:
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    done = lines(tmp_path / "killed")
    assert 8 <= done < 40
    assert not (tmp_path / "killed" / "decoding.csv").exists()
    (index,) = tmp_path.glob("killed/features/*/images.txt")
    before = index.read_bytes()

    finish(start(0, tmp_path / "images", tmp_path / "killed"))
    assert index.read_bytes().startswith(before)
    assert feature_bytes(tmp_path / "killed" / "features") == feature_bytes(tmp_path / "whole" / "features")
    one, two = (read(tmp_path / name, "decoding") for name in ("killed", "whole"))
    assert one.equals(two)
