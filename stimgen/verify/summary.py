"""run.json and failures.csv of a run against what is there."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stimgen.runs.columns import FAILURES
from stimgen.runs.csv_files import cells_of
from stimgen.runs.regular_files import UnreadableError, read_regular
from stimgen.runs.store import LASTING, RunFolder, sha256
from stimgen.verify.cells import dictionary_findings
from stimgen.verify.finding import TABLES, Finding, cures_at, incomplete, lost, some, wrong

FILE = "run.json"
MANIFESTS = ("manifest.yaml", "manifest.resolved.yaml")


@dataclass(frozen=True)
class Summary:
    """What run.json says.

    Attributes
    ----------
    said
        Its content; empty if it cannot be read.
    problem
        Why it cannot be read.
    """

    said: Mapping[str, Any]
    problem: Finding | None

    @property
    def overrides(self) -> str:
        """The options of the command line that changed the manifest; empty if there were none."""
        overrides = self.said.get("overrides")
        known = overrides if isinstance(overrides, dict) else {}
        options = ((name, _option(known[name])) for name in ("network", "seeds") if name in known)
        # They are printed to be pasted, and the run may be a stranger's.
        return " ".join(f"--{name} {value}" for name, value in options if re.fullmatch(r"[\w,.-]+", value))

    def count(self, name: str) -> int:
        """Return a number; 0 if it is none."""
        number = self.said.get(name)
        return number if type(number) is int else 0

    @property
    def counted(self) -> int:
        """How many stimuli were there when the tables were written."""
        return self.count("made") + self.count("kept")


def _option(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def read_summary(folder: RunFolder) -> Summary:
    """Return what run.json says."""
    try:
        said = json.loads(read_regular(folder.path / FILE))
    except UnreadableError as error:
        return Summary({}, wrong(FILE, str(error), cures_at(folder.path / FILE)))
    except (ValueError, RecursionError):
        return Summary({}, wrong(FILE, "is damaged: it is not JSON"))
    return Summary(said, None) if isinstance(said, dict) else Summary({}, wrong(FILE, "is damaged"))


def read_failures(folder: RunFolder, *, unfinished: bool) -> tuple[dict[str, str], Finding | None]:
    """Return why stimuli could not be made and what to do, by id, and what is wrong with failures.csv."""
    file = "failures.csv"
    try:
        header, *rows = cells_of(read_regular(folder.path / file))
    except UnreadableError as error:
        cures = cures_at(folder.path / file, TABLES)
        return {}, lost(file, str(error), unfinished=unfinished, cures=cures)
    if header != [column.name for column in FAILURES]:
        return {}, wrong(file, "has another header than stimgen writes", TABLES)
    return {row[0]: " ".join(filter(None, row[1:])) for row in rows}, None


def failures_findings(
    folder: RunFolder,
    failures: Collection[str],
    planned: Collection[str],
    made: Collection[str],
    *,
    unfinished: bool,
) -> Iterator[Finding]:
    """Yield stimuli in failures.csv that the manifest does not ask for, or that are there."""
    if unknown := [one for one in failures if one not in planned]:
        text = f"has stimuli that the manifest does not ask for: {some(unknown)}"
        yield wrong("failures.csv", text, TABLES)
    if there := [one for one in failures if one in made]:
        yield lost("failures.csv", f"has stimuli that are there: {some(there)}", unfinished=unfinished)
    headers = [column.name for column in FAILURES]
    yield from dictionary_findings(folder, "failures", headers, unfinished=unfinished)


def manifest_findings(folder: RunFolder, summary: Summary) -> Iterator[Finding]:
    """Yield manifests that are not those whose hash is in run.json."""
    recorded = summary.said.get("manifest_sha256")
    for name in MANIFESTS:
        try:
            content = read_regular(folder.path / name)
        except UnreadableError as error:
            yield wrong(name, str(error), cures_at(folder.path / name))
            continue
        if isinstance(recorded, dict) and recorded.get(name) != sha256(content):
            yield wrong(name, "is not the one that the run was made with: run.json has another SHA-256 of it")


def summary_findings(
    summary: Summary,
    *,
    name: str,
    planned: int,
    records: int,
    failed: int,
    rejected: int,
    fingerprint: str,
    unfinished: bool,
    unreadable: bool,
) -> Iterator[Finding]:
    """Yield numbers in run.json that are not those of the run.

    Parameters
    ----------
    summary
        What it says.
    name, planned
        The manifest's name, and how many stimuli it asks for.
    records, rejected
        How many stimuli have a record, damaged or not, and how many exceed a threshold.
    failed
        How many stimuli are in failures.csv.
    fingerprint
        `stimgen.runs.fingerprint.stimuli_sha256` of the records.
    unfinished
        Whether the run was killed before it wrote it.
    unreadable
        Whether records are damaged, so that what all of them give is not known.
    """
    if summary.problem:
        yield summary.problem
        return
    if unfinished and summary.counted != records:
        yield incomplete(
            FILE,
            f"counts {summary.counted} stimuli, and {records} are there: the run was interrupted or killed",
        )
    elif summary.counted != records:
        text = f"counts {summary.counted} stimuli made and kept, and {records} have a record"
        yield wrong(FILE, text, TABLES)
    if negative := [key for key in ("made", "kept") if summary.count(key) < 0]:
        yield wrong(FILE, f"says {', '.join(f'{key}: {summary.count(key)}' for key in negative)}")
    if lacking := [key for key, kind in LASTING.items() if not isinstance(summary.said.get(key), kind)]:
        text = f"lacks {', '.join(lacking)}: it was lost or edited, so that not all can be compared with it"
        yield incomplete(FILE, text)
    right: dict[str, Any] = {"name": name, "stimuli": planned}
    if not unfinished:
        right |= {"failed": failed}
    if not unfinished and not unreadable:
        right |= {"rejected": rejected, "stimuli_sha256": fingerprint}
    for key, value in right.items():
        said = summary.said.get(key)
        if key not in lacking and said != value:
            text = f"says {key}: {json.dumps(said)}, and it is {json.dumps(value)}"
            yield wrong(FILE, text, TABLES)


def networks_findings(summary: Summary, recorded: Sequence[tuple[str, str]]) -> Iterator[Finding]:
    """Yield weights of records that run.json does not name; each is the network's name and their SHA-256."""
    networks = summary.said.get("networks")
    if summary.problem or not isinstance(networks, list):
        return
    named = {(one.get("name"), one.get("tensors_sha256")) for one in networks if isinstance(one, dict)}
    for network, tensors in recorded:
        if (network, tensors) not in named:
            yield wrong(FILE, f"does not name the weights of {network} that records name: {tensors}")
