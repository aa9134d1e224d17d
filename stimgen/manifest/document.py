"""YAML text to plain data, with the line and column of every value and key, and the problems of both.

Nothing in the text is executed. Size, depth, number of values and length of the text are bounded, the last
two after expanding aliases, so that nested aliases can't fill the memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml

from stimgen.errors import InputError

MAX_BYTES = 1_000_000
MAX_DEPTH = 30
MAX_VALUES = 200_000
MAX_PROBLEMS = 1000
"""Number of problems after which a file is not read further."""
SHOWN = 100
"""How many problems a message lists."""

_TAG = "tag:yaml.org,2002:"
_EXPONENT = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$")
_UNWANTED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_MEANINGS = {"bool": "true or false", "null": "nothing", "int": "a number", "float": "a number"}
_FORMS = {
    "bool": re.compile("yes|true|on|no|false|off", re.IGNORECASE),
    "null": re.compile("~|null|", re.IGNORECASE),
    "int": re.compile("[-+]?(0|[1-9][0-9_]{0,24})"),
    "float": re.compile(
        r"[-+]?\.inf|\.nan|[-+]?([0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(e[-+]?[0-9]+)?", re.IGNORECASE
    ),
}
# Dates, "=" and "<<" as values are plain text here, as in YAML 1.2.
_TEXTS = {"str", "timestamp", "value", "merge"}


DataPath = tuple[str | int, ...]


def dotted(path: DataPath) -> str:
    """Return a path in the manifest as people write it: "sources[0].crop"."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


def shorten(text: str, most: int = 60) -> str:
    """Return `text` on one line, cut after `most` characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a manifest."""

    path: str
    line: int | None
    column: int | None
    location: str
    message: str

    def __str__(self) -> str:
        place = self.path if self.line is None else f"{self.path}:{self.line}:{self.column}"
        return f"{place}: {self.location}: {self.message}" if self.location else f"{place}: {self.message}"


class ManifestError(InputError):
    """A manifest that can't be used, with every problem found in it."""

    def __init__(self, errors: Iterable[Problem]) -> None:
        unique = dict.fromkeys(errors)
        self.errors = sorted(unique, key=lambda problem: (problem.line or 0, problem.column or 0))
        lines = [str(problem) for problem in self.errors[:SHOWN]]
        if len(self.errors) > SHOWN:
            lines.append(f"… and {len(self.errors) - SHOWN} more problems.")
        super().__init__("\n".join(lines))


@dataclass
class Document:
    """Data of a manifest, the YAML node of each value and key by its path in the data, and problems.

    `spoilt` has the paths of values that could not be read, and of mappings that lost an entry. They have a
    problem already, and what follows from it is not reported.
    """

    name: str
    data: Any = None
    values: dict[DataPath, yaml.Node] = field(default_factory=dict)
    keys: dict[DataPath, yaml.Node] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    spoilt: set[DataPath] = field(default_factory=set)
    _taken: dict[tuple[str, str], str] = field(default_factory=dict)
    _characters_read: int = 0

    def walk(self, path: DataPath) -> DataPath:
        """Return the part of `path` that the data has; the steps that it lacks are skipped."""
        found: DataPath = ()
        for step in path:
            if (*found, step) in self.values:
                found = (*found, step)
        return found

    def complain(self, path: DataPath, message: str, *, key: bool = False) -> None:
        """Add a problem at the value at `path`, or at the nearest value around it.

        A problem with a `key` stands at the key, in the mapping that has it.
        """
        found = self.walk(path)
        node, location = (self.keys[found], found[:-1]) if key else (self.values[found], found)
        self.add(self._problem(node, message, location))

    def claim(self, kind: str, name: str, owner: str, path: DataPath) -> None:
        """Add a problem if a name is taken, ignoring case as the file systems of Windows and macOS do."""
        known = (kind, name.lower())
        if known in self._taken:
            message = f'the {kind} "{name}" is taken by {self._taken[known]}; choose another name or id.'
            self.complain(path, message)
        self._taken.setdefault(known, owner)

    def add(self, problem: Problem) -> None:
        """Add a problem."""
        self.problems.append(problem)
        if len(self.problems) > MAX_PROBLEMS:
            message = f"more than {MAX_PROBLEMS} problems; the rest of the file was not looked at."
            raise ManifestError([*self.problems, Problem(self.name, None, None, "", message)])

    def written(self, path: DataPath) -> str | None:
        """Return how the scalar at `path` was written; None for a collection."""
        node = self.values[self.walk(path)]
        return node.value if isinstance(node, yaml.ScalarNode) else None

    def read(self, node: yaml.Node, path: DataPath = ()) -> Any:
        """Return the data of a node, and note where it stands."""
        self.values[path] = node
        if len(self.values) > MAX_VALUES:
            self._stop(node, f"more than {MAX_VALUES} values after expanding aliases (a YAML bomb?).")
        if len(path) > MAX_DEPTH:
            self._stop(node, f"nested deeper than {MAX_DEPTH} levels; does an alias contain itself?")
        kind = node.tag.removeprefix(_TAG)
        if isinstance(node, yaml.SequenceNode) and kind == "seq":
            return [self.read(item, (*path, i)) for i, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode) and kind == "map":
            return {key: self.read(value, (*path, key)) for key, value in self._entries(node, path)}
        try:
            return self._scalar(node)
        except ValueError as error:
            self.spoilt.add(path)
            self.complain(path, str(error))
            return None

    def _entries(self, node: yaml.MappingNode, path: DataPath) -> Iterator[tuple[str, yaml.Node]]:
        for key, value in node.value:
            try:
                if not isinstance(key, yaml.ScalarNode):
                    raise ValueError("a key must be a word, not a list or a mapping.")
                name, word = self._scalar(key), shorten(key.value)
                if not isinstance(name, str):
                    read_as = f"{word or '(empty)'} is read as {_MEANINGS[key.tag.removeprefix(_TAG)]}"
                    raise ValueError(f'the key {read_as}; for text, put it in quotes: "{word}".')
            except ValueError as error:
                self.spoilt.add(path)
                self.add(self._problem(key, str(error), path))
                continue
            first = self.keys.setdefault((*path, name), key)
            if first is key:
                yield name, value
            else:
                place = f"line {first.start_mark.line + 1}, column {first.start_mark.column + 1}"
                message = f'the key "{word}" is given twice, first in {place}.'
                self.add(self._problem(key, message, path))

    def _scalar(self, node: yaml.Node) -> str | bool | int | float | None:
        kind = node.tag.removeprefix(_TAG)
        if not isinstance(node, yaml.ScalarNode) or kind not in {*_TEXTS, *_FORMS}:
            tag = node.tag.replace(_TAG, "!!")
            raise ValueError(f'the tag "{tag}" is not allowed; a manifest has plain values only. Remove it.')
        self._characters_read += len(node.value)
        if self._characters_read > MAX_BYTES:
            self._stop(node, "more than 1 million characters after expanding aliases (a YAML bomb?).")
        if kind not in _TEXTS and not _FORMS[kind].fullmatch(node.value):
            raise ValueError(
                f"{shorten(node.value, 40)} is no plain form of {_MEANINGS[kind]}: write numbers in decimal "
                "digits (YAML reads this in another base), at most 25, and text in quotes."
            )
        if kind not in _TEXTS:
            return yaml.constructor.SafeConstructor().construct_object(node)  # type: ignore[no-any-return]
        if unwanted := _UNWANTED.search(node.value):
            half = unwanted[0] >= "\ud800"
            name = "half a surrogate pair" if half else f"the control character U+{ord(unwanted[0]):04X}"
            raise ValueError(f"the text has {name}; remove it.")
        return str(node.value)

    def _problem(self, node: yaml.Node, message: str, location: DataPath = ()) -> Problem:
        mark = node.start_mark
        return Problem(self.name, mark.line + 1, mark.column + 1, dotted(location), message)

    def _stop(self, node: yaml.Node, message: str) -> NoReturn:
        raise ManifestError([*self.problems, self._problem(node, message)])


