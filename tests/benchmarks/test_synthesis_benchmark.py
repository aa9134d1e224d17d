from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from benchmarks import pictures, synthesis


def test_it_prints_what_each_target_needs(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--sources", "gravel", "--size", "64", "--targets", "0.5,0.1", "--budgets", "5,40"]
    arguments += ["--repeats", "2", "--iterations", "60", "--preset", '{"evaluations": [1]}']
    synthesis.main(arguments)
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("gravel ")]
    assert [float(row[1]) for row in rows] == [0.5, 0.1]
    for row in rows:
        published, published_s, ours, ours_s, ratio, loss = (float(cell) for cell in row[2:8])
        assert min(ratio, published_s, ours_s) > 0
        assert loss <= float(row[1])
        assert published > 1
        assert ours >= 5


def test_a_target_out_of_reach_is_not_claimed(capsys: pytest.CaptureFixture[str]) -> None:
    synthesis.main(["--sources", "gravel", "--size", "32", "--targets", "1e-9", "--budgets", "2", "--count"])
    (row,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("gravel "))
    assert row.split()[2:8] == ["–"] * 6


def test_pictures_are_put_side_by_side(tmp_path) -> None:
    out = tmp_path / "grid.png"
    pictures.main(["--sources", "gravel", "--size", "32", "--iterations", "3", "--out", str(out)])
    grid = np.asarray(Image.open(out))
    assert grid.shape == (32, 3 * 32 + 2 * pictures.GAP_PX)
    assert (grid[:, :32] == np.rint(255 * synthesis.source("gravel", 32)).astype(np.uint8)).all()
