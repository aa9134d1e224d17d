"""Random manifests and images are read, or refused with an error that says why."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from fuzz_checks import check_image, check_manifest
from fuzz_seeds import images, manifest_words, manifests, with_right_checksums
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stimgen.images import pixels
from stimgen.manifest import document
from stimgen.manifest.document import ManifestError


def trees() -> list[Any]:
    """Return the small manifests of the repository that are YAML."""
    found = []
    for text in manifests():
        try:
            tree = document.parse(text.decode(), "").data
        except (ManifestError, UnicodeDecodeError):
            continue
        if isinstance(tree, dict) and len(text) < 3000 and b"&" not in text:
            found.append(tree)
    return found


TREES, IMAGES = trees(), images()
WORDS = st.sampled_from(manifest_words())
SCALARS = st.one_of(
    WORDS,
    st.sampled_from(
        ["", "../../x", "/etc/passwd", "con", "=1", "**", "[", "a..b", "conv1_1..pool9", "x" * 100]
    ),
    st.text(max_size=8),
    st.integers(-3, 5000) | st.sampled_from([2**31, 2**32, 10**20, 10**400]),
    st.floats() | st.booleans() | st.none(),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | SCALARS.map(str), inner, max_size=3),
    max_leaves=6,
)


def places(tree: Any) -> list[tuple[Any, Any]]:
    """Return every container of a tree with every key or index of it."""
    steps = list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    return [(tree, step) for step in steps] + [place for step in steps for place in places(tree[step])]


@st.composite
def changed_manifests(draw: st.DrawFn) -> Any:
    """Draw a manifest of the repository with some values changed, removed, moved or renamed."""
    tree = copy.deepcopy(draw(st.sampled_from(TREES)))
    for _ in range(draw(st.integers(1, 4))):
        found = places(tree)
        if not found:
            break
        container, step = found[draw(st.integers(0, len(found) - 1))]
        kind = draw(st.sampled_from(["value", "value", "take away", "copy", "key"]))
        if kind == "value":
            container[step] = draw(VALUES)
        elif kind == "take away":
            del container[step]
        elif kind == "copy":
            other, place = found[draw(st.integers(0, len(found) - 1))]
            other[place] = copy.deepcopy(container[step])
        elif isinstance(container, dict):
            container[draw(WORDS)] = container.pop(step)
        else:
            container.append(draw(VALUES))
    return tree


@pytest.fixture(autouse=True)
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "MAX_VALUES", 2000)
    monkeypatch.setattr(pixels, "MAX_PIXELS", 2**20)


RANDOM = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@RANDOM
@given(changed_manifests(), st.booleans())
def test_changed_manifests(tmp_path: Path, tree: Any, flow: bool) -> None:
    path = tmp_path / "m.yaml"
    text = yaml.safe_dump(tree, default_flow_style=flow, sort_keys=False, allow_unicode=True)
    path.write_bytes(text.encode("utf-8", errors="surrogatepass"))
    check_manifest(path)


@settings(RANDOM, max_examples=150)
@given(st.sampled_from(IMAGES), st.data())
def test_images_with_changed_bytes(content: bytes, data: st.DataObject) -> None:
    check_image(with_right_checksums(changed_bytes(content, data)))


def changed_bytes(content: bytes, data: st.DataObject) -> bytes:
    """Draw a file with bytes changed, cut out, doubled or inserted, most of them in its header."""
    for _ in range(data.draw(st.integers(1, 4))):
        end = len(content) if data.draw(st.booleans()) else min(len(content), 200)
        first = data.draw(st.integers(0, max(end - 1, 0)))
        last = min(first + data.draw(st.integers(0, 12)), len(content))
        part = data.draw(
            st.sampled_from([content[first:last] * 2, b"", b"\xff" * (last - first)]) | st.binary(max_size=12)
        )
        content = content[:first] + part + content[last:]
    return content