def decoded(content: bytes, name: str) -> str:
    """Return the bytes of a file as text; what is not UTF-8 is a problem at its place."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, column = _end_of(content[: error.start].decode("utf-8-sig", errors="replace"))
        message = f"byte 0x{content[error.start]:02X} is not UTF-8; save the file with the encoding UTF-8."
        raise ManifestError([Problem(name, line, column, "", message)]) from None


def _end_of(text: str) -> tuple[int, int]:
    return text.count("\n") + 1, len(text) - text.rfind("\n")


def parse(text: str, name: str, start: str = "stimgen: 1") -> Document:
    """Return the data of a YAML text."""
    document = Document(name)
    node = _compose(text, name)
    if node is None:
        message = f"the file is empty. It must start with {start.rstrip('.')}."
        raise ManifestError([Problem(name, None, None, "", message)])
    document.data = document.read(node)
    return document


def _compose(text: str, name: str) -> yaml.Node | None:
    """Return the root node of a text; None if the text is empty."""
    try:
        loader = _Loader(text)
    except yaml.reader.ReaderError as error:
        line, column = _end_of(text[: error.position])
        message = f"the character U+{int(error.character):04X} is not allowed in YAML; remove it."
        raise ManifestError([Problem(name, line, column, "", message)]) from None
    try:
        node: yaml.Node | None = loader.get_single_node()
        return node
    except yaml.MarkedYAMLError as error:
        mark, message = error.problem_mark or error.context_mark or loader.get_mark(), _yaml_message(error)
    except (ValueError, OverflowError):
        # PyYAML raises these for numbers beyond Unicode ("\Uffffffff") and beyond int (%YAML 1.999…).
        mark = loader.get_mark()
        message = "not valid YAML: an escape or a version number is out of range."
    raise ManifestError([Problem(name, mark.line + 1, mark.column + 1, "", message)])


def _yaml_message(error: yaml.MarkedYAMLError) -> str:
    problem, context = error.problem or error.context or "it can't be read", error.context or ""
    if problem.startswith("nested deeper"):
        return problem
    if "'\\t'" in problem:
        return "not valid YAML: a tab can't be used for indentation; use spaces."
    if "expected a single document" in context:
        return 'a manifest is one document; remove what follows the "---".'
    more = f" {context}" if context not in ("", problem) else ""
    return f"not valid YAML: {problem}{more}. Check the indentation, colons, quotes and brackets around here."


class _Loader(yaml.SafeLoader):
    """Safe loader that reads 1e9 as a number, and stops at `MAX_DEPTH`."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            message = f"nested deeper than {MAX_DEPTH} levels; a manifest needs fewer than ten."
            raise yaml.MarkedYAMLError(problem=message, problem_mark=self.peek_event().start_mark)  # type: ignore[no-untyped-call]
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class Dumper(yaml.SafeDumper):
    """Safe dumper that puts texts such as 1e9 in quotes, because `parse` reads them as numbers."""


for _class in (_Loader, Dumper):
    _class.add_implicit_resolver(f"{_TAG}float", _EXPONENT, list("-+.0123456789"))
