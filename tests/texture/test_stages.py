from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from stimgen.networks.architectures import NETWORKS
from stimgen.texture.presets import (
    FIRST_FLOOR,
    FLOOR,
    SHALLOW_FLOOR,
    Gatys2015,
    Multiscale,
    layers_at,
    stages,
)

ALL = list(NETWORKS)


@given(st.data(), st.sampled_from(ALL), st.sampled_from([1, 2, 4, 8]))
def test_no_scale_sees_more_than_the_layer_set(data: st.DataObject, name: str, factor: int) -> None:
    network = NETWORKS[name]()
    layers = data.draw(st.lists(st.sampled_from(network.layers), min_size=1, unique=True))
    used = layers_at(network, layers, 512 // factor, 512)
    assert set(used) <= set(layers)
    largest = max(network.receptive_field(layer) for layer in layers)
    assert all(network.receptive_field(layer) * factor <= largest for layer in used)
    assert factor == 1 or all(network.smallest_px(layer) * factor <= 512 for layer in used)
    if factor == 1:
        assert set(used) == set(layers)


def test_a_layer_without_a_position_is_left_out() -> None:
    alexnet = NETWORKS["alexnet"]()
    # pool2 sees 67 of 40 px, and conv5 163; but pool2 has no position in an image below 31 px.
    assert layers_at(alexnet, ["conv1", "pool2", "conv5"], 20, 40) == ("conv1",)
    assert layers_at(alexnet, ["conv1", "pool2", "conv5"], 31, 62) == ("conv1", "pool2")
    assert layers_at(alexnet, ["conv1", "pool2", "conv5"], 40, 40) == ("conv1", "pool2", "conv5")


@given(st.data(), st.sampled_from(ALL), st.integers(32, 600))
def test_stages_go_from_coarse_and_shallow_to_all_at_full_size(
    data: st.DataObject, name: str, size_px: int
) -> None:
    network = NETWORKS[name]()
    fitting = [layer for layer in network.layers[:14] if network.smallest_px(layer) <= size_px]
    layers = data.draw(st.lists(st.sampled_from(fitting), min_size=1, unique=True))
    preset = Multiscale(smallest_px=data.draw(st.sampled_from([16, 64])), shallow_evaluations=(3, 4, 5))
    plan = stages(preset, network, layers, size_px)
    assert list(plan) == sorted(plan)
    assert all(network.smallest_px(layer) <= stage.size_px for stage in plan for layer in stage.layers)
    assert len({(stage.size_px, stage.rung) for stage in plan}) == len(plan)
    assert [stage.plain for stage in plan] == [False] * (len(plan) - 1) + [True]
    assert [stage.size_px for stage in plan[-2:]] == [size_px, size_px]
    assert set(plan[-1].layers) == set(plan[-2].layers) == set(layers)
    assert plan[-1].evaluations == preset.plain_evaluations
    # At full size, all layers have a first, an adapted and a plain stage, in which L-BFGS goes on.
    *before, first, adapted, plain = plan
    assert [(stage.floor, stage.continues) for stage in (first, adapted, plain)] == [
        (FIRST_FLOOR, False),
        (None, True),
        (0, True),
    ]
    assert first.evaluations + adapted.evaluations == preset.evaluations[-1]
    # All layers of a size come last; those before are shallow.
    last = {stage.size_px: stage.rung for stage in plan}
    floors = {True: SHALLOW_FLOOR, False: FLOOR}
    assert [stage.floor for stage in before] == [floors[stage.rung < last[stage.size_px]] for stage in before]
    assert not any(stage.continues for stage in before)
    for shallow, deep in pairwise([*before, first]):
        if shallow.size_px == deep.size_px:
            assert set(shallow.layers) < set(deep.layers)
            assert shallow.evaluations == (3, 4, 5)[shallow.rung]
            assert max(network.stride(layer) for layer in shallow.layers) <= 2 ** (shallow.rung + 1)
    assert not plan[0].enlarged
    assert all(stage.enlarged == (stage.size_px > plan[0].size_px) for stage in plan)


def test_stages_of_all_layer_sets_have_the_same_budgets() -> None:
    """Size and rung say what is done together: evaluations there do not depend on the layer set."""
    vgg = NETWORKS["vgg16"]()
    ladder = ["conv1_1", "pool1", "pool2", "pool3", "pool4"]
    budgets: dict[tuple[int, int], set[int]] = {}
    for count in range(1, 6):
        for stage in stages(Multiscale(), vgg, ladder[:count], 256):
            budgets.setdefault((stage.size_px, stage.rung), set()).add(stage.evaluations)
    assert all(len(budget) == 1 for budget in budgets.values())


def test_the_published_procedure_has_one_stage() -> None:
    (stage,) = stages(Gatys2015(iterations=9), NETWORKS["vgg16"](), ["pool1", "conv1_1"], 256)
    assert (stage.size_px, stage.layers, stage.evaluations) == (256, ("conv1_1", "pool1"), 9)
