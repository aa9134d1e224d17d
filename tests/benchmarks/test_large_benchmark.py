"""The benchmark of large sets forges runs that stimgen takes for its own."""

from __future__ import annotations

import re

import pytest

from benchmarks import large


@pytest.mark.slow
def test_forged_stimuli_are_done_and_every_command_has_its_cost(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(large, "SOURCES", 1)
    there = large.forge(tmp_path, 10)
    assert len(list((there[1] / "records").glob("*.json"))) == 10
    large.main(["--stimuli", "5", "10", "--planned", "20", "--out", str(tmp_path / "large.txt")])
    printed = capsys.readouterr().out
    assert printed == (tmp_path / "large.txt").read_text("utf-8")
    *_, last, only_planned = printed.splitlines()
    numbers = [float(number) for number in re.findall(r"[\d.]+", last)]
    assert len(numbers) == 1 + 2 * 6 + 2
    assert min(numbers[1:13]) > 0
    assert re.fullmatch(r" +20( +[\d.]+){4}( +-){8}", only_planned)
