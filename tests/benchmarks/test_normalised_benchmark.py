from __future__ import annotations

import pytest

from benchmarks import normalised
from stimgen.networks.photographs import PHOTOGRAPHS


def test_random_networks_have_a_row_each(capsys: pytest.CaptureFixture[str]) -> None:
    normalised.main(["--only-random", "--networks", "alexnet random:0", "alexnet random:1"])
    *rows, last = capsys.readouterr().out.splitlines()
    cells = [row.strip("| ").split(" | ") for row in rows]
    assert [name for name, _ in cells] == ["alexnet random:0", "alexnet random:1"]
    assert all(0.3 < float(share) < 0.5 for _, share in cells)
    assert last == "normalised from 0.55 on"


def test_other_images_are_not_the_photographs() -> None:
    assert not set(normalised.OTHERS) & set(PHOTOGRAPHS)
