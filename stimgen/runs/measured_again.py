"""Stimuli that are done, measured again where an earlier run measured other statistics."""

from __future__ import annotations

from collections.abc import Sequence

from stimgen.counting import counted
from stimgen.images.png import decode_png
from stimgen.manifest.resolved import Manifest
from stimgen.measure import DecodedImage, Values, statistics_in_order
from stimgen.runs.interrupts import Interrupts
from stimgen.runs.make import SourceMeasures, rounded
from stimgen.runs.preparation import Preparation
from stimgen.runs.progress import Progress
from stimgen.runs.recipe import measured_with
from stimgen.runs.record import Record, sealed
from stimgen.runs.store import Done, RunFolder, write_atomically


def measure_all_again(
    prepared: Preparation,
    records: Sequence[Record],
    folder: RunFolder,
    device: str,
    interrupts: Interrupts,
    progress: Progress,
) -> dict[str, Done]:
    """Measure the PNG files of finished stimuli again, and write new records.

    `records` are those of stimuli that were measured with other statistics than the manifest asks for. Raises
    StoreError if a record cannot be written.
    """
    done: dict[str, Done] = {}
    measures: dict[str, SourceMeasures] = {}
    for old in records:
        source = prepared.sources[old.source.id]
        if source.id not in measures:
            measures = {source.id: SourceMeasures.of(prepared.manifest, source)}
        png = folder.png(old.stimulus_id).read_bytes()
        record = measure_again(prepared.manifest, old, png, measures[source.id], device)
        with interrupts.held():
            write_atomically(folder.record(old.stimulus_id), record.model_dump_json(indent=1) + "\n")
        done[old.stimulus_id] = Done.of(record)
    if records:
        note = f"{counted(len(records))} measured again: other statistics are asked for. The images are kept."
        progress.note(note)
    return done


def measure_again(
    manifest: Manifest, record: Record, png: bytes, of_source: SourceMeasures, device: str
) -> Record:
    """Return the record of a finished stimulus with what the manifest asks for measured on its file.

    Gram distances stay as they were: those of the stages before the file cannot be measured again.
    """
    image = DecodedImage(decode_png(png), record.image.size_deg, device)
    statistics: Values = {}
    for statistic in statistics_in_order():
        if statistic.needs_network:
            names = [
                c.name.format(layer=layer) for c in statistic.columns for layer in record.measured_layers
            ]
            statistics |= {name: value for name, value in record.statistics.items() if name in names}
        else:
            statistics |= statistic.measure(image, of_source.prepared.get(statistic.name))
    changes = {
        "measured_with": measured_with(manifest),
        "statistics": statistics,
        "power": rounded(image.spectrum.radial),
        "power_source": of_source.power,
    }
    return sealed(Record.model_validate(record.model_dump() | changes))
