"""What a run remembers of a stimulus that is done. The rest stays on disk, however large the set is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from stimgen.errors import StimgenError
from stimgen.runs.record import Record
from stimgen.runs.store import RunFolder


@dataclass(frozen=True, slots=True)
class Done:
    """A stimulus that is done.

    Attributes
    ----------
    png_sha256, record_sha256
        Of its PNG file, and the seal of its record.
    networks
        Name and SHA-256 of the tensors of the networks that made and measured it.
    """

    png_sha256: str
    record_sha256: str | None
    networks: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, record: Record) -> Self:
        """Return what is remembered of a record."""
        networks = tuple((one.name, one.tensors_sha256) for one in (record.network, record.measured_in))
        return cls(record.png_sha256, record.record_sha256, networks)


def read_done(folder: RunFolder, ids: Sequence[str], done: Mapping[str, Done]) -> Iterator[Record]:
    """Yield the records of stimuli that are done, read from disk one after the other.

    Parameters
    ----------
    folder
        The run.
    ids
        Which stimuli, in the order in which they are wanted; those that are not done are left out.
    done
        What is remembered of those that are done.

    Raises
    ------
    StimgenError
        If a record is not the one that is remembered.
    """
    for stimulus_id in ids:
        if (known := done.get(stimulus_id)) is None:
            continue
        record = folder.read_record(stimulus_id)
        if record is None or record.record_sha256 != known.record_sha256:
            raise StimgenError(
                f"{folder.record(stimulus_id)} was altered or removed while stimgen was at work.",
                "Run again: what was altered is made again.",
            )
        yield record
