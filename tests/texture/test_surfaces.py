"""Images of one histogram, luminance or spectrum, against NumPy, and descents along them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stimgen.matching.apply import Reference, Targets, residuals
from stimgen.matching.surface import surface_of
from stimgen.texture.lbfgs import minimise
from stimgen.texture.surfaces import join

SHAPES = [((24, 24), "rgb"), ((20, 20, 3), "rgb"), ((20, 20, 3), "luminance")]
NAMES = ("histogram", "luminance", "full_spectrum", "rotational_spectrum")


def image(seed, *shape):
    rng = np.random.default_rng(seed)
    smooth = rng.normal(size=shape).cumsum(axis=0).cumsum(axis=1)
    levels = np.rint(40 + 150 * (smooth - smooth.min()) / np.ptp(smooth)) / 255
    return levels.astype(np.float32)


def batch(pixels):
    planes = pixels[..., None] if pixels.ndim == 2 else pixels
    return torch.from_numpy(np.moveaxis(planes, 2, 0).copy())[None]


def vector(seed, like):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=like.shape)).to(like)


def unbatch(images):
    planes = np.moveaxis(images[0].numpy(), 0, 2)
    return planes[..., 0] if planes.shape[2] == 1 else planes


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("shape", "channels"), [((24, 24), "rgb"), ((20, 20, 3), "rgb"), ((20, 20, 3), "luminance")]
)
def test_an_image_brought_to_the_surface_has_the_statistic(name, shape, channels):
    goal = Reference((image(1, *shape),), channels)
    surface = surface_of(name, goal, image(2, *shape))
    on_it = unbatch(surface.retract(batch(image(2, *shape))))
    found = residuals(on_it, Targets(**{name: goal}, channels=channels))
    # Equal values are spread over half a level.
    bound = 0.5 / 255 if name == "histogram" else 1e-5
    assert all(value is None or value < bound for value in vars(found).values())
    again = surface.retract(batch(on_it)).numpy()
    np.testing.assert_allclose(again, batch(on_it).numpy(), atol=2e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("shape", "channels"), SHAPES)
def test_tangents_are_projections_along_which_the_statistic_stays_to_first_order(name, shape, channels):
    goal = Reference((image(1, *shape),), channels)
    surface = join([surface_of(name, goal, image(2, *shape))], torch.zeros(1, dtype=torch.float64))
    point = surface.retract(batch(image(2, *shape)).double())
    along = surface.tangent(point)
    one, other = (vector(seed, point) for seed in (3, 4))
    torch.testing.assert_close(along(along(one)), along(one))
    torch.testing.assert_close((along(one) * other).sum(), (one * along(other)).sum())
    if name != "histogram":  # whose values are discrete
        step = 1e-5 * along(one)
        moved = surface.retract(point + step) - point
        assert (moved - step).norm() < 0.01 * step.norm()


def test_pixels_of_similar_values_change_by_nothing_on_average():
    goal = Reference((image(1, 32, 32),))
    surface = surface_of("histogram", goal, image(2, 32, 32))
    point = surface.retract(batch(image(2, 32, 32)))
    vector = surface.tangent(point)(
        torch.from_numpy(np.random.default_rng(3).normal(size=point.shape)).float()
    )
    ranked = vector.numpy().ravel()[np.argsort(point.numpy(), axis=None)]
    np.testing.assert_allclose(ranked.reshape(16, 64).mean(axis=1), 0, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_descent_stays_on_the_surfaces_of_a_batch_and_finds_the_nearest_image_there(name):
    goals = [Reference((image(seed, 16, 16),)) for seed in (1, 2)]
    surface = join([surface_of(name, goal, image(3, 16, 16)) for goal in goals], torch.zeros(1))
    wanted = torch.cat([batch(image(seed, 16, 16)) for seed in (4, 5)])

    def objective(images):
        return (images - wanted).square().sum(dim=(1, 2, 3)), 2 * (images - wanted)

    found = minimise(
        objective,
        torch.cat([batch(image(6, 16, 16))] * 2),
        lower=torch.full((2,), -10.0),
        upper=torch.full((2,), 10.0),
        evaluations=80,
        history=10,
        surface=surface,
    )
    nearest = surface.retract(wanted)
    assert (found.losses <= 1.1 * objective(nearest)[0] + 1e-4).all()
    for place, goal in enumerate(goals):
        left = residuals(unbatch(found.images[place : place + 1]), Targets(**{name: goal}))
        assert all(value is None or value < 1 / 255 for value in vars(left).values())


def test_a_grey_texture_has_no_surface_of_three_different_histograms():
    coloured, grey = image(1, 16, 16, 3), image(2, 16, 16)
    assert surface_of("histogram", Reference((coloured,)), grey) is None
    assert surface_of("histogram", Reference((np.stack([grey] * 3, axis=2),)), grey) is not None


@pytest.mark.parametrize(("black", "found"), [(0.2, True), (0.3, False)])
def test_images_with_one_value_in_many_pixels_are_matched_afterwards(black, found):
    levels = np.rint(255 * np.linspace(0.1, 1, 400)) / 255
    levels[: int(black * 400)] = 0
    reference = Reference((levels.reshape(20, 20).astype(np.float32),))
    assert (surface_of("histogram", reference, image(1, 20, 20)) is not None) == found
