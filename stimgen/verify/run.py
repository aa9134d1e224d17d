"""Whether a run is what its records, tables and manifest say.

Nothing in the run folder is written, and neither PyTorch nor weights are needed. `stimgen.verify.recompute`
measures the statistics again.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from stimgen.bounded import UnreadableError, read_regular
from stimgen.counting import counted, first_few
from stimgen.errors import InputError, StimgenError
from stimgen.manifest.document import ManifestError
from stimgen.manifest.load import load_manifest
from stimgen.manifest.plan import Stimulus, plan
from stimgen.manifest.resolved import Manifest
from stimgen.runs.csv_files import rows_of
from stimgen.runs.load import Records, Run
from stimgen.runs.lock import OWNER, refuse_held
from stimgen.runs.recipe import measured_with
from stimgen.runs.record import Record, RecordError, unknown_columns
from stimgen.runs.results import is_unmerged
from stimgen.runs.steps import Done, decode_image, read_image
from stimgen.runs.store import RunFolder
from stimgen.runs.tables import LONG_TABLES, Failure, write_tables
from stimgen.runs.unplanned import find_unplanned
from stimgen.verify.finding import ANEW, RUN, Finding, cures_at, incomplete, warning, wrong
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
from stimgen.verify.records import OTHER_RECIPE, Identities, other_statistics, record_findings
from stimgen.verify.tables import dictionary_findings, table_findings, trials_findings

RESOLVED = "manifest.resolved.yaml"
Advance = Callable[[int], object]


@dataclass(frozen=True)
class Verification:
    """What was found in a run folder.

    `recomputed` is how many stimuli were measured again, and `unmeasured` whether some could not be.
    """

    folder: Path
    name: str
    planned: int
    verified: int
    stimuli_sha256: str | None
    unplanned: int
    overrides: str
    findings: tuple[Finding, ...]
    recomputed: int | None = None
    unmeasured: bool = False

    @property
    def right(self) -> bool:
        """Whether everything is there and what it should be."""
        return not any(finding.bad for finding in self.findings)


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

    Records are compared with the manifest, and images with the hashes in the records. Tables, data
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
    findings += folder_findings(folder, unplanned, summary.overrides)
    failures, unreadable = read_failures(folder)
    listed: set[str] = set()
    with contextlib.suppress(UnreadableError):
        if not stale:
            listed = {row[0] for row in rows_of(read_regular(folder.path / "stimuli.csv")) if row}
    look = Look(folder, manifest, stimuli, listed=listed, unfinished=unfinished, decode=True)
    with tempfile.TemporaryDirectory() as temporary:
        again = Path(temporary)
        records, reasons = look.records(advance), list(failures.values())
        rejected = write_tables(
            folder, records, reasons, manifest.accept, target=again, uncertain=look.uncertain
        )
        findings += [*look.findings, *look.missing(failures), *look.known.findings()]
        weights = look.known.commonest_weights()
        fingerprint = folder.fingerprint({name: done.png_sha256 for name, done in look.done.items()})
        if not stale:
            for name in ("stimuli", *LONG_TABLES):
                right, described = ((again / f"{name}{end}").read_bytes() for end in (".csv", ".json"))
                skipped = look.unknown, look.uncertain, look.foreign
                findings += table_findings(folder.path, f"{name}.csv", right, described, *skipped)
            findings += unreadable
            findings += failures_findings(failures, planned, look.done)
            dictionary = (again / "failures.json").read_bytes()
            findings += dictionary_findings(folder.path, "failures.json", dictionary)
            if look.done:
                accepted = pd.read_csv(again / "stimuli.csv", usecols=["accepted"])
                seals = [done.record_sha256 for done in look.done.values()]
                run = Run(folder.path, manifest.name, Records(folder, list(look.done), seals), accepted)
                complete = (
                    len(look.done) == len(planned) and not look.altered and not folder.stimuli.is_symlink()
                )
                lists = unplanned.trial_lists
                findings += trials_findings(run, manifest.trials, planned, lists, complete=complete)
            content = {"name": manifest.name, "stimuli": len(stimuli)}
            if not unfinished:
                content |= {"failed": len(failures)}
            if not unfinished and not look.unknown:
                content |= {"rejected": rejected, "stimuli_sha256": fingerprint}
            findings += summary.findings(content, len(look.done) + len(look.unknown), weights)
    findings += source_findings(manifest.sources, look.known.commonest_sources())
    findings += weights_findings(weights)
    if unfinished:
        settled: dict[str, Any] = {"severity": "incomplete", "cures": RUN}
    else:
        settled = {"severity": "wrong"}
    findings = [replace(one, **settled) if one.severity == "lost" else one for one in findings]
    bad = {finding.file for finding in findings if finding.bad}
    foreign = any(
        finding.severity == "wrong" and f"{finding.file}/".startswith("stimuli/") for finding in findings
    )
    verified = sum(bad.isdisjoint(folder.names(name)) for name in look.done)
    return Verification(
        folder.path,
        manifest.name,
        len(stimuli),
        verified,
        fingerprint if verified == len(stimuli) and not foreign else None,
        len(unplanned.stimuli),
        summary.overrides,
        tuple(findings),
    )


class Look:
    """One look at all stimuli of a run, one after the other.

    `listed` are stimuli that must have a record. Records of other recipes are left out if the run is
    `unfinished`, and wrong otherwise. Columns of records that no statistic of this stimgen measures are
    `foreign`.
    """

    def __init__(
        self,
        folder: RunFolder,
        manifest: Manifest,
        stimuli: Sequence[Stimulus],
        *,
        listed: Collection[str] = (),
        unfinished: bool = True,
        decode: bool = False,
    ) -> None:
        self.done: dict[str, Done] = {}
        self.outdated: list[str] = []
        self.unknown: set[str] = set()
        self.uncertain: set[str] = set()
        self.foreign: dict[str, None] = {}
        self.known = Identities(folder, manifest, stimuli)
        self.findings: list[Finding] = []
        self.altered = False
        self._folder, self._stimuli, self._listed = folder, stimuli, listed
        self._unfinished, self._decode = unfinished, decode
        self._measured_with = measured_with(manifest)
        self._lacking: list[str] = []
        self._without_image: list[str] = []
        self._of_condition: dict[tuple[str, str], list[str]] = defaultdict(list)
        for stimulus in stimuli:
            self._of_condition[stimulus.source, stimulus.condition].append(stimulus.stimulus_id)

    def records(self, advance: Advance = lambda more: None) -> Iterator[Record]:
        """Yield the records that can be used, in the order of the plan; note what is wrong with all."""
        for stimulus in self._stimuli:
            record = self._record(stimulus)
            if record is not None:
                self.known.add(stimulus, record)
                self.done[record.stimulus_id] = Done.of(record)
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
            self._exclude(stimulus, wrong(file, str(error), cures=cures))
            return None
        found = list(record_findings(self.known, stimulus, record))
        if self._unfinished and any(OTHER_RECIPE in finding.problem for finding in found):
            # A run that is killed leaves what it was to replace, and its rows are not in the tables.
            text = "was made or measured with other settings: the run that was to change it was killed before"
            self._exclude(stimulus, incomplete(file, text))
            self.outdated.append(stimulus_id)
            return None
        if other := other_statistics(record.measured_with, self._measured_with):
            found.append(warning(file, f"{other}; stimgen run measures the PNG file again and keeps it"))
            self.foreign |= dict.fromkeys(unknown_columns(record))
        if problem := png_problem(folder, record, decode=self._decode):
            found.append(wrong(record.filename, problem, cures=cures_at(folder.png(stimulus_id))))
            self.altered = True
            self.uncertain.update(self._of_condition[stimulus.source, stimulus.condition])
        if self._decode:
            found += self._image_findings(record)
        self.findings += found
        return record

    def _image_findings(self, record: Record) -> Iterator[Finding]:
        """Yield what is wrong with the optimised image of a stimulus, if it is there."""
        path = self._folder.image(record.stimulus_id)
        file = path.relative_to(self._folder.path).as_posix()
        try:
            content = read_image(self._folder, record)
            if content is None:
                self._without_image.append(record.stimulus_id)
            else:
                decode_image(content, record.image.size_px)
        except UnreadableError as error:
            yield wrong(file, str(error), cures=cures_at(path))
        except StimgenError as error:
            yield wrong(file, error.problem.removeprefix("The file "), cures=ANEW)

    def _exclude(self, stimulus: Stimulus, finding: Finding) -> None:
        self.findings.append(finding)
        self.unknown.add(stimulus.stimulus_id)
        self.uncertain.update(self._of_condition[stimulus.source, stimulus.condition])

    def missing(self, failures: Mapping[str, Failure]) -> Iterator[Finding]:
        """Yield the stimuli, and the optimised images, that are not there."""
        for name in self._lacking:
            if name in failures:
                reason = " ".join(filter(None, (failures[name].error, failures[name].cure)))
                yield incomplete(self._folder.filename(name), f"could not be made: {reason}")
        if lacking := [name for name in self._lacking if name not in failures]:
            text = f"lacks {len(lacking)} stimuli, which are not made yet: {first_few(lacking)}"
            yield incomplete("stimuli", text)
        if without := self._without_image:
            text = f"lacks the images of {counted(len(without))}: {first_few(without)}. A change of what is "
            text += "matched, or of the layers that are measured, would synthesise them again"
            yield warning(self._folder.optimised.name, text)
