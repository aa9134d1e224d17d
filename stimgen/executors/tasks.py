"""The functions that Dask calls in a worker. What they need of a run, a plugin brings to each worker once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from distributed import get_worker
from distributed.diagnostics.plugin import WorkerPlugin

from stimgen.errors import StimgenError
from stimgen.executors.worker import (
    BatchOrder,
    BatchReport,
    NoTimeLeftError,
    RunOrder,
    UnfitError,
    Workbench,
    measure_batch_size,
)

if TYPE_CHECKING:
    from distributed import Worker

    from stimgen.manifest.resolved import Manifest


class RunPlugin(WorkerPlugin):  # type: ignore[misc]  # distributed has no types
    """Brings a run to each worker, also to those that come later.

    Parameters
    ----------
    order
        The run.
    topic
        Under which workers tell how far they are.
    """

    def __init__(self, order: RunOrder, topic: str) -> None:
        self.name = topic
        self._order, self._topic = order, topic
        self._bench: Workbench | None = None
        self._lock: Any = None

    def setup(self, worker: Worker) -> None:
        """Take the worker; sources and weights are loaded with the first batch, whose errors are reported."""
        self._lock = threading.Lock()

    def make(self, worker: Worker, order: BatchOrder) -> BatchReport:
        """Make a batch."""
        with self._lock:
            try:
                if self._bench is None:
                    self._bench = Workbench(self._order, str(worker.name))
                return self._bench.make(order, lambda *said: worker.log_event(self._topic, said))
            except StimgenError as error:
                raise UnfitError(error, worker.address) from error
            except NoTimeLeftError as error:
                raise NoTimeLeftError(error.left_s, error.whole_s, worker.address) from None


def make_batch(topic: str, order: BatchOrder) -> BatchReport:
    """Make a batch of the run that the plugin `topic` brought."""
    worker = get_worker()
    plugin: RunPlugin = worker.plugins[topic]
    return plugin.make(worker, order)


def batch_size(manifest: Manifest, device: str) -> int:
    """Return how many textures are best made at once on this worker's device."""
    return measure_batch_size(manifest, device)
