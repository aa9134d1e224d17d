from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stimgen.networks.architectures import NETWORKS
from stimgen.texture.schedule import layers_at

VGG = ["vgg16", "vgg19"]


@pytest.mark.parametrize(
    ("layer", "side"),
    [("conv1_1", 3), ("conv1_2", 5), ("pool1", 6), ("pool2", 16), ("pool3", 44), ("pool4", 100)],
)
def test_receptive_fields_of_vgg16(layer: str, side: int) -> None:
    assert NETWORKS["vgg16"]().receptive_field(layer) == side


@given(st.data(), st.sampled_from(VGG), st.sampled_from([1, 2, 4, 8]))
def test_no_scale_sees_further_than_the_layer_set(data: st.DataObject, name: str, factor: int) -> None:
    vgg = NETWORKS[name]()
    layers = data.draw(st.lists(st.sampled_from(vgg.layers), min_size=1, unique=True))
    used = layers_at(vgg, layers, 512 // factor, 512)
    assert set(used) <= set(layers)
    largest = max(vgg.receptive_field(layer) for layer in layers)
    assert all(vgg.receptive_field(layer) * factor <= largest for layer in used)
    if factor == 1:
        assert set(used) == set(layers)


def test_the_ladder_shrinks_by_a_rung_per_octave() -> None:
    vgg, ladder = NETWORKS["vgg16"](), ["conv1_1", "pool1", "pool2", "pool3", "pool4"]
    assert [layers_at(vgg, ladder, side, 512)[-1] for side in (32, 64, 128, 256, 512)] == [
        "pool1",
        "pool1",
        "pool2",
        "pool3",
        "pool4",
    ]
