"""Whether a run is what its records, tables and manifest say: every file of it, looked at again.

Nothing is written, nothing needs torch, and of each record little is kept while the others are read. What
needs the network, the statistics of `stimgen.verify.statistics`, is a check of its own.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from stimgen.errors import InputError
from stimgen.manifest.load import load_manifest
from stimgen.manifest.plan import Stimulus, plan
from stimgen.manifest.problems import ManifestError
from stimgen.manifest.resolved import Manifest
from stimgen.runs.csv_files import cells_of, rows_of
from stimgen.runs.fingerprint import stimuli_sha256
from stimgen.runs.load import Records, Run
from stimgen.runs.lock import OWNER
from stimgen.runs.record import Record, SourceRecord
from stimgen.runs.regular_files import UnreadableError, read_regular
from stimgen.runs.shards import is_unmerged
from stimgen.runs.store import RunFolder
from stimgen.runs.strangers import Strangers, find_strangers
from stimgen.runs.tables import LONG_TABLES, Row, as_text, stimulus_row
from stimgen.verify.cells import dictionary_findings
from stimgen.verify.files import look_at_folder, png_findings, refuse_a_run_at_work
from stimgen.verify.finding import SHOWN, Finding, cures_at, incomplete, some, wrong
from stimgen.verify.materials import source_findings, weights_findings
from stimgen.verify.read_record import read_record
from stimgen.verify.records import ANEW, OTHER_RECIPE, Identities, record_findings
from stimgen.verify.stimuli import Kept, contradicted, stimuli_findings
from stimgen.verify.summary import (
    FILE,
    Summary,
    failures_findings,
    manifest_findings,
    networks_findings,
    read_failures,
    read_summary,
    summary_findings,
)
from stimgen.verify.tables import LongTable
from stimgen.verify.trials import trials_findings

RESOLVED = "manifest.resolved.yaml"
WITNESSES = 3
"""Records of a source that are asked what it is, for stimuli that depend on all sources."""
Advance = Callable[[int], object]


@dataclass(frozen=True)
class Verification:
    """What was found in a run folder.

    Attributes
    ----------
    folder
        The run, absolute.
    name
        Name of its manifest; empty if that cannot be read.
    planned, verified
        How many stimuli the manifest asks for, and how many of them are there and right.
    stimuli_sha256
        `stimgen.runs.fingerprint.stimuli_sha256` of the PNG files that the manifest asks for; None unless all
        of them are there and right, and none that stimgen did not write.
    strangers
        How many stimuli are there that an earlier manifest asked for, as stimgen wrote them.
    overrides
        Options of the command line that changed what was asked for; empty if there were none.
    findings
        All that is not as it should be, or could not be looked at.
    """

    folder: Path
    name: str
    planned: int
    verified: int
    stimuli_sha256: str | None
    strangers: int
    overrides: str
    findings: tuple[Finding, ...]

    @property
    def right(self) -> bool:
        """Whether everything is there and what it should be."""
        return not any(one.severity in ("wrong", "incomplete") for one in self.findings)


@dataclass(frozen=True)
class Recomputed:
    """What `stimgen.verify.statistics.recompute_statistics` found.

    Attributes
    ----------
    stimuli
        How many were measured again.
    lacking
        Whether others could not be, because sources or weights are not at hand.
    findings
        All differences.
    """

    stimuli: int
    lacking: bool
    findings: tuple[Finding, ...]

    @property
    def wrong(self) -> frozenset[str]:
        """Files with a number that is not the one of its PNG file."""
        return frozenset(one.file for one in self.findings if one.severity == "wrong")


def open_run(path: Path) -> tuple[RunFolder, Manifest]:
    """Return a run that is to be verified, with its manifest; its sources and weights may be gone.

    Raises
    ------
    InputError
        If the folder holds no run, or one of a newer stimgen, or its manifest cannot be read.
    StimgenError
        If a run is at work there.
    """
    folder = RunFolder(path.absolute())
    if not folder.path.is_dir() or not (folder.records.exists() or (folder.path / RESOLVED).exists()):
        raise InputError(
            f"{folder.path} {'holds no stimgen run' if folder.path.is_dir() else 'is no folder'}.",
            "Name the folder that stimgen run wrote, such as results/NAME.",
        )
    folder.refuse_newer()
    refuse_a_run_at_work(folder)
    return folder, resolved_manifest(folder)


def resolved_manifest(folder: RunFolder) -> Manifest:
    """Return the manifest of a run, whose sources and weights may be gone.

    Raises
    ------
    InputError
        If it cannot be read.
    """
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

    Parameters
    ----------
    path
        The run folder.
    advance
        Called with 1 after each stimulus.

    Raises
    ------
    InputError, StimgenError
        As `open_run` does.
    """
    folder, manifest = open_run(path)
    stimuli = plan(manifest)
    summary = read_summary(folder)
    present = sum(folder.record(one.stimulus_id).is_file() for one in stimuli)
    unmerged = is_unmerged(folder)
    places = (folder.path, *folder.shard_folders())
    killed = unmerged or any((one / OWNER).exists() for one in places)  # no run leaves it there that ends
    unfinished = killed or (not summary.problem and summary.counted < present)
    of_manifest = list(manifest_findings(folder, summary))
    # Killed between a new manifest and its tables: these are of the old one, or not there.
    stale = killed and (bool(summary.problem) or any(one.severity == "wrong" for one in of_manifest))
    if stale:
        why = "stimgen tables writes them from the shards" if unmerged else "the run was killed"
        of_manifest = [incomplete(FILE, f"and the tables are not those of this manifest yet: {why}")]
    planned = {stimulus.stimulus_id for stimulus in stimuli}
    strangers = find_strangers(folder, planned, {spec.id for spec in manifest.trials})
    findings = [*of_manifest, *look_at_folder(folder, planned, strangers, summary.overrides)]
    look = _Look(folder, manifest, summary, strangers, unfinished=unfinished, stale=stale)
    for stimulus in stimuli:
        findings += look.at(stimulus)
        advance(1)
    findings += look.end(stimuli)
    own = look.files
    bad = {one.file for one in findings if one.severity in ("wrong", "incomplete")}
    foreign = any(one.severity == "wrong" and f"{one.file}/".startswith("stimuli/") for one in findings)
    verified = sum(not {folder.filename(one), folder.record_name(one)} & bad for one in look.kept.ids)
    whole = verified == len(stimuli) and not foreign
    return Verification(
        folder.path,
        manifest.name,
        len(stimuli),
        verified,
        stimuli_sha256(own) if whole else None,
        len(strangers.stimuli),
        summary.overrides,
        tuple(findings),
    )


