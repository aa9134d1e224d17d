"""YAML text to plain data, with the line and column of every value and key.

Nothing in the text is executed: nodes are composed with PyYAML's safe loader and turned into text, numbers,
truth values, lists and mappings here. Size, depth and the number of values (after expanding aliases) are
bounded, and so is the text (after expanding aliases).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from stimgen.manifest.problems import DataPath, ManifestError, Problem, dotted

MAX_BYTES = 1_000_000
MAX_DEPTH = 30
MAX_VALUES = 200_000
MAX_PROBLEMS = 1000
"""How many problems are looked for in one file."""

_TAG = "tag:yaml.org,2002:"
_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9_]*)")
_EXPONENT = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$")
_UNWANTED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_TRUTH = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}


def parse(text: str, name: str, start: str = "stimgen: 1") -> Document:
    """Return the data of a YAML text.

    Parameters
    ----------
    text
        The manifest's text.
    name
        The manifest's name in messages.
    start
        What such a file begins with, for who gives an empty one.

    Raises
    ------
    ManifestError
        If the text is not YAML, is empty, has more than one document, or goes beyond a bound.
        Problems that leave the rest readable (duplicate keys, tags) are kept in `Document.problems`.
    """
    document = Document(name)
    node = _compose(text, name)
    if node is None:
        raise ManifestError(
            [Problem(name, None, None, "", f"the file is empty. It must start with {start.rstrip('.')}.")]
        )
    _Builder(document).build(node)
    return document


def shorten(text: str, most: int = 60) -> str:
    """Return `text` on one line, cut after `most` characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _compose(text: str, name: str) -> yaml.Node | None:
    try:
        loader = _Loader(text)
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        message = f"the character U+{int(error.character):04X} is not allowed in YAML; remove it."
        raise ManifestError([Problem(name, line, column, "", message)]) from None
    try:
        node: yaml.Node | None = loader.get_single_node()
        return node
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark or loader.get_mark()
        raise ManifestError(
            [Problem(name, mark.line + 1, mark.column + 1, "", _yaml_message(error))]
        ) from None
    except (ValueError, OverflowError):
        # PyYAML lets numbers beyond Unicode ("\Uffffffff") or int's digits (%YAML 1.999…) escape as these.
        mark = loader.get_mark()
        message = "not valid YAML: an escape or a version number is out of range."
        raise ManifestError([Problem(name, mark.line + 1, mark.column + 1, "", message)]) from None
    finally:
        loader.dispose()


def _yaml_message(error: yaml.MarkedYAMLError) -> str:
    if isinstance(error, _TooDeepError):
        return str(error.problem)
    problem = error.problem or error.context or "it can't be read"
    if "'\\t'" in problem:
        return "not valid YAML: a tab can't be used for indentation; use spaces."
    if "expected a single document" in (error.context or ""):
        return 'a manifest is one document; remove what follows the "---".'
    context = f" {error.context}" if error.context and error.context != problem else ""
    return (
        f"not valid YAML: {problem}{context}. Check the indentation, colons, quotes and brackets around here."
    )


@dataclass(frozen=True)
class Mark:
    """Place of a value or key in the text (from 1), and how a scalar was written (None for a collection)."""

    line: int
    column: int
    written: str | None


