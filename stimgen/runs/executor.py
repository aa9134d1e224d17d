"""Who makes the batches of a run."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from functools import cached_property
from typing import Protocol

from stimgen.networks.device import find_device
from stimgen.runs.batch_size import default_batch_size
from stimgen.runs.batches import Batch
from stimgen.runs.environment import device_name, rounding
from stimgen.runs.job import Job
from stimgen.runs.preparation import Preparation
from stimgen.runs.progress import Progress
from stimgen.runs.tables import Failure


class Executor(Protocol):
    """Makes batches that the runner has planned, in any order, and decides nothing else.

    A stimulus is made when its PNG file and its record are in the run folder and it is in `Job.done`.
    The same batch plan gives the same stimuli with every executor, as far as the devices compute alike.
    """

    @property
    def device(self) -> str:
        """Where the process of the runner computes what it must itself, for example "cpu"."""
        ...

    @property
    def device_name(self) -> str:
        """What run.json says of where the stimuli were made."""
        ...

    @property
    def made_with(self) -> Mapping[str, str] | None:
        """What the bytes depend on beside recipes, as in `RunCheckpoints`; None if it may be several."""
        ...

    @property
    def shared(self) -> bool:
        """Whether the problems of a batch share their passes, as they do on a GPU."""
        ...

    def batch_size(self, prepared: Preparation) -> int:
        """Return how many textures are best made at once."""
        ...

    def make(self, job: Job, batches: Sequence[Batch], progress: Progress) -> Generator[list[Failure]]:
        """Make batches, show it on `progress`, and yield after each what could not be made of it.

        Raises
        ------
        StimgenError
            If no batch can be made any more; what was made stays.
        """
        ...


class LocalExecutor:
    """Makes one batch after the other in this process.

    Parameters
    ----------
    device
        "auto" (the first GPU if there is one), "cpu", or "cuda:N".

    Raises
    ------
    StimgenError
        If there is no such device.
    """

    def __init__(self, device: str = "auto") -> None:
        self._where = find_device(device)

    @property
    def device(self) -> str:
        """The device that makes everything."""
        return str(self._where)

    @property
    def device_name(self) -> str:
        """Its name."""
        return device_name(self._where)

    @cached_property
    def made_with(self) -> Mapping[str, str]:
        """The device, its threads, and versions."""
        return rounding(self._where)

    @property
    def shared(self) -> bool:
        """Whether it is a GPU."""
        return self._where.type != "cpu"

    def batch_size(self, prepared: Preparation) -> int:
        """Return 1 on a CPU, and what fits on a GPU."""
        return default_batch_size(prepared.manifest, prepared.networks, self._where)

    def make(self, job: Job, batches: Sequence[Batch], progress: Progress) -> Generator[list[Failure]]:
        """Make batches in their order, and yield after each what could not be made of it."""
        for batch in batches:
            with progress.batch(batch):
                failures = job.make(batch)
            yield failures
