"""Changes to the files of a run, and what a verification finds of them."""

from __future__ import annotations

import csv
import io
import json
import zlib
from functools import partial

import numpy as np
from PIL import Image as Pillow
from typer.testing import CliRunner

from stimgen.cli import app
from stimgen.images.png import encode_png
from stimgen.runs.record import SEAL, content_sha256
from stimgen.runs.store import sha256
from stimgen.verify.run import verify_run

IDS = [
    "brick-pool1-s1",
    "brick-pool1-s2",
    "brick-original",
    "brick-phase_scrambled-s1",
    "brick-phase_scrambled-s2",
]
ID = IDS[0]
PNG, RECORD, TABLE, LONG = f"stimuli/{ID}.png", f"records/{ID}.json", "stimuli.csv", "gram_distances.csv"
LIST = {"design": "oddity", "crop_px": 16, "repeats": 3, "min_source_gap": 0}


def stimgen(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="stimgen")


def found(folder, severity="wrong"):
    return by_file(verify_run(folder.path), severity)


def by_file(result, severity="wrong"):
    """Return by file what is wrong with it."""
    files = {}
    for one in result.findings:
        if one.severity == severity:
            files[one.file] = "; ".join([*([files[one.file]] if one.file in files else []), one.problem])
    return files


def edit_record(folder, stimulus_id=ID, *, seal=True, drop=None, **changes):
    """Forge a record: a seal that is computed anew hides that it was altered."""
    path = folder.record(stimulus_id)
    content = json.loads(path.read_bytes())
    for place, value in (changes | ({drop: None} if drop else {})).items():
        *steps, last = place.split("__")
        part = content
        for step in steps:
            part = part[step]
        if place == drop:
            del part[last]
        else:
            part[last] = value
    if seal:
        content[SEAL] = content_sha256(content)
    path.write_text(json.dumps(content, indent=1) + "\n")


def sealed(**changes):
    """Return a change of the record of ID that is hidden by a new seal."""
    return lambda folder: edit_record(folder, **changes)


def change_pixel(folder, stimulus_id=ID):
    pixels = np.array(Pillow.open(folder.png(stimulus_id)))
    pixels[3, 4] ^= 1
    folder.png(stimulus_id).write_bytes(encode_png(pixels))
    return sha256(folder.png(stimulus_id).read_bytes())


def rows(file, change):
    """Return a change of the lines of a file."""

    def tamper(folder):
        lines = (folder.path / file).read_text("utf-8").splitlines(keepends=True)
        (folder.path / file).write_text("".join(change(lines)), "utf-8")

    return tamper


def edit_cell(path, row, column, value):
    cells = list(csv.reader(io.StringIO(path.read_text("utf-8"))))
    cells[row][cells[0].index(column)] = value
    path.write_text("".join(",".join(line) + "\n" for line in cells), "utf-8")


def cell(file, row, column, value):
    return lambda folder: edit_cell(folder.path / file, row, column, value)


def replaced(file, old, new):
    def tamper(folder):
        path = folder.path / file
        path.write_bytes(path.read_bytes().replace(old, new))

    return tamper


def edit_summary(folder, **changes):
    """Change run.json; a value of None leaves the key out."""
    path = folder.path / "run.json"
    content = json.loads(path.read_bytes()) | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def summary_with(**changes):
    return partial(edit_summary, **changes)


def with_chunk(png, kind, data):
    """Return a PNG file with one chunk more; no pixel changes."""
    chunk = kind + data
    length, checksum = (number.to_bytes(4, "big") for number in (len(data), zlib.crc32(chunk)))
    return png[:33] + length + chunk + checksum + png[33:]