@dataclass
class Document:
    """Data of a manifest, and where each piece of it stands.

    Values that could not be read, and mappings that lost an entry, are `spoilt`: they have a problem already,
    and what follows from it is not worth a second one. Without `files_needed`, files may be gone.
    """

    name: str
    data: Any = None
    values: dict[DataPath, Mark] = field(default_factory=dict)
    keys: dict[DataPath, Mark] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    spoilt: set[DataPath] = field(default_factory=set)
    files_needed: bool = True

    def walk(self, path: DataPath) -> DataPath:
        """Return the part of `path` that the data has; the steps that it lacks are skipped."""
        found: DataPath = ()
        for step in path:
            if (*found, step) in self.values:
                found = (*found, step)
        return found

    def problem(self, path: DataPath, message: str, *, key: bool = False) -> Problem:
        """Return a problem at the value at `path`, or at what comes nearest to it in the data.

        A problem with a `key` stands at the key, in the mapping that has it.
        """
        found = self.walk(path)
        mark = self.keys[found] if key else self.values[found]
        return Problem(self.name, mark.line, mark.column, dotted(found[:-1] if key else found), message)

    def complain(self, path: DataPath, message: str, *, key: bool = False) -> None:
        """Add a problem at `path`, as `add` does."""
        self.add(self.problem(path, message, key=key))

    def add(self, problem: Problem) -> None:
        """Add a problem.

        Raises
        ------
        ManifestError
            With all of them, if there are more than `MAX_PROBLEMS`.
        """
        self.problems.append(problem)
        if len(self.problems) > MAX_PROBLEMS:
            message = f"more than {MAX_PROBLEMS} problems; the rest of the file was not looked at."
            raise ManifestError([*self.problems, Problem(self.name, None, None, "", message)])

    def written(self, path: DataPath) -> str | None:
        """Return how the scalar at `path` was written; None for collections and absent values."""
        mark = self.values.get(self.walk(path))
        return None if mark is None else mark.written


class _TooDeepError(yaml.MarkedYAMLError):
    pass


class _Loader(yaml.SafeLoader):
    """Safe loader that knows 1e9 for a number and stops before its own recursion runs out of stack."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            message = f"nested deeper than {MAX_DEPTH} levels; a manifest needs fewer than ten."
            raise _TooDeepError(problem=message, problem_mark=self.peek_event().start_mark)  # type: ignore[no-untyped-call]
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


_Loader.add_implicit_resolver(f"{_TAG}float", _EXPONENT, list("-+.0123456789"))


class _Builder:
    """Fills a document from nodes; counts what it makes, so that nested aliases can't fill the memory."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._count = 0
        self._characters = 0
        self._scalars: dict[str, Callable[[str], Any]] = {
            "int": _whole_number,
            "float": _number,
            "bool": _truth,
            "null": _nothing,
            # Dates, "=" and "<<" as values are plain text here, as in YAML 1.2.
            **dict.fromkeys(("str", "timestamp", "value", "merge"), _text),
        }

    def build(self, node: yaml.Node) -> None:
        self._document.data = self._value(node, ())

    def _value(self, node: yaml.Node, path: DataPath) -> Any:
        self._count += 1
        mark = node.start_mark
        place = mark.line + 1, mark.column + 1
        if self._count > MAX_VALUES:
            message = (
                f"more than {MAX_VALUES} values after expanding aliases (a YAML bomb?); write it shorter."
            )
            raise ManifestError([*self._document.problems, Problem(self._document.name, *place, "", message)])
        if len(path) > MAX_DEPTH:
            message = f"nested deeper than {MAX_DEPTH} levels; does an alias contain itself?"
            raise ManifestError([*self._document.problems, Problem(self._document.name, *place, "", message)])
        if isinstance(node, yaml.ScalarNode):
            self._count_text(node)
        written = node.value if isinstance(node, yaml.ScalarNode) else None
        self._document.values[path] = Mark(*place, written)
        kind = node.tag.removeprefix(_TAG)
        if isinstance(node, yaml.ScalarNode) and kind in self._scalars:
            return self._scalar(node, kind, path)
        if isinstance(node, yaml.SequenceNode) and kind == "seq":
            return [self._value(item, (*path, i)) for i, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode) and kind == "map":
            return {key: self._value(value, (*path, key)) for key, value in self._entries(node, path)}
        tag = node.tag.replace(_TAG, "!!")
        self._document.spoilt.add(path)
        self._document.complain(
            path, f'the tag "{tag}" is not allowed; a manifest has plain values only. Remove the tag.'
        )
        return None

    def _count_text(self, node: yaml.ScalarNode) -> None:
        self._characters += len(node.value)
        if self._characters > MAX_BYTES:
            message = (
                f"more than {MAX_BYTES // 1_000_000} million characters after expanding aliases "
                "(a YAML bomb?); write it shorter."
            )
            place = node.start_mark.line + 1, node.start_mark.column + 1
            raise ManifestError([*self._document.problems, Problem(self._document.name, *place, "", message)])

    def _scalar(self, node: yaml.ScalarNode, kind: str, path: DataPath) -> Any:
        try:
            return self._scalars[kind](node.value)
        except ValueError as error:
            self._document.spoilt.add(path)
            self._document.complain(path, str(error))
            return None

    def _entries(self, node: yaml.MappingNode, path: DataPath) -> Iterator[tuple[str, yaml.Node]]:
        for key, value in node.value:
            mark = Mark(key.start_mark.line + 1, key.start_mark.column + 1, key.value)
            message = _key_message(key)
            if message:
                problem = Problem(self._document.name, mark.line, mark.column, dotted(path), message)
                self._document.add(problem)
                self._document.spoilt.add(path)
                continue
            self._count_text(key)
            first = self._document.keys.get((*path, key.value))
            if first:
                place = f"line {first.line}, column {first.column}"
                message = f'the key "{shorten(key.value)}" is given twice, first in {place}.'
                problem = Problem(self._document.name, mark.line, mark.column, dotted(path), message)
                self._document.add(problem)
                continue
            self._document.keys[(*path, key.value)] = mark
            yield key.value, value


