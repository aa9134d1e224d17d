from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from control_images import materials, photograph

from stimgen.controls import CONTROLS
from stimgen.networks.extractor import build_extractor
from stimgen.networks.weights import find_weights
from stimgen.texture.objective import to_batch
from stimgen.texture.statistics.gram import gram_matrices

make = CONTROLS["random_weights"].make


def test_image_matches_the_source_in_the_random_network():
    source = photograph("brick", 48, 48)
    with_model = materials(source)
    preset = with_model.texture.preset.model_copy(update={"evaluations": (40,)})
    with_model = replace(with_model, texture=replace(with_model.texture, preset=preset))
    made = make(source, np.random.default_rng(1), with_model, {"weights_seed": 5})
    weights = find_weights("vgg16", "random:5")
    extractor = build_extractor(weights, padding="mirrored", normalise=False, deepest="conv1_1")
    grams = {}
    for name, image in {"image": made.image, "source": source}.items():
        grams[name] = (
            gram_matrices(extractor, to_batch([image], "cpu"), ["conv1_1"])["conv1_1"].double().numpy()
        )
    # The loss of the paper, from the image itself, in NumPy.
    loss = ((grams["image"] - grams["source"]) ** 2).sum() / (4 * 64**2)
    assert made.synthesis.loss == pytest.approx(loss, rel=1e-3)
    relative = np.sqrt(((grams["image"] - grams["source"]) ** 2).sum() / (grams["source"] ** 2).sum())
    assert made.residuals["gram"] == pytest.approx(relative, rel=1e-3)
    assert loss < 1e-4 * (grams["source"] ** 2).sum() / (4 * 64**2)
