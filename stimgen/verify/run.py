"""Whether a run is what its records, tables and manifest say.

Nothing in the run folder is written, and neither PyTorch nor weights are needed. `stimgen.verify.recompute`
measures the statistics again.
"""

from __future__ import annotations

import contextlib
import itertools
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from stimgen.bounded import UnreadableError, read_regular
from stimgen.errors import InputError
from stimgen.manifest.document import ManifestError
from stimgen.manifest.load import load_manifest
from stimgen.manifest.plan import Stimulus, plan
from stimgen.manifest.resolved import Manifest
from stimgen.runs.csv_files import rows_of, unmarked
from stimgen.runs.load import Records, Run
from stimgen.runs.lock import OWNER, refuse_held
from stimgen.runs.recipe import measured_with
from stimgen.runs.record import Record, RecordError, SourceRecord
from stimgen.runs.results import is_unmerged
from stimgen.runs.store import RunFolder
from stimgen.runs.tables import LONG_TABLES, Failure, write_tables
from stimgen.runs.unplanned import find_unplanned
from stimgen.verify.finding import Finding, cures_at, incomplete, settled, some, wrong
from stimgen.verify.folder import (
    FILE,
    Summary,
    failures_findings,
    folder_findings,
    manifest_findings,
    png_problem,
    read_failures,
    source_findings,
    weights_findings,
)
from stimgen.verify.records import OTHER_RECIPE, Identities, record_findings
from stimgen.verify.tables import dictionary_findings, table_findings, trials_findings

RESOLVED = "manifest.resolved.yaml"
WITNESSES = 3
"""Records from which the identity of a source is taken, for stimuli that depend on all sources."""
Advance = Callable[[int], object]


@dataclass(frozen=True)
class Verification:
    """What was found in a run folder."""

    folder: Path
    name: str
    planned: int
    verified: int
    stimuli_sha256: str | None
    unplanned: int
    overrides: str
    findings: tuple[Finding, ...]

    @property
    def right(self) -> bool:
        """Whether everything is there and what it should be."""
        return not any(finding.severity in ("wrong", "incomplete") for finding in self.findings)


@dataclass(frozen=True)
class Recomputed:
    """What `stimgen.verify.recompute.recompute_statistics` found."""

    stimuli: int
    lacking: bool
    findings: tuple[Finding, ...]

    @property
    def wrong(self) -> frozenset[str]:
        """Records with a number that is not the one of the PNG file."""
        return frozenset(finding.file for finding in self.findings if finding.severity == "wrong")


def open_run(path: Path) -> tuple[RunFolder, Manifest]:
    """Return a run that is to be verified, with its manifest; its sources and weights may be gone."""
    folder = RunFolder(path.absolute())
    if not folder.path.is_dir() or not (folder.records.exists() or (folder.path / RESOLVED).exists()):
        raise InputError(
            f"{folder.path} {'holds no stimgen run' if folder.path.is_dir() else 'is no folder'}.",
            "Name the folder that stimgen run wrote, such as results/NAME.",
        )
    folder.refuse_newer()
    for place in (folder.path, *folder.shard_folders()):
        refuse_held(place)
    return folder, resolved_manifest(folder)


def resolved_manifest(folder: RunFolder) -> Manifest:
    """Return the manifest of a run, whose sources and weights may be gone."""
    try:
        read_regular(folder.path / RESOLVED)
        return load_manifest(folder.path / RESOLVED, files_needed=False)
    except (UnreadableError, ManifestError) as error:
        problem = f"{folder.path / RESOLVED} {error}" if isinstance(error, UnreadableError) else str(error)
        raise InputError(
            f"The manifest of the run cannot be read, so nothing can be compared with it.\n{problem}",
            "Put the file back that stimgen run wrote, or run the manifest again with --out.",
        ) from None


