"""What a run writes beside its stimuli: manifests, tables, run.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from stimgen.manifest.plan import Stimulus, measuring_network
from stimgen.runs.batches import Batch
from stimgen.runs.done import Done, read_done
from stimgen.runs.environment import versions
from stimgen.runs.executor import Executor
from stimgen.runs.fingerprint import stimuli_sha256
from stimgen.runs.preparation import Preparation
from stimgen.runs.store import RunFolder, write_atomically
from stimgen.runs.summary import counts, describes, write_manifests
from stimgen.runs.tables import Failure, write_tables


class Results:
    """The results of a run so far. The manifests are written at once.

    Parameters
    ----------
    folder, prepared, stimuli, batches, executor
        The run: where it is, what it makes, and with what.
    done
        The stimuli that are done, by id; the run adds to them.
    anything
        Whether there is anything to make.

    Attributes
    ----------
    kept
        How many were done before.
    rejected
        How many of those that are done exceed a threshold of the manifest, when last written.
    failures
        What could not be made so far.
    """

    def __init__(
        self,
        folder: RunFolder,
        prepared: Preparation,
        stimuli: Sequence[Stimulus],
        batches: Sequence[Batch],
        executor: Executor,
        done: Mapping[str, Done],
        anything: bool,
    ) -> None:
        self._started = datetime.now(UTC)
        self._folder = folder
        self._prepared = prepared
        self._stimuli = stimuli
        self._batches = batches
        self._executor = executor
        self._done = done
        self._anything = anything
        self._manifests = write_manifests(folder, prepared.manifest)
        self.kept = len(done)
        self.rejected = 0
        self.failures: list[Failure] = []

    def write(self) -> None:
        """Write the tables and run.json.

        Raises
        ------
        StoreError
            If the folder cannot be written.
        """
        folder, manifest = self._folder, self._prepared.manifest
        ids = [stimulus.stimulus_id for stimulus in self._stimuli]
        records = read_done(folder, ids, self._done)
        self.rejected = write_tables(folder, records, self.failures, manifest.accept)
        fingerprint = stimuli_sha256(
            (folder.filename(stimulus_id), one.png_sha256) for stimulus_id, one in self._done.items()
        )
        before = folder.read_summary()
        # With nothing to make, the summary stays that of the run that made the stimuli.
        if not self._anything and describes(before, manifest, self._done.values(), fingerprint):
            # It may have been killed before it could say how many it made.
            summary = before | {"made": len(self._stimuli) - before["kept"]}
        else:
            summary = self._of_this_run()
        summary |= {
            "failed": len(self.failures),
            "rejected": self.rejected,
            "stimuli_sha256": fingerprint,
            "overrides": dict(manifest.overrides),
            "manifest_sha256": self._manifests,
            "trial_lists": folder.noted_lists(),
        }
        write_atomically(folder.path / "run.json", json.dumps(summary, indent=2) + "\n")

    def _of_this_run(self) -> dict[str, Any]:
        manifest, networks = self._prepared.manifest, self._prepared.networks
        used = dict.fromkeys(batch.network for batch in self._batches)
        used |= dict.fromkeys(measuring_network(manifest, stimulus) for stimulus in self._stimuli)
        made = len(self._done) - self.kept
        return counts(manifest, self._started, len(self._stimuli), made, self.kept) | {
            "device": self._executor.device_name,
            "batch_size": max(len(batch.stimuli) for batch in self._batches),
            "networks": [networks.record(network).model_dump() for network in used],
            "versions": versions(),
        }
