"""The disk is full: a real small disk, filled just before a file is written."""

from __future__ import annotations

import pytest

FILL = "import sabotage; sabotage.when_writing({pattern!r}, lambda: sabotage.fill({folder!r}), nth={nth})"


@pytest.mark.parametrize(
    ("pattern", "nth", "left"),
    [
        ("*/stimuli/*.png", 3, "0 of 6"),
        ("*/records/*.json", 4, "0 of 6"),
        ("*/stimuli.csv", 2, "0 of 6"),
        ("*/trials/rating.csv", 1, "6 of 6"),
    ],
    ids=["image", "record", "table", "trial list"],
)
def test_run_continues_after_disk_was_full(bench, disk, pattern, nth, left):
    folder = disk("results")
    ended = bench.run(before=FILL.format(pattern=pattern, folder=str(folder), nth=nth))
    bench.check(ended, 4, "No space left on device", "Free the disk")
    bench.check_disk(left)
    (folder / "ballast").unlink()
    bench.check_same()
