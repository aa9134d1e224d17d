"""A statistic to match is one class: one of feature maps and one of pixels, made here, are synthesised to."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from texture_problems import objective_of, random_network, texture
from torch import Tensor

from stimgen.errors import InputError, StimgenError
from stimgen.images.masks import place_inside
from stimgen.texture.presets import Gatys2015, Multiscale
from stimgen.texture.problem import Problem, SourceImage
from stimgen.texture.statistic import (
    STATISTICS,
    Statistic,
    Target,
    register_statistic,
    weighted_terms,
)
from stimgen.texture.synthesis import matched_distance, synthesise, synthesise_together

PRESETS = [Multiscale(smallest_px=16, evaluations=(30, 40), precision="float32"), Gatys2015(iterations=40)]


@pytest.fixture(autouse=True)
def statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the statistics for one test."""
    entries = {"gram": STATISTICS["gram"]}
    monkeypatch.setattr(STATISTICS, "_entries", entries)

    @register_statistic("channel_means")
    class ChannelMeans(Statistic):
        label = "channel mean"

        def features(self, maps: Tensor) -> Tensor:
            return maps.to(torch.promote_types(maps.dtype, torch.float32)).mean(dim=(2, 3))

        def loss(self, features: Tensor, target: Target) -> Tensor:
            return (features - target[0]).square().mean(dim=1)

    @register_statistic("contrast")
    class Contrast(Statistic):
        of_pixels = True

        def features(self, maps: Tensor) -> Tensor:
            return torch.stack([maps.mean(dim=(2, 3)), maps.std(dim=(2, 3))], dim=1)

        def loss(self, features: Tensor, target: Target) -> Tensor:
            return (features - target[0]).square().flatten(1).sum(dim=1)


def terms(*names: str) -> dict:
    layers = weighted_terms({"conv1_1": 1.0, "pool2": 2.0}, statistic="channel_means")
    kinds = {
        "means": layers,
        "contrast": weighted_terms({}, statistic="contrast", weight=10.0),
        "gram": weighted_terms({"pool1": 1.0}),
    }
    return {term: weight for name in names for term, weight in kinds[name].items()}


@pytest.mark.parametrize("preset", PRESETS, ids=["multiscale", "gatys2015"])
@pytest.mark.parametrize("names", [("contrast",), ("means", "contrast", "gram")], ids=" and ".join)
def test_synthesis_reaches_the_statistic(names, preset) -> None:
    network = random_network()
    ours = Problem(SourceImage(texture("gravel", 32)), terms(*names), np.random.default_rng(1))
    (made,) = synthesise([ours], network, preset)
    noise = np.random.default_rng(2).normal(0.5, 0.05, (32, 32)).astype(np.float32)
    assert matched_distance(ours, network, made.image) < matched_distance(ours, network, noise) / 5
    with torch.no_grad():
        reached = objective_of(ours, network).loss(torch.from_numpy(made.image)[None, None])
    assert made.loss == pytest.approx(reached.item(), rel=1e-3, abs=1e-9)


def test_problems_with_different_statistics_share_a_batch() -> None:
    """In float64; in float32, rounding in another order of sums grows within the descent."""
    network = random_network(torch.float64)
    goal = SourceImage(texture("gravel", 32))

    def problems() -> list[Problem]:
        kinds = [("means",), ("gram", "contrast"), ("contrast",)]
        return [Problem(goal, terms(*names), np.random.default_rng(7)) for names in kinds]

    preset = Multiscale(smallest_px=16, evaluations=(8, 8))
    shared = synthesise_together(problems(), network, preset)
    for ours, own in zip(shared, problems(), strict=True):
        (alone,) = synthesise_together([own], network, preset)
        np.testing.assert_allclose(ours.image, alone.image, atol=1e-4)


def test_unknown_statistics_and_components_are_refused() -> None:
    with pytest.raises(InputError, match='Unknown statistic "grams"'):
        weighted_terms({"conv1_1": 1.0}, statistic="grams")
    with pytest.raises(StimgenError, match="channel_means cannot be matched on principal components"):
        weighted_terms({"conv1_1": 1.0}, {"conv1_1": torch.eye(64)[:, :3]}, "channel_means")


@pytest.mark.parametrize("name", ["means", "contrast"])
def test_a_statistic_without_weights_is_refused_for_a_source_with_a_mask(name: str) -> None:
    """Unweighted, it would be of what lies outside, too."""
    inside = np.indices((32, 32))[0] < 20
    goal = SourceImage(texture("gravel", 32), inside)
    with pytest.raises(StimgenError, match="cannot be matched to a source with a mask"):
        goal.features(random_network(), terms(name), 0)


def test_coarse_scales_of_a_source_with_a_mask_are_weighted_too() -> None:
    """Against the weighted mean in NumPy, of maps of the image averaged down by two."""
    inside = np.indices((32, 32)).sum(axis=0) < 37
    source = texture("gravel", 32)
    source = place_inside(source[inside], inside)
    network = random_network()
    (found,) = SourceImage(source, inside).features(network, terms("gram"), 1).values()
    half, weights = (x.reshape(16, 2, 16, 2).mean(axis=(1, 3)) for x in (source, inside.astype(float)))
    batch = torch.from_numpy(half).to(network.gain).expand(1, 3, 16, 16)
    maps = network.features(batch, ["pool1"])["pool1"][0].double().numpy()
    weights = weights.reshape(8, 2, 8, 2).mean(axis=(1, 3))
    expected = np.einsum("ihw,jhw,hw->ij", maps, maps, weights) / weights.sum()
    np.testing.assert_allclose(found[0].numpy(), expected, rtol=1e-4, atol=1e-6)
