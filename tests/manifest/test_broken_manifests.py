"""Every manifest in broken/ is refused with exactly the messages in the file of the same name.

To write the messages anew after changing them on purpose, and to review the difference:
STIMGEN_WRITE_MESSAGES=1 pytest tests/manifest/test_broken_manifests.py
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stimgen.controls import CONTROLS
from stimgen.errors import InputError
from stimgen.manifest.load import load_manifest
from stimgen.manifest.problems import ManifestError
from stimgen.networks.architectures import NETWORKS

FOLDER = Path(__file__).parent / "broken"
MANIFESTS = sorted(path.name for path in FOLDER.glob("*.yaml"))


def messages(error: ManifestError) -> str:
    text = str(error).replace(str(FOLDER.resolve()), "FOLDER")
    # Registered names are left out, so that a new control or network changes no message here.
    for registry, word in ((CONTROLS, "CONTROLS"), (NETWORKS, "NETWORKS")):
        text = text.replace(f"Known: {', '.join(registry)}.", f"Known: {word}.")
    return text + "\n"


@pytest.mark.parametrize("name", MANIFESTS)
def test_message_is_the_recorded_one(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STIMGEN_CACHE", str(tmp_path))
    monkeypatch.chdir(FOLDER)
    with pytest.raises(ManifestError) as caught:
        load_manifest(name)
    recorded = (FOLDER / name).with_suffix(".txt")
    if os.environ.get("STIMGEN_WRITE_MESSAGES"):
        recorded.write_text(messages(caught.value), encoding="utf-8")
    assert messages(caught.value) == recorded.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", MANIFESTS)
def test_message_is_in_the_readers_words(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    with pytest.raises(ManifestError) as caught:
        load_manifest(name)
    for jargon in (
        "Input should",
        "input",
        "Field required",
        "validation",
        "Tuple",
        "dictionary",
        "pydantic",
    ):
        assert jargon not in str(caught.value)


def test_there_is_a_manifest_for_every_message_and_enough_of_them() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.txt")) == [Path(name).stem for name in MANIFESTS]
    assert len(MANIFESTS) >= 30


def test_errors_carry_exit_code_2_and_places_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    with pytest.raises(ManifestError) as caught:
        load_manifest("unknown_keys.yaml")
    places = [(problem.line, problem.column) for problem in caught.value.errors]
    assert places == sorted(places)
    assert isinstance(caught.value, InputError)
    assert caught.value.exit_code == 2
