"""The source with the Fourier amplitudes, the mean luminance and the contrast of the set."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from stimgen.controls.registration import ImageWithResiduals, Materials, register_control
from stimgen.images.pixels import Image
from stimgen.matching.apply import Targets, clip_to_display, match, residuals
from stimgen.references import WILLENBOCKEL_2010


@register_control("spectrum_matched_set", seeded=False, uses_set=True, references=(WILLENBOCKEL_2010,))
def spectrum_matched_set(
    source: Image,
    rng: np.random.Generator,
    materials: Materials,
    *,
    spectrum: Annotated[
        Literal["rotational", "full"],
        Field(
            description="Match the amplitude at every frequency (full), or their rotational average, which "
            "keeps orientations (rotational)."
        ),
    ] = "full",
) -> ImageWithResiduals:
    """Return the source with the Fourier amplitudes, mean luminance and contrast of the set.

    First the mean amplitudes of the sources (`match_full_spectrum`) or their rotational average
    (`match_rotational_spectrum`), then the mean of their means and of their standard deviations
    (`match_luminance`), as the SHINE toolbox does; phases stay. In colour images each channel by itself, or
    the luminance alone where the manifest's `matching` says so.

    Values may leave 0..1. The residuals are those of `stimgen.matching.apply.Residuals`, after clipping:
    "spectrum", of the amplitudes at all frequencies whichever spectrum was matched, "mean" and "contrast".
    """
    the_set = materials.the_set
    assert the_set is not None, "it is registered with uses_set"
    targets = Targets(
        full_spectrum=the_set if spectrum == "full" else None,
        rotational_spectrum=the_set if spectrum == "rotational" else None,
        luminance=the_set,
        channels=the_set.channels,
    )
    image = match(source, targets, rng)
    compared = replace(targets, full_spectrum=the_set, rotational_spectrum=None)
    left = residuals(clip_to_display(image)[0], compared)
    return ImageWithResiduals(image, {k: v for k, v in vars(left).items() if v is not None})