def _key_message(key: yaml.Node) -> str:
    if not isinstance(key, yaml.ScalarNode):
        return "a key must be a word, not a list or a mapping."
    kind = key.tag.removeprefix(_TAG)
    if kind == "merge":
        return 'merge keys ("<<") are not part of this format; write the keys out.'
    if kind in {"bool", "int", "float", "null"}:
        meaning = {"bool": "as true or false", "null": "as nothing"}.get(kind, "as a number")
        word = shorten(key.value)
        return f'the key {word or "(empty)"} is read {meaning}; for text, put it in quotes: "{word}".'
    if kind not in {"str", "timestamp", "value"}:
        return f'the tag "{key.tag.replace(_TAG, "!!")}" is not allowed; a manifest has plain keys only.'
    unwanted = _unwanted(key.value)
    return f"a key has {unwanted}; remove it." if unwanted else ""


def _unwanted(text: str) -> str:
    """Return what is in a text and cannot be written to a file, or would steer a terminal; else nothing."""
    found = _UNWANTED.search(text)
    if found is None:
        return ""
    if found[0] >= "\ud800":
        return "half a surrogate pair, which is not a character"
    return f"the control character U+{ord(found[0]):04X}"


def _text(text: str) -> str:
    unwanted = _unwanted(text)
    if unwanted:
        raise ValueError(f"the text has {unwanted}; remove it.")
    return text


def _truth(text: str) -> bool:
    if text.lower() not in _TRUTH:
        raise ValueError(f"{text[:40]} is marked as a truth value and is none; write true or false.")
    return _TRUTH[text.lower()]


def _nothing(text: str) -> None:
    if text.lower() not in {"", "~", "null"}:
        raise ValueError(f"{text[:40]} is marked as nothing (null) and is not empty; remove the tag.")


def _whole_number(text: str) -> int:
    if not _DECIMAL.fullmatch(text):
        raise ValueError(
            f"{text[:40]} is no plain decimal number (YAML reads it in another base); "
            "write decimal digits, or put it in quotes if it is text."
        )
    if len(text) > 25:
        raise ValueError(f"the number {text[:12]}… has too many digits.")
    return int(text.replace("_", ""))


def _number(text: str) -> float:
    plain = text.replace("_", "").lower()
    try:
        return float({".inf": "inf", "+.inf": "inf", "-.inf": "-inf", ".nan": "nan"}.get(plain, plain))
    except ValueError:
        raise ValueError(
            f"{text[:40]} is no plain decimal number (YAML reads it in another base); "
            "write decimal digits, or put it in quotes if it is text."
        ) from None
