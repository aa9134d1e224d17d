from __future__ import annotations

import inspect
from typing import Annotated

import numpy as np
import pytest
from control_images import SEEDS, materials, sources
from hypothesis import given, settings
from pydantic import Field

from stimgen.controls import CONTROLS, Control, register_control
from stimgen.controls.registration import options_model
from stimgen.errors import InputError, StimgenError
from stimgen.images.pixels import Image
from stimgen.images.read import read_image

WITHOUT_MATERIALS = [
    name
    for name, control in CONTROLS.items()
    if "materials" not in inspect.signature(control.function).parameters
]


QUICK = {"portilla_simoncelli": {"iterations": 1, "scales": 2}}
"""Options of controls that take long, or do not suit small images."""


@pytest.fixture(params=["grey", "rgb"])
def source(request):
    name = {"grey": "skimage:brick", "rgb": "skimage:coffee"}[request.param]
    return np.ascontiguousarray(read_image(name).pixels[:96, :96])


def scaled(
    source: Image,
    rng: np.random.Generator,
    *,
    gain: Annotated[float, Field(gt=0, description="Factor.")] = 1.0,
    sides: tuple[int, int] | None = None,
) -> Image:
    """Return the source, scaled.

    More words.
    """
    return source * np.float32(gain)


@pytest.mark.parametrize("name", list(CONTROLS))
def test_same_seed_gives_same_image_and_the_source_stays(name, source):
    control = CONTROLS[name]
    assert control.name == name
    assert control.function.__doc__
    options = control.options(**QUICK.get(name, {})).model_dump()
    before = source.copy()
    image = control.make(source, np.random.default_rng(1), materials(source), options).image
    np.testing.assert_array_equal(source, before)
    assert not np.shares_memory(image, source)
    assert image.dtype == np.float32
    assert image.shape == source.shape
    assert np.isfinite(image).all()
    again = control.make(source, np.random.default_rng(1), materials(source), options).image
    other = control.make(source, np.random.default_rng(2), materials(source), options).image
    np.testing.assert_array_equal(image, again)
    assert (not np.array_equal(image, other)) == control.seeded


@pytest.mark.parametrize("name", WITHOUT_MATERIALS)
@settings(deadline=None, max_examples=40)
@given(source=sources(), seed=SEEDS)
def test_every_image_is_finite_or_refused(name, source, seed):
    control = CONTROLS[name]
    try:
        made = control.make(source, np.random.default_rng(seed), None, control.options().model_dump())
    except InputError:
        return
    assert made.image.shape == source.shape
    assert np.isfinite(made.image).all()
    assert np.isfinite(list(made.residuals.values())).all()


@pytest.mark.parametrize(
    ("returned", "found"),
    [
        (np.zeros((2, 3), np.float32), r"float32 and the shape \(2, 3\)"),
        (np.zeros((2, 2), np.uint8), "type uint8"),
        (None, "type NoneType"),
    ],
)
def test_another_type_or_shape_is_an_error(returned, found):
    def faulty(source: Image, rng: np.random.Generator) -> Image:
        return returned

    control = Control("faulty", faulty, False, options_model("faulty", faulty))
    with pytest.raises(StimgenError, match=rf'The control "faulty" returned an .*{found}'):
        control.make(np.zeros((2, 2), np.float32), np.random.default_rng(0), None, {})


def test_a_control_cannot_write_to_its_source():
    def faulty(source: Image, rng: np.random.Generator) -> Image:
        source[:] = 1
        return source

    source = np.zeros((2, 2), np.float32)
    control = Control("faulty", faulty, False, options_model("faulty", faulty))
    with pytest.raises(ValueError, match="read-only"):
        control.make(source, np.random.default_rng(0), None, {})
    assert source.max() == 0
    source[:] = 1  # the source itself stays as it was


def test_keyword_only_arguments_become_options():
    options = options_model("scaled", scaled)
    assert options().model_dump() == {"gain": 1.0, "sides": None}
    assert options(gain=2, sides=[3, 4]).model_dump() == {"gain": 2.0, "sides": (3, 4)}
    schema = options.model_json_schema()
    assert schema["properties"]["gain"]["description"] == "Factor."
    assert schema["description"] == "Return the source, scaled."
    assert schema["additionalProperties"] is False


def no_generator(source: Image) -> Image:
    return source


def no_default(source: Image, rng: np.random.Generator, *, gain: float) -> Image:
    return source


@pytest.mark.parametrize("function", [no_generator, no_default])
def test_other_signatures_are_refused(function):
    with pytest.raises(TypeError, match="must have the signature"):
        register_control("wrong")(function)
    assert "wrong" not in CONTROLS
