from __future__ import annotations

import re
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from manifest_texts import load

from stimgen.manifest.plan import plan

IDS = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,6}", fullmatch=True).filter(
    lambda word: word.lower() not in {"nan", "inf", "na", "null", "none", "true", "false"}
)


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


@given(
    sources=st.lists(IDS, min_size=1, max_size=4, unique_by=str.lower),
    conditions=st.lists(IDS, min_size=3, max_size=5, unique_by=str.lower),
    seeds=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=3, unique=True),
)
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_ids_are_unique_file_names(
    tmp_path: Path, sources: list[str], conditions: list[str], seeds: list[int]
) -> None:
    manifest = load(
        tmp_path,
        sources=[{"id": source, "image": "skimage:brick"} for source in sources],
        layer_sets={condition: ["pool1"] for condition in conditions[2:]},
        seeds=seeds,
        controls=[
            {"name": "original", "id": conditions[0]},
            {"name": "phase_scrambled", "id": conditions[1]},
        ],
    )
    stimuli = plan(manifest)
    # Case is ignored by the file systems of Windows and macOS.
    assert len({stimulus.stimulus_id.lower() for stimulus in stimuli}) == len(stimuli)
    assert len(stimuli) == len(sources) * (1 + len(seeds) * (len(conditions) - 1))
    assert all(re.fullmatch(r"\w+-\w+(-s\d+)?", stimulus.stimulus_id) for stimulus in stimuli)
