from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from stimgen.errors import StimgenError
from stimgen.images.read import read_image
from stimgen.measure import portilla_simoncelli
from stimgen.measure.portilla_simoncelli import (
    FAMILIES,
    OVERALL,
    load_plenoptic,
    portilla_simoncelli_distances,
    size_problem,
    texture_model,
)

FEW = {"scales": 2, "orientations": 3, "width": 5}


def photograph(name, top=0, side=64):
    return read_image(f"skimage:{name}").pixels[top : top + side, :side].astype(np.float64)


@pytest.fixture(scope="module")
def pair():
    """An image and its source; of another contrast and mean, so that scaling counts."""
    return photograph("brick", 200) * 0.7 + 0.1, photograph("grass")


def representation(plane, scales=2, orientations=3, width=5):
    """What plenoptic says itself, without the constant entries of its dictionary."""
    plenoptic = load_plenoptic()
    model = plenoptic.models.PortillaSimoncelli(
        plane.shape, n_scales=scales, n_orientations=orientations, spatial_corr_width=width
    ).double()
    named = model.convert_to_dict(model(torch.as_tensor(plane)[None, None]))
    return {name: found[~found.isnan()].numpy() for name, found in named.items()}


def test_distances_are_those_of_plenoptics_own_statistics(pair):
    image, source = pair
    distances = portilla_simoncelli_distances(image, source, **FEW)
    assert list(distances) == [OVERALL, *FAMILIES]
    mean, sd = source.mean(), source.std()
    seen, goal = (representation((plane - mean) / sd) for plane in (image, source))
    assert {name for names in FAMILIES.values() for name in names} == set(goal)
    for family, names in FAMILIES.items():
        differences = np.concatenate([seen[name] - goal[name] for name in names])
        size = np.linalg.norm(np.concatenate([goal[name] for name in names]))
        assert distances[family] == pytest.approx(np.linalg.norm(differences) / size, rel=1e-9)
    squares = [distances[family] ** 2 for family in FAMILIES]
    assert distances[OVERALL] == pytest.approx(np.mean(squares) ** 0.5, rel=1e-12)


def test_an_image_is_at_no_distance_from_itself_and_its_luminance_counts():
    source = photograph("coffee")
    assert source.shape == (64, 64, 3)
    assert portilla_simoncelli_distances(source, source, **FEW) == dict.fromkeys([OVERALL, *FAMILIES], 0)
    grey = source @ [0.2126, 0.7152, 0.0722]
    # In a periodic world a texture does not depend on where it begins, up to the sampling of the pyramid.
    shifted = np.roll(grey, (4, 12), axis=(0, 1))
    assert portilla_simoncelli_distances(shifted, grey, scales=2, width=5)[OVERALL] < 1e-6
    in_colour, in_grey = (
        portilla_simoncelli_distances(x[::-1], x, scales=2, width=5)[OVERALL] for x in (source, grey)
    )
    assert in_colour == pytest.approx(in_grey)


def stripes():
    return np.broadcast_to(np.arange(64) // 8 % 2, (64, 64)).astype(np.float64)


def test_undefined_distances_are_none(pair):
    image, source = pair
    nothing = dict.fromkeys([OVERALL, *FAMILIES])
    flat = np.full_like(source, 0.3)
    assert portilla_simoncelli_distances(image, flat, **FEW) == nothing
    of_flat = portilla_simoncelli_distances(flat, source, **FEW)
    assert {name for name, found in of_flat.items() if found is not None} == {
        "std_reconstructed",
        "magnitude_std",
        "var_highpass_residual",
    }
    assert of_flat["std_reconstructed"] == pytest.approx(1)
    assert portilla_simoncelli_distances(stripes(), source, **FEW)["cross_scale_correlation_real"] is None
    assert portilla_simoncelli_distances(source, stripes(), **FEW)["auto_correlation_magnitude"] is None


@pytest.mark.parametrize(
    ("size", "scales", "width", "what"),
    [
        ((250, 250), 4, 7, "multiples of 32 px from 128 px on, and the image has 250 px"),
        ((256, 240), 4, 7, "the image has 240 px"),
        ((256, 96), 4, 7, "the image has 96 px"),
        ((128, 128), 4, 7, None),
        ((128, 128), 4, 9, "multiples of 32 px from 160 px on"),
        ((32, 48), 3, 3, None),
    ],
)
def test_unsuitable_sizes_are_refused(size, scales, width, what):
    problem = size_problem(*size, scales, width)
    assert (problem is None) == (what is None)
    if problem is None:
        plane = np.random.default_rng(0).random(size)
        assert portilla_simoncelli_distances(plane, plane, scales=scales, width=width)[OVERALL] == 0
    else:
        assert what in problem


def test_without_plenoptic_it_says_what_to_install(monkeypatch, pair):
    monkeypatch.setitem(sys.modules, "plenoptic", None)
    portilla_simoncelli._model.cache_clear()
    with pytest.raises(StimgenError, match=r"plenoptic") as caught:
        portilla_simoncelli_distances(*pair, **FEW)
    assert "pip install 'stimgen[ps]'" in caught.value.cure


def test_the_callers_random_numbers_stay():
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    texture_model((32, 32), 2, 2, 3)
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
