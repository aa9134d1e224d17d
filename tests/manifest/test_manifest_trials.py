from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from manifest_texts import MINIMAL, load

from stimgen.manifest.check import summary
from stimgen.manifest.document import ManifestError
from stimgen.manifest.estimate import Estimate
from stimgen.manifest.json_schema import json_schema
from stimgen.manifest.load import load_manifest
from stimgen.manifest.plan import plan
from stimgen.trials import DESIGNS

THREE = {"sources": ["skimage:brick", "skimage:gravel", "skimage:grass"], "controls": ["original"]}
MORPH = {"design": "morph", "levels": {"pool4": 0.5, "shallow": 1}, "starts": [1], "presentation_s": 1}
VALID: list[Any] = [
    [{"design": "oddity", "crop_px": 64, "repeats": 10, "seed": 3, "accepted_only": True}],
    {"design": "two_interval", "task": "same_different", "crop_px": 64, "isi_s": 0},
    {
        "design": "rating",
        "keys": ["f", "j"],
        "conditions": ["pool4"],
        "sources": ["brick"],
        "min_source_gap": 0,
    },
    {"design": "category", "keys": {"pool4": "n", "original": "y", "shallow": "n"}, "by": "condition"},
    MORPH | {"trials_per_staircase": 5},
    [{"design": "oddity"}, {"design": "oddity", "id": "two"}, {"design": "rating", "id": "three"}],
    [],
]


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return json_schema()


def three(folder: Path, trials: Any) -> Any:
    layer_sets = {"pool4": ["conv1_1", "pool4"], "shallow": ["conv1_1"]}
    return load(folder, **THREE, layer_sets=layer_sets, trials=trials)


@pytest.mark.parametrize("trials", VALID)
def test_lists_load_and_load_again(tmp_path: Path, trials: Any, schema: dict[str, Any]) -> None:
    jsonschema.validate({**MINIMAL, "trials": trials}, schema)
    manifest = three(tmp_path, trials)
    asked = [trials] if isinstance(trials, dict) else trials
    assert [spec.id for spec in manifest.trials] == [entry.get("id", entry["design"]) for entry in asked]
    for spec, entry in zip(manifest.trials, asked, strict=True):
        options = spec.options.model_dump(mode="json")
        assert options | {k: v for k, v in entry.items() if k not in ("design", "id")} == options
        assert set(options) == set(DESIGNS[spec.design].options.model_fields)
    resolved = manifest.resolved(tmp_path)
    again = tmp_path / "again.yaml"
    again.write_text(yaml.safe_dump(resolved, sort_keys=False), encoding="utf-8")
    assert load_manifest(again).trials == manifest.trials
    # The order of levels, which must ascend, is kept.
    assert repr(load_manifest(again).trials) == repr(manifest.trials)
    assert load_manifest(again).resolved(tmp_path) == resolved


@pytest.mark.parametrize(
    "trials", ["oddity", {"design": "odity"}, {"design": "oddity", "keys": ["f"]}, {"design": "category"}]
)
def test_editors_find_what_does_not_load(tmp_path: Path, trials: Any, schema: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**MINIMAL, "trials": trials}, schema)
    with pytest.raises(ManifestError):
        three(tmp_path, trials)


def test_check_says_how_many_trials_and_how_long(tmp_path: Path) -> None:
    trials = [{"design": "oddity", "break_every": 10}, {"design": "rating", "id": "scale", "repeats": 1}]
    manifest = three(tmp_path, trials)
    text = summary(manifest, plan(manifest), Estimate(1.0, 1, "a CPU", "measured"))
    # 2 conditions, 3 sources, 5 repeats of 0.2 + 1.2 + 0.4 s; 3 conditions, 3 sources of 1 + 5 + 0.4 s.
    assert "Trials:    oddity: 30 trials in 3 blocks, 54 s at most, without breaks\n" in text
    assert "Trials:    scale (rating): 9 trials in 1 block, 58 s at most, without breaks\n" in text
