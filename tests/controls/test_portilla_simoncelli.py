from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
import torch
from control_images import materials, photograph, sources
from hypothesis import given, settings
from hypothesis import strategies as st

from stimgen.controls import CONTROLS
from stimgen.controls.phase_scrambled import phase_scrambled
from stimgen.controls.portilla_simoncelli import principal_components
from stimgen.errors import InputError
from stimgen.measure.portilla_simoncelli import (
    FAMILIES,
    OVERALL,
    load_plenoptic,
    portilla_simoncelli_distances,
)

CONTROL = CONTROLS["portilla_simoncelli"]
SMALL = {"scales": 2, "orientations": 2, "spatial_corr_width": 3}
MEASURE = {"scales": 2, "orientations": 2, "width": 3}


def make(source, seed=1, iterations=3, **options):
    options = CONTROL.options(**(SMALL | {"iterations": iterations} | options)).model_dump()
    return CONTROL.make(source, np.random.default_rng(seed), materials(source), options)


@pytest.mark.filterwarnings("ignore:input_tensor range")
def test_image_is_that_of_plenoptic():
    source = photograph("brick", 32, 32)
    made = make(source, seed=3, iterations=2)
    # Plenoptic's own synthesis, with the settings of its examples, from the same noise.
    plenoptic = load_plenoptic()
    low, high = source.min(), source.max()
    plane = (source.astype(np.float64) - low) / np.float64(high - low)
    noise = plane.mean() + plane.std() * np.random.default_rng(3).standard_normal(plane.shape)
    goal, start = (torch.as_tensor(x, dtype=torch.float32)[None, None] for x in (plane, noise))
    model = plenoptic.models.PortillaSimoncelli(
        (32, 32), n_scales=2, n_orientations=2, spatial_corr_width=3
    ).float()
    loss = plenoptic.loss.portilla_simoncelli_loss_factory(model, goal)
    metamer = plenoptic.Metamer(goal, model, loss_function=loss)
    kwargs = {"max_iter": 10, "max_eval": 10, "history_size": 100, "line_search_fn": "strong_wolfe", "lr": 1}
    metamer.setup(initial_image=start, optimizer=torch.optim.LBFGS, optimizer_kwargs=kwargs)
    with contextlib.redirect_stderr(io.StringIO()):
        metamer.synthesize(max_iter=2)
    expected = low + (high - low) * metamer.metamer.detach().numpy()[0, 0]
    np.testing.assert_allclose(made.image, expected, atol=2e-3)


@pytest.mark.parametrize("name", ["grass", "coffee"])
def test_statistics_come_nearer_and_the_residuals_say_how_near(name):
    source = photograph(name, 32, 32)
    first, later = (make(source, iterations=n) for n in (1, 3))
    assert set(later.residuals) == {"ps", *(f"ps_{family}" for family in FAMILIES)}
    measured = portilla_simoncelli_distances(later.image, source, **MEASURE)
    for name, distance in measured.items():
        assert later.residuals["ps" if name == OVERALL else f"ps_{name}"] == distance
    scrambled = portilla_simoncelli_distances(
        phase_scrambled(source, np.random.default_rng(1)), source, **MEASURE
    )
    assert later.residuals["ps"] < first.residuals["ps"]
    assert later.residuals["ps"] < scrambled[OVERALL] / 2


@settings(deadline=None, max_examples=20)
@given(sources())
def test_principal_components_are_uncorrelated_and_turn_back(source):
    components, axes, mean = principal_components(source)
    np.testing.assert_allclose((components @ axes.T + mean).reshape(source.shape), source, atol=1e-6)
    flat = components.reshape(-1, len(axes))
    covariance = flat.T @ flat / len(flat)
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-9)
    assert (np.diff(np.diag(covariance)) <= 1e-12).all()
    np.testing.assert_allclose(axes.T @ axes, np.eye(len(axes)), atol=1e-12)


def test_a_constant_channel_stays_so_and_a_grey_picture_in_rgb_stays_grey():
    grey = photograph("brick", 32, 32)
    image = make(np.repeat(grey[..., None], 3, axis=2)).image
    assert np.ptp(image, axis=2).max() < 1e-5
    only_red = np.stack([grey, np.full_like(grey, 0.25), np.full_like(grey, 0.5)], axis=2)
    image = make(only_red).image
    np.testing.assert_allclose(image[..., 1:], only_red[..., 1:], atol=1e-6)
    assert image[..., 0].std() > 0.01


def test_stripes_have_no_such_statistics():
    stripes = np.broadcast_to(np.arange(32) // 4 % 2, (32, 32)).astype(np.float32)
    with pytest.raises(InputError, match="empty in the source"):
        make(stripes)


@pytest.mark.parametrize(
    ("options", "size_px", "message"),
    [
        ({}, 256, None),
        ({}, 100, "needs multiples of 32 px from 128 px on, and the image has 100 px. Change size_px"),
        ({"spatial_corr_width": 8}, 256, "use 7 or 9"),
        ({"spatial_corr_width": 11}, 128, "from 192 px on"),
    ],
)
def test_the_size_is_checked_before_any_work(options, size_px, message):
    problem = CONTROL.check(CONTROL.options(**options).model_dump(), size_px)
    assert (problem is None) if message is None else (message in problem)


def test_constant_channels_stay_as_they_are():
    source = np.stack([photograph("brick", 32, 32), np.full((32, 32), 0.25), np.full((32, 32), 0.5)], axis=2)
    image = make(source.astype(np.float32)).image
    np.testing.assert_allclose(image[..., 1:], source[..., 1:], atol=1e-6)
    assert image[..., 0].std() > 0.01


@settings(deadline=None, max_examples=5)
@given(source=sources(st.just(16)))
def test_every_image_is_finite_or_refused(source):
    try:
        made = make(source, iterations=1)
    except InputError:
        return
    assert np.isfinite(made.image).all()
    assert np.isfinite(list(made.residuals.values())).all()
