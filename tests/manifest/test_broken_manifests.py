"""Every manifest in broken/ is refused with exactly the messages in the file of the same name.

To write the messages anew after changing them on purpose, and to review the difference:
STIMGEN_WRITE_MESSAGES=1 pytest tests/manifest/test_broken_manifests.py
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stimgen.controls import CONTROLS
from stimgen.manifest.document import ManifestError
from stimgen.manifest.load import load_manifest
from stimgen.networks.architectures import NETWORKS

FOLDER = Path(__file__).parent / "broken"
MANIFESTS = sorted(path.name for path in FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("name", MANIFESTS)
def test_message_is_the_recorded_one(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STIMGEN_CACHE", str(tmp_path))
    monkeypatch.chdir(FOLDER)
    with pytest.raises(ManifestError) as caught:
        load_manifest(name)
    message = str(caught.value).replace(str(FOLDER.resolve()), "FOLDER") + "\n"
    # Registered names are left out, so that a new control or network changes no message here.
    for registry, word in ((CONTROLS, "CONTROLS"), (NETWORKS, "NETWORKS")):
        message = message.replace(f"Known: {', '.join(registry)}.", f"Known: {word}.")
    recorded = (FOLDER / name).with_suffix(".txt")
    if os.environ.get("STIMGEN_WRITE_MESSAGES"):
        recorded.write_text(message, encoding="utf-8")
    assert message == recorded.read_text(encoding="utf-8")
    places = [(problem.line or 0, problem.column or 0) for problem in caught.value.errors]
    assert places == sorted(places)
    assert caught.value.exit_code == 2
