"""The disk is full: a real small disk, filled at the moment that a test names."""

from __future__ import annotations

import pytest

FILL = "import sabotage; sabotage.when_writing({pattern!r}, lambda: sabotage.fill({folder!r}), nth={nth})"
NO_SPACE = "No space left on device"


@pytest.mark.parametrize(
    ("at", "pattern", "nth", "left"),
    [
        ("a PNG", "*/stimuli/*.png", 3, "0 of 6"),
        ("a record", "*/records/*.json", 4, "0 of 6"),
        ("the first tables", "*/stimuli.csv", 1, "stimuli.csv cannot be read"),
        ("the last tables", "*/stimuli.csv", 2, "0 of 6"),
        ("a data dictionary", "*/traces.json", 2, "6 of 6"),
        ("run.json", "*/run.json", 2, "6 of 6"),
        ("a trial list", "*/trials/rating.csv", 1, "6 of 6"),
        ("the copy of the manifest", "*/manifest.resolved.yaml", 1, "cannot be read"),
    ],
)
def test_disk_full(bench, disk, fault, at, pattern, nth, left):
    fault(
        f"disk full at {at}",
        done="results on a disk of 2 MB, filled just before the file is written",
        expects="exit 4 with the file and the cure; no half file; the same command goes on",
    )
    folder = disk("results")
    ran = bench.run(before=FILL.format(pattern=pattern, folder=str(folder), nth=nth))
    bench.see(ran, 4, NO_SPACE, "Free the disk")
    assert left in bench.see_disk()
    (folder / "ballast").unlink()
    bench.see_same()
