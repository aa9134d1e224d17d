"""run.json, failures.csv and the manifests of a run compared with what is there."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stimgen.bounded import UnreadableError, read_regular
from stimgen.runs.columns import FAILURES
from stimgen.runs.csv_files import rows_of
from stimgen.runs.store import LASTING, RunFolder, sha256
from stimgen.verify.finding import TABLES, Finding, cures_at, incomplete, lost, some, wrong

FILE = "run.json"
MANIFESTS = ("manifest.yaml", "manifest.resolved.yaml")


@dataclass(frozen=True)
class Summary:
    """The content of run.json; empty with a problem if it cannot be read."""

    content: Mapping[str, Any]
    problem: Finding | None = None

    @classmethod
    def read(cls, folder: RunFolder) -> Summary:
        """Return the summary of a run."""
        try:
            content = json.loads(read_regular(folder.path / FILE))
        except UnreadableError as error:
            return cls({}, wrong(FILE, str(error), cures_at(folder.path / FILE)))
        except (ValueError, RecursionError):
            return cls({}, wrong(FILE, "is damaged: it is not JSON"))
        return cls(content) if isinstance(content, dict) else cls({}, wrong(FILE, "is damaged"))

    @property
    def overrides(self) -> str:
        """The options of the command line that changed the manifest; empty if there were none."""
        known = self.content.get("overrides")
        options = []
        for name in ("network", "seeds"):
            value = known.get(name) if isinstance(known, dict) else None
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            # They are printed to be pasted into a shell, and the run may be somebody else's.
            if value is not None and re.fullmatch(r"[\w,.-]+", text):
                options.append(f"--{name} {text}")
        return " ".join(options)

    @property
    def counted(self) -> int:
        """How many stimuli were there when the tables were written."""
        return sum(count for key in ("made", "kept") if type(count := self.content.get(key)) is int)

    def findings(self, right: Mapping[str, Any], records: int) -> Iterator[Finding]:
        """Yield numbers that are not those of the run, of which `records` stimuli have a record."""
        if self.problem:
            yield self.problem
            return
        if self.counted != records:
            text = f"counts {self.counted} stimuli made and kept, and {records} have a record"
            yield lost(FILE, text)
        lacking = [key for key, kind in LASTING.items() if not isinstance(self.content.get(key), kind)]
        if lacking:
            text = f"lacks {', '.join(lacking)}: it was lost or edited, and not all can be compared"
            yield incomplete(FILE, text)
        for key, value in right.items():
            found = self.content.get(key)
            if key not in lacking and found != value:
                text = f"says {key}: {json.dumps(found)}, and it is {json.dumps(value)}"
                yield wrong(FILE, text, TABLES)

    def networks_findings(self, recorded: Sequence[tuple[str, str]]) -> Iterator[Finding]:
        """Yield weights that are not named: `recorded` has networks and SHA-256 of their tensors."""
        networks = self.content.get("networks")
        if self.problem or not isinstance(networks, list):
            return
        named = {(one.get("name"), one.get("tensors_sha256")) for one in networks if isinstance(one, dict)}
        for network, tensors in recorded:
            if (network, tensors) not in named:
                text = f"does not name the weights of {network} that records name: {tensors}"
                yield wrong(FILE, text)


def read_failures(folder: RunFolder) -> tuple[dict[str, list[str]], Finding | None]:
    """Return the rows of failures.csv by stimulus id, and what is wrong with the file."""
    path = folder.path / "failures.csv"
    try:
        header, *rows = rows_of(read_regular(path))
    except UnreadableError as error:
        return {}, lost(path.name, str(error), cures_at(path, TABLES))
    if header != [column.name for column in FAILURES]:
        return {}, wrong(path.name, "has another header than stimgen writes", TABLES)
    return {row[0]: row for row in rows}, None


def failures_findings(
    failures: Collection[str], planned: Collection[str], made: Collection[str]
) -> Iterator[Finding]:
    """Yield stimuli in failures.csv that the manifest does not ask for, or that were made."""
    if unknown := [name for name in failures if name not in planned]:
        text = f"has stimuli that the manifest does not ask for: {some(unknown)}"
        yield wrong("failures.csv", text, TABLES)
    if there := [name for name in failures if name in made]:
        yield lost("failures.csv", f"has stimuli that are there: {some(there)}")


def manifest_findings(folder: RunFolder, summary: Summary) -> Iterator[Finding]:
    """Yield manifests that are not those whose hash is in run.json."""
    recorded = summary.content.get("manifest_sha256")
    for name in MANIFESTS:
        try:
            content = read_regular(folder.path / name)
        except UnreadableError as error:
            yield wrong(name, str(error), cures_at(folder.path / name))
            continue
        if isinstance(recorded, dict) and recorded.get(name) != sha256(content):
            yield wrong(name, "is not the one that the run was made with: run.json has another SHA-256 of it")
