from __future__ import annotations

from pathlib import Path

from manifest_texts import load

from stimgen.manifest.plan import plan


def test_order_is_textures_then_controls_by_source_condition_seed(tmp_path: Path) -> None:
    manifest = load(
        tmp_path,
        sources=["skimage:brick", "skimage:grass"],
        layer_sets={"b": ["pool2"], "a": ["pool1"]},
        seeds=[5, 2],
        controls=["phase_scrambled", {"name": "original", "id": "source_itself"}],
    )
    stimuli = plan(manifest)
    assert [stimulus.stimulus_id for stimulus in stimuli] == [
        "brick-b-s5", "brick-b-s2", "brick-a-s5", "brick-a-s2",
        "grass-b-s5", "grass-b-s2", "grass-a-s5", "grass-a-s2",
        "brick-phase_scrambled-s5", "brick-phase_scrambled-s2", "brick-source_itself",
        "grass-phase_scrambled-s5", "grass-phase_scrambled-s2", "grass-source_itself",
    ]  # fmt: skip
    texture, control = stimuli[0], stimuli[10]
    assert (texture.source, texture.condition, texture.kind, texture.seed) == ("brick", "b", "texture", 5)
    assert texture.layer_set is manifest.layer_sets["b"]
    assert texture.control is None
    assert (control.condition, control.kind, control.seed) == ("source_itself", "control", None)
    assert control.control is manifest.controls[1]
    assert control.layer_set is None
