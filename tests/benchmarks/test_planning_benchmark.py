from __future__ import annotations

from benchmarks import planning


def test_every_shape_has_a_row(capsys) -> None:
    planning.main(["--stimuli", "50"])
    _, header, *rows = capsys.readouterr().out.splitlines()
    assert header.split()[:3] == ["manifest", "stimuli", "sources"]
    assert [row[:30].strip() for row in rows] == list(planning.SHAPES)
    for row in rows:
        stimuli, _, checking, starting, peak = map(float, row[30:].split())
        assert stimuli == 50
        assert min(checking, starting, peak) >= 0
