from __future__ import annotations

from run_manifests import tiny

from stimgen.manifest.plan import plan
from stimgen.runs.batches import measured_layers, plan_batches

MIXED = {
    "sources": ["skimage:brick", "skimage:gravel"],
    "layer_sets": {
        "deep": ["conv1_1", "pool2"],
        "other": {"layers": ["pool1"], "network": {"pooling": "max"}},
        "shallow": ["conv1_1"],
        "middle": ["pool1"],
    },
}


def batches_of(folder, batch_size, **changes):
    manifest = tiny(folder, **changes)
    return plan_batches(manifest, plan(manifest), batch_size)


def test_controls_come_first_and_one_by_one(tmp_path):
    batches = batches_of(tmp_path, 4, **MIXED)
    kinds = [{stimulus.kind for stimulus in batch.stimuli} for batch in batches]
    assert kinds == [{"control"}] * 6 + [{"texture"}] * 4
    assert all(len(batch.stimuli) == 1 for batch in batches[:6])


def test_textures_go_from_shallow_to_deep_within_their_network(tmp_path):
    batches = [batch for batch in batches_of(tmp_path, 3, **MIXED) if batch.stimuli[0].kind == "texture"]
    made = [[stimulus.stimulus_id for stimulus in batch.stimuli] for batch in batches]
    assert made == [
        ["brick-shallow-s1", "brick-shallow-s2", "gravel-shallow-s1"],
        ["gravel-shallow-s2", "brick-middle-s1", "brick-middle-s2"],
        ["gravel-middle-s1", "gravel-middle-s2", "brick-deep-s1"],
        ["brick-deep-s2", "gravel-deep-s1", "gravel-deep-s2"],
        ["brick-other-s1", "brick-other-s2", "gravel-other-s1"],
        ["gravel-other-s2"],
    ]
    assert [batch.network.pooling for batch in batches] == ["average"] * 4 + ["max"] * 2


def test_every_stimulus_is_in_one_batch(tmp_path):
    manifest = tiny(tmp_path, **MIXED)
    for batch_size in (1, 5, 100):
        batches = plan_batches(manifest, plan(manifest), batch_size)
        made = [stimulus for batch in batches for stimulus in batch.stimuli]
        assert sorted(s.stimulus_id for s in made) == sorted(s.stimulus_id for s in plan(manifest))
        assert max(len(batch.stimuli) for batch in batches) <= batch_size
        assert batches == plan_batches(manifest, plan(manifest), batch_size)


def test_all_matched_layers_of_a_network_are_measured(tmp_path):
    manifest = tiny(tmp_path, **MIXED)
    assert measured_layers(manifest, manifest.network) == ("conv1_1", "pool1", "pool2")
    assert measured_layers(manifest, manifest.layer_sets["other"].network) == ("pool1",)
