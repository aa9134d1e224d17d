"""Sources that are in no file of a run, read again where their photographs still are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stimgen.errors import StimgenError
from stimgen.images.sources import load_source
from stimgen.manifest.load import load_manifest
from stimgen.report.reported import Entry, ReportedRun
from stimgen.report.thumbnails import webp

MOST_PIXELS = 4_000_000
"""Pixels of sources that a report carries in full; what is more is carried as thumbnails."""


@dataclass(frozen=True)
class SourceImage:
    """A source that no stimulus shows.

    Attributes
    ----------
    image
        Data URI; None if it could not be read.
    note
        Why it is missing, or that it is made smaller; "" otherwise.
    """

    image: str | None
    note: str = ""


def source_images(
    runs: Sequence[ReportedRun], stimuli: Sequence[Entry], side_px: int
) -> dict[str, SourceImage]:
    """Return, by label, the sources of stimuli that are not among the stimuli themselves.

    A source is read from its photograph and shown only if that has the SHA-256 and the crop in the records.
    """
    shown = {entry.source for entry in stimuli if entry.is_source}
    wanted = {entry.source: entry for entry in stimuli if entry.source not in shown}
    full = sum(entry.record.image.size_px**2 for entry in wanted.values()) <= MOST_PIXELS
    found: dict[str, SourceImage] = {}
    for run in runs:
        of_run = {label: entry for label, entry in wanted.items() if entry.run is run}
        if of_run:
            found |= _read(run, of_run, None if full else side_px)
    return found


def _read(run: ReportedRun, wanted: dict[str, Entry], side_px: int | None) -> dict[str, SourceImage]:
    try:
        manifest = load_manifest(run.run.folder / "manifest.resolved.yaml")
    except StimgenError:
        note = "The source is not shown: what the manifest names is not there any more. "
        return dict.fromkeys(wanted, SourceImage(None, note + _ADD))
    specs = {spec.id: spec for spec in manifest.sources}
    found = {}
    for label, entry in wanted.items():
        recorded = entry.record.source
        try:
            source = load_source(specs[recorded.id], manifest.image, name=manifest.name)
        except (StimgenError, KeyError):
            found[label] = SourceImage(None, f"The source is not shown: its file cannot be read. {_ADD}")
            continue
        if (source.sha256, source.crop_box) != (recorded.sha256, recorded.crop_box):
            note = f"The source is not shown: its file is not the one in the records. {_ADD}"
            found[label] = SourceImage(None, note)
        else:
            note = "" if side_px is None else f"Made smaller, because there are many sources. {_ADD}"
            found[label] = SourceImage(webp(source.pixels, side_px), note)
    return found


_ADD = "The control original would keep it in the run."
