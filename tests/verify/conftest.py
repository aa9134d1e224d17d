from __future__ import annotations

import shutil

import pytest
from PIL import Image as Pillow
from run_fixtures import as_finished, control, finished, one_thread, weights_read_once
from run_manifests import tiny
from skimage import data
from tampering import LIST

from stimgen.runs.runner import run
from stimgen.runs.store import RunFolder

__all__ = ["as_finished", "control", "finished", "one_thread", "weights_read_once"]


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A finished run with a source file of its own and a trial list; copy it before changing it."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "manifests").mkdir()
    Pillow.fromarray(data.brick()[:64, :64]).save(folder / "manifests" / "brick.png")
    sources = [{"id": "brick", "image": "brick.png"}]
    result = run(tiny(folder, sources=sources, layer_sets={"pool1": ["conv1_1", "pool1"]}, trials=LIST))
    assert (result.made, len(result.trial_lists)) == (5, 1)
    return folder


@pytest.fixture
def there(made, tmp_path):
    """A copy of the run with its source where it was."""
    shutil.copytree(made, tmp_path / "copy")
    return RunFolder(tmp_path / "copy" / "results" / "tiny")
