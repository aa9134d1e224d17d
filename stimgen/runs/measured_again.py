"""Stimuli that are done, measured again where an earlier run measured other statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stimgen.counting import counted
from stimgen.images.png import decode_png
from stimgen.manifest.plan import Stimulus
from stimgen.manifest.resolved import Manifest
from stimgen.measure import DecodedImage, Values, statistics_in_order
from stimgen.runs.done import Done
from stimgen.runs.interrupts import Interrupts
from stimgen.runs.make import SourceMeasures, rounded
from stimgen.runs.preparation import Preparation
from stimgen.runs.progress import Progress
from stimgen.runs.recipe import measured_with
from stimgen.runs.record import Record, sealed
from stimgen.runs.store import RunFolder, write_atomically


def find_done(
    prepared: Preparation,
    stimuli: Sequence[Stimulus],
    hashes: Mapping[str, str],
    folder: RunFolder,
    device: str,
    interrupts: Interrupts,
    progress: Progress,
) -> dict[str, Done]:
    """Return the stimuli that are done, by id.

    Where other statistics were measured than the manifest asks for now, or in another version, the PNG file
    is measured again and gets a new record.

    Parameters
    ----------
    prepared, stimuli
        What is asked for.
    hashes
        Of the recipes, by stimulus id.
    folder
        Where records and files are.
    device
        Where PyTorch computes.
    interrupts, progress
        What may not be interrupted, and who is told.

    Raises
    ------
    StoreError
        If a record cannot be written.
    """
    manifest, wanted = prepared.manifest, measured_with(prepared.manifest)
    done: dict[str, Done] = {}
    measures: dict[str, SourceMeasures] = {}
    again = 0
    for stimulus in stimuli:
        stimulus_id = stimulus.stimulus_id
        record = folder.finished(stimulus_id, hashes[stimulus_id])
        if record is None:
            continue
        if record.measured_with != wanted:
            source = prepared.sources[stimulus.source]
            if source.id not in measures:
                measures = {source.id: SourceMeasures.of(manifest, source)}
            png = folder.png(stimulus_id).read_bytes()
            record = measure_again(manifest, record, png, measures[source.id], device)
            with interrupts.held():
                text = record.model_dump_json(indent=1) + "\n"
                write_atomically(folder.record(stimulus_id), text)
            again += 1
        done[stimulus_id] = Done.of(record)
    if again:
        progress.note(
            f"{counted(again)} measured again: other statistics are asked for. The images are kept."
        )
    return done


def measure_again(
    manifest: Manifest, record: Record, png: bytes, of_source: SourceMeasures, device: str
) -> Record:
    """Return the record of a finished stimulus with what the manifest asks for measured on its file.

    Gram distances stay as they were: those of the stages before the file cannot be measured again.

    Parameters
    ----------
    manifest
        What is asked for.
    record, png
        The stimulus, made by the manifest's recipe.
    of_source
        What it is compared with.
    device
        Where PyTorch computes.
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