def verify_run(path: Path, *, advance: Advance = lambda more: None) -> Verification:
    """Compare every file of a run with what it should be.

    Records are compared with the manifest, and PNG files with the hashes in the records. Tables, data
    dictionaries and trial lists are written again to a temporary folder and compared.
    """
    folder, manifest = open_run(path)
    stimuli, summary = plan(manifest), Summary.read(folder)
    present = sum(folder.record(stimulus.stimulus_id).is_file() for stimulus in stimuli)
    unmerged = is_unmerged(folder)
    places = (folder.path, *folder.shard_folders())
    killed = unmerged or any((place / OWNER).exists() for place in places)  # a run that ends removes it
    unfinished = killed or (not summary.problem and summary.counted < present)
    findings = list(manifest_findings(folder, summary))
    # A run that was killed between a new manifest and its tables leaves those of the old one, or none.
    stale = killed and (bool(summary.problem) or any(finding.severity == "wrong" for finding in findings))
    if stale:
        why = "stimgen tables writes them from the shards" if unmerged else "the run was killed"
        findings = [incomplete(FILE, f"and the tables are not those of this manifest yet: {why}")]
    planned = {stimulus.stimulus_id for stimulus in stimuli}
    unplanned = find_unplanned(folder, planned, {spec.id for spec in manifest.trials})
    findings += folder_findings(folder, planned, unplanned, summary.overrides)
    look = _Look(folder, manifest, stimuli, unfinished=unfinished, stale=stale)
    with tempfile.TemporaryDirectory() as temporary:
        again = Path(temporary)
        failures, problem = read_failures(folder)
        rows = [Failure(*map(unmarked, row)) for row in failures.values()]
        records = look.records(advance)
        rejected = write_tables(
            folder, records, rows, manifest.accept, target=again, uncertain=look.uncertain
        )
        findings += [*look.findings, *look.missing(failures), *look.known.findings(folder)]
        if not stale:
            for name in ("stimuli", *LONG_TABLES):
                findings += table_findings(folder, name, again, look.unknown, look.uncertain)
            findings += [problem] if problem else []
            findings += failures_findings(failures, planned, look.done)
            dictionary = (again / "failures.json").read_bytes()
            findings += dictionary_findings(folder.path, "failures.json", dictionary)
            if look.done:
                accepted = pd.read_csv(again / "stimuli.csv", usecols=["accepted"])
                complete = len(look.done) == len(planned) and not look.altered and not look.linked
                findings += trials_findings(
                    look.run(accepted), manifest.trials, planned, unplanned.trial_lists, complete=complete
                )
            right = {"name": manifest.name, "stimuli": len(stimuli)}
            if not unfinished:
                right |= {"failed": len(failures)}
            if not unfinished and not look.unknown:
                right |= {"rejected": rejected, "stimuli_sha256": look.fingerprint}
            findings += summary.findings(right, len(look.done) + len(look.unknown))
    weights = look.known.commonest_weights()
    if not stale:
        findings += summary.networks_findings([(spec.name, sha256) for spec, sha256 in weights.items()])
    findings += source_findings(manifest.sources, look.known.commonest_sources())
    findings += weights_findings(weights)
    findings = [settled(finding, unfinished=unfinished) for finding in findings]
    bad = {finding.file for finding in findings if finding.severity in ("wrong", "incomplete")}
    foreign = any(
        finding.severity == "wrong" and f"{finding.file}/".startswith("stimuli/") for finding in findings
    )
    verified = sum(not {folder.filename(name), folder.record_name(name)} & bad for name in look.done)
    whole = verified == len(stimuli) and not foreign
    return Verification(
        folder.path,
        manifest.name,
        len(stimuli),
        verified,
        look.fingerprint if whole else None,
        len(unplanned.stimuli),
        summary.overrides,
        tuple(findings),
    )


