"""The source with the Fourier amplitudes, the mean luminance and the contrast of the set."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from stimgen.controls.registration import ImageWithResiduals, Materials, register_control
from stimgen.errors import StimgenError
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
    (`match_luminance`); phases stay. In colour images each channel by itself, or the luminance alone where
    the manifest's `matching` says so. Where sources differ, the mean of their amplitudes has less variance
    than they, so that the last step enlarges all amplitudes by one factor, and brings luminance and contrast
    exactly to those of the set.

    Values may leave 0..1. The residuals are those of `stimgen.matching.apply.Residuals`, after clipping:
    "spectrum", of the amplitudes at all frequencies whichever spectrum was matched, without the luminance's
    factor taken out, "mean" and "contrast".

    References
    ----------
    Willenbockel, V., Sadr, J., Fiset, D., Horne, G. O., Gosselin, F. & Tanaka, J. W. (2010). Controlling
    low-level image properties: the SHINE toolbox. Behavior Research Methods 42, 671–684.
    """
    the_set = materials.the_set
    if the_set is None:
        raise StimgenError("spectrum_matched_set needs a set of sources.", "Give it materials.the_set.")
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
