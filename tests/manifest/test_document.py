from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from stimgen.manifest.document import DataPath, Dumper, ManifestError, parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("256", 256), ("-3", -3), ("+4", 4), ("1_000", 1000), ("0.5", 0.5), ("1e9", 1e9), ("1.5e3", 1500.0),
        ("1E-3", 0.001), (".5e1", 5.0), ("1.", 1.0), ("yes", True), ("Off", False), ("~", None), ("", None),
        ("'no'", "no"), ('"1e9"', "1e9"), ("!!str 12", "12"), ("2015-01-01", "2015-01-01"), ("=", "="),
        ("skimage:brick", "skimage:brick"), ("1e", "1e"), ("a<<", "a<<"), ("e5", "e5"),
        (".inf", float("inf")),
    ],
)  # fmt: skip
def test_scalars(text: str, value: object) -> None:
    parsed = parse(f"key: {text}\n", "m.yaml")
    assert parsed.problems == []
    assert parsed.data == {"key": value}
    assert type(parsed.data["key"]) is type(value)


def test_dumped_texts_are_read_as_texts() -> None:
    data = {"a": ["1e9", "0E0", "no", "012"], "b": 1e9}
    assert parse(yaml.dump(data, Dumper=Dumper), "m.yaml").data == data


@pytest.mark.parametrize("text", ["010", "0o17", "0x1F", "0b11", "1:30", "1:30.5", "-012"])
def test_numbers_in_other_bases_are_refused_or_text(text: str) -> None:
    parsed = parse(f"key: {text}\n", "m.yaml")
    assert bool(parsed.problems) != isinstance(parsed.data["key"], str)


@pytest.mark.parametrize(
    "text",
    ["!!bool maybe", "!!null x", "!!int x", "!!float x", "9" * 5000, '"\\ud800"', "!foo {a: 1}", "!!set {a}"],
)
def test_what_cannot_be_read_is_a_problem_at_its_place(text: str) -> None:
    parsed = parse(f"stimgen: 1\nkey: {text}\n", "m.yaml")
    assert [(problem.line, problem.column) for problem in parsed.problems] == [(2, 6)]
    assert parsed.data["key"] is None
    assert ("key",) in parsed.spoilt


def test_depth_is_bounded_before_the_stack_is() -> None:
    assert parse("[" * 30 + "]" * 30, "m.yaml").problems == []
    with pytest.raises(ManifestError, match="deeper than 30"):
        parse("[" * 31 + "]" * 31, "m.yaml")


@pytest.mark.parametrize(
    "text", ["%YAML 1." + "9" * 5000 + "\n---\na: 1", '"\\UFFFFFFFF"', "a: *nowhere", "a: [", "\0"]
)
def test_text_that_is_not_yaml_has_a_place(text: str) -> None:
    with pytest.raises(ManifestError) as caught:
        parse(text, "m.yaml")
    assert caught.value.errors[0].line is not None


def paths(data: Any, path: DataPath = ()) -> list[DataPath]:
    children = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *(found for step, child in children for found in paths(child, (*path, step)))]


words = st.from_regex(r"[a-z]{1,6}", fullmatch=True).filter(
    lambda word: word not in {"no", "on", "yes", "off", "y", "n", "true", "false", "null"}
)
trees = st.recursive(
    st.one_of(words, st.just("größe"), st.integers(-(10**6), 10**6), st.booleans()),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(words, children, max_size=4),
    max_leaves=12,
)


@given(data=trees, flow=st.booleans(), indent=st.integers(2, 6))
@settings(deadline=None, max_examples=60)
def test_every_value_stands_where_its_position_says(data: object, flow: bool, indent: int) -> None:
    text = yaml.safe_dump(data, default_flow_style=flow, indent=indent, sort_keys=False, allow_unicode=True)
    parsed = parse(text, "m.yaml")
    assert parsed.data == data
    assert sorted(map(str, parsed.values)) == sorted(map(str, paths(data)))
    lines = text.split("\n")
    for node in [*parsed.values.values(), *parsed.keys.values()]:
        mark = node.start_mark
        if isinstance(node, yaml.ScalarNode):
            assert lines[mark.line][mark.column :].startswith(node.value)