class _Look:
    """One look at all stimuli of a run, one after the other."""

    def __init__(
        self, folder: RunFolder, manifest: Manifest, stimuli: list[Stimulus], *, unfinished: bool, stale: bool
    ) -> None:
        self.done: dict[str, tuple[str, str | None]] = {}
        self.unknown: set[str] = set()
        self.uncertain: set[str] = set()
        self.known = Identities()
        self.findings: list[Finding] = []
        self.altered = False
        self.linked = folder.stimuli.is_symlink()
        self._folder = folder
        self._manifest = manifest
        self._stimuli = stimuli
        self._unfinished = unfinished
        self._stale = stale
        self._measured_with = measured_with(manifest)
        self._lacking: list[str] = []
        self._sources: dict[str, SourceRecord | None] = {}
        self._of_condition: dict[tuple[str, str], list[str]] = {}
        for stimulus in stimuli:
            group = self._of_condition.setdefault((stimulus.source, stimulus.condition), [])
            group.append(stimulus.stimulus_id)
        self._listed = frozenset() if stale else self._rows_there()

    def records(self, advance: Advance) -> Iterator[Record]:
        """Yield the records that can be used, in the order of the plan; note what is wrong with all."""
        for stimulus in self._stimuli:
            record = self._record(stimulus)
            if record is not None:
                self.known.add(self._manifest, stimulus, record)
                self.done[record.stimulus_id] = (record.png_sha256, record.record_sha256)
                yield record
            advance(1)

    def _record(self, stimulus: Stimulus) -> Record | None:
        """Return the record of a stimulus; None if it cannot be used."""
        stimulus_id, folder = stimulus.stimulus_id, self._folder
        file = folder.record_name(stimulus_id)
        path = folder.record(stimulus_id)
        try:
            record = folder.checked_record(stimulus_id, may_be_link=False)
        except RecordError as error:
            if not path.exists() and not path.is_symlink() and stimulus_id not in self._listed:
                self._lacking.append(stimulus_id)
                return None
            cures = ("restore", "run") if error.altered else cures_at(path)
            self._unusable(stimulus, wrong(file, str(error), cures))
            return None
        found = list(record_findings(self._manifest, stimulus, record, self._source, self.known))
        if self._unfinished and any(OTHER_RECIPE in finding.problem for finding in found):
            # A run that is killed leaves what it was to replace, and its rows are not in the tables.
            text = "was made with other settings: the run that was to replace it was killed before"
            self._unusable(stimulus, incomplete(file, text))
            return None
        if record.measured_with != self._measured_with:
            text = "was measured with other statistics: stimgen run measures the file again"
            found.append(incomplete(file, text))
        if problem := png_problem(folder, record):
            found.append(wrong(record.filename, problem, cures_at(folder.png(stimulus_id))))
            self.altered = True
            self._exclude(stimulus)
        self.findings += found
        return record

    def _unusable(self, stimulus: Stimulus, finding: Finding) -> None:
        self.findings.append(finding)
        self.unknown.add(stimulus.stimulus_id)
        self._exclude(stimulus)

    def _exclude(self, stimulus: Stimulus) -> None:
        self.uncertain.update(self._of_condition[stimulus.source, stimulus.condition])

    def missing(self, failures: dict[str, list[str]]) -> Iterator[Finding]:
        """Yield the stimuli that are not there."""
        for name in self._lacking:
            if name in failures:
                reason = " ".join(filter(None, failures[name][1:]))
                yield incomplete(self._folder.filename(name), f"could not be made: {reason}")
        if lacking := [name for name in self._lacking if name not in failures]:
            text = f"lacks {len(lacking)} stimuli, which are not made yet: {some(lacking)}"
            yield incomplete("stimuli", text)

    @property
    def fingerprint(self) -> str:
        """`stimuli_sha256` of the PNG files that records describe."""
        return self._folder.fingerprint({name: png_sha256 for name, (png_sha256, _) in self.done.items()})

    def run(self, table: pd.DataFrame) -> Run:
        """Return the run as trial lists are made of it."""
        records = Records(self._folder, list(self.done), [seal for _, seal in self.done.values()])
        return Run(self._folder.path, self._manifest.name, records, table)

    def _source(self, source_id: str) -> SourceRecord | None:
        """Return a source as most of the first records of it name it."""
        if source_id not in self._sources:
            ids = (finding.stimulus_id for finding in self._stimuli if finding.source == source_id)
            records = itertools.islice(filter(None, map(self._folder.read_record, ids)), WITNESSES)
            commonest = Counter(record.source for record in records).most_common(1)
            self._sources[source_id] = commonest[0][0] if commonest else None
        return self._sources[source_id]

    def _rows_there(self) -> frozenset[str]:
        """Return the stimuli that stimuli.csv lists."""
        with contextlib.suppress(UnreadableError):
            return frozenset(
                row[0] for row in rows_of(read_regular(self._folder.path / "stimuli.csv")) if row
            )
        return frozenset()