@dataclass(frozen=True)
class _Suspect:
    """A record that was altered: its row now, and where it contradicts the manifest or a table."""

    problem: str
    row: Row | None
    contradictions: tuple[str, ...]


class _Look:
    """One look at all stimuli of a run, one after the other."""

    def __init__(
        self,
        folder: RunFolder,
        manifest: Manifest,
        summary: Summary,
        strangers: Strangers,
        *,
        unfinished: bool,
        stale: bool,
    ) -> None:
        self.kept = Kept()
        self._folder = folder
        self._manifest = manifest
        self._summary = summary
        self._strangers = strangers
        self._suspects: dict[str, _Suspect] = {}
        self._accepted: list[bool] = []
        self._unfinished = unfinished
        self._stale = stale
        self._known = Identities()
        self._sources: dict[str, SourceRecord] = {}
        self._said: dict[str, SourceRecord | None] = {}
        self._lacking: list[str] = []
        self._failures, self._bad_failures = read_failures(folder, unfinished=unfinished)
        ids = [stimulus.stimulus_id for stimulus in plan(manifest)]
        self._of_source: dict[str, list[str]] = {}
        for stimulus in plan(manifest):
            self._of_source.setdefault(stimulus.source, []).append(stimulus.stimulus_id)
        self._tables = [
            LongTable(folder, name, ids, unfinished=unfinished) for name in LONG_TABLES if not stale
        ]
        self._listed = frozenset() if stale else self._rows_there()

    def at(self, stimulus: Stimulus) -> Iterator[Finding]:
        """Yield what is wrong with a stimulus, and pass its rows in the tables."""
        stimulus_id, folder = stimulus.stimulus_id, self._folder
        file = folder.record_name(stimulus_id)
        read = read_record(folder, stimulus_id)
        record = read.record
        if record is None:
            if read.missing and stimulus_id not in self._listed:
                self._lacking.append(stimulus_id)
                return
            self.kept.unreadable.add(stimulus_id)
            if read.altered:
                self._suspects[stimulus_id] = self._suspect(stimulus, read.problem, read.altered)
                return
            for table in self._tables:
                table.skip(stimulus_id)
            yield wrong(file, read.problem, cures_at(folder.record(stimulus_id)))
            return
        try:
            yield from self._compared(stimulus, record)
        except (ArithmeticError, LookupError, ValueError) as error:
            # Its seal is right, so somebody wrote it on purpose; stimgen cannot have.
            self.kept.unreadable.add(stimulus_id)
            for table in self._tables:
                table.skip(stimulus_id)
            yield wrong(file, f"holds what does not go together ({type(error).__name__}: {error})", ANEW)

    def _compared(self, stimulus: Stimulus, record: Record) -> Iterator[Finding]:
        stimulus_id, folder = stimulus.stimulus_id, self._folder
        file = folder.record_name(stimulus_id)
        of_record = list(record_findings(self._manifest, stimulus, record, self._source, self._known))
        if self._unfinished and any(OTHER_RECIPE in one.problem for one in of_record):
            # What a run is to replace is still there when it is killed, and its rows are not.
            self.kept.outdated.add(stimulus_id)
            for table in self._tables:
                table.skip(stimulus_id)
            text = "was made with other settings: the run that was to replace it was ended before"
            yield incomplete(file, text)
            return
        of_png = list(png_findings(folder, record))
        if of_png:
            self.kept.altered.add(stimulus_id)
        yield from of_record
        yield from of_png
        row = stimulus_row(record, self._manifest.accept)
        for table in self._tables:
            table.compare(record)
        self._known.add(self._manifest, stimulus, record)
        self._sources.setdefault(record.source.id, record.source)
        self.kept.add(record, row)
        self._accepted.append(bool(row["accepted"]))

    def end(self, stimuli: list[Stimulus]) -> Iterator[Finding]:
        """Yield what is wrong with the tables, the trial lists, the sources and the summary."""
        yield from self._not_made()
        yield from self._altered()
        yield from self._known.findings(self._folder)
        if not self._stale:
            yield from self._of_tables({stimulus.stimulus_id for stimulus in stimuli})
        weights = {
            spec: max(found, key=lambda one: len(found[one])) for spec, found in self._known.weights.items()
        }
        if not self._stale:
            named = [(spec.name, one.tensors_sha256) for spec, one in weights.items()]
            yield from networks_findings(self._summary, named)
        yield from source_findings(self._manifest.sources, self._sources)
        yield from weights_findings({spec: one.tensors_sha256 for spec, one in weights.items()})

    def _of_tables(self, planned: Collection[str]) -> Iterator[Finding]:
        kept, manifest, folder, unfinished = self.kept, self._manifest, self._folder, self._unfinished
        yield from stimuli_findings(folder, kept, unfinished=unfinished)
        for name, table in zip(LONG_TABLES, self._tables, strict=True):
            yield from table.end()
            headers = cells_of(as_text(name, [])[0].encode())[0]
            yield from dictionary_findings(folder, name, headers, unfinished=unfinished)
        if self._bad_failures:
            yield self._bad_failures
        ids, accepted = kept.ids, self._accepted
        yield from failures_findings(folder, self._failures, planned, frozenset(ids), unfinished=unfinished)
        if ids:
            records = Records(folder, ids, kept.seals)
            run = Run(folder.path, manifest.name, records, pd.DataFrame({"accepted": accepted}))
            complete = len(ids) == len(planned) and not kept.altered and not folder.stimuli.is_symlink()
            yield from trials_findings(
                run,
                manifest.trials,
                planned,
                self._strangers.trial_lists,
                complete=complete,
                unfinished=unfinished,
            )
        yield from summary_findings(
            self._summary,
            name=manifest.name,
            planned=len(planned),
            records=len(ids) + len(kept.unreadable),
            failed=len(self._failures),
            rejected=accepted.count(False),
            fingerprint=stimuli_sha256(self.files),
            unfinished=unfinished,
            unreadable=bool(kept.unreadable),
        )

    @property
    def files(self) -> list[tuple[str, str]]:
        """Names and hashes of the PNG files that records describe."""
        return [(self._folder.filename(one.stimulus_id), one.png_sha256) for one in self.kept.exemplars]

    def _suspect(self, stimulus: Stimulus, problem: str, record: Record) -> _Suspect:
        """Return what shows in which keys a record was altered; its rows in the tables are passed."""
        tables = [table.altered(record) for table in self._tables]
        row, of_manifest = None, []
        with contextlib.suppress(ArithmeticError, LookupError, ValueError):  # what does not go together
            found = record_findings(self._manifest, stimulus, record, self._source, self._known)
            of_manifest = [one.problem.removeprefix(f"{OTHER_RECIPE}: ") for one in found if one.cures]
            row = stimulus_row(record, self._manifest.accept)
        return _Suspect(problem, row, (*of_manifest, *filter(None, tables)))

    def _altered(self) -> Iterator[Finding]:
        """Yield the records that were altered, with what in them is contradicted."""
        rows = {stimulus_id: one.row for stimulus_id, one in self._suspects.items() if one.row}
        of_table = contradicted(self._folder, rows) if rows and not self._stale else {}
        for stimulus_id, one in self._suspects.items():
            contradictions = [*of_table.get(stimulus_id, ()), *one.contradictions]
            more = len(contradictions) - SHOWN
            hints = contradictions[:SHOWN] + ([f"and {more} more such"] if more > 0 else [])
            file = self._folder.record_name(stimulus_id)
            yield wrong(file, "; ".join([one.problem, *hints]), ("restore", "run"))

    def _not_made(self) -> Iterator[Finding]:
        failed = [one for one in self._lacking if one in self._failures]
        lacking = [one for one in self._lacking if one not in self._failures]
        for stimulus_id in failed:
            file = self._folder.filename(stimulus_id)
            yield incomplete(file, f"could not be made: {self._failures[stimulus_id]}")
        if lacking:
            yield incomplete(
                "stimuli", f"lacks {len(lacking)} stimuli, which are not made yet: {some(lacking)}"
            )

    def _source(self, source_id: str) -> SourceRecord | None:
        """Return what most of a few records of a source say of it, so that none of them speaks for all."""
        if source_id not in self._said:
            records = (read_record(self._folder, one).record for one in self._of_source.get(source_id, ()))
            said = [one.source for one in itertools.islice(filter(None, records), WITNESSES)]
            common = Counter(one.model_dump_json() for one in said).most_common(1)
            self._said[source_id] = SourceRecord.model_validate_json(common[0][0]) if common else None
        return self._said[source_id]

    def _rows_there(self) -> frozenset[str]:
        """Return which stimuli stimuli.csv lists; what else is wrong with it is found later."""
        try:
            return frozenset(
                row[0] for row in rows_of(read_regular(self._folder.path / "stimuli.csv")) if row
            )
        except UnreadableError:
            return frozenset()
