from __future__ import annotations

import pandas as pd
import pytest

from benchmarks.paper import summary


def test_distances_are_averaged_over_the_file_and_the_two_kinds_of_layers(tmp_path):
    shared = {"source": "brick", "size_px": 128, "network": "vgg16", "weights": "imagenet"}
    shared |= {"measured_in": "vgg16 imagenet", "residual_gram": 0.01}
    texture = {"stimulus_id": "brick-a-s1", "condition": "a", "kind": "texture", "seed": 1, "parameters": 20}
    original = {"stimulus_id": "brick-original", "condition": "original", "kind": "control"}
    pd.DataFrame([texture | shared, original | shared]).to_csv(tmp_path / "stimuli.csv", index=False)
    values = {"conv1_1": 0.1, "pool4": 0.3, "conv1_2": 0.5, "conv4_1": 0.9}
    distances = [
        {"stimulus_id": name, "stage": stage, "layer": layer, "gram_relative": value * factor}
        for name, stage, factor in (
            ("brick-a-s1", "file", 1),
            ("brick-a-s1", "optimised", 2),
            ("brick-original", "file", 3),
        )
        for layer, value in values.items()
    ]
    pd.DataFrame(distances).to_csv(tmp_path / "gram_distances.csv", index=False)
    (row,) = summary(tmp_path).to_dict("records")
    assert row["matched_layers"] == pytest.approx(0.2)
    assert row["held_out_layers"] == pytest.approx(0.7)
    assert (row["condition"], row["seed"], row["parameters"]) == ("a", 1, 20)
