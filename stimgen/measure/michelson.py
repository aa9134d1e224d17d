"""Contrast from the extremes of luminance."""

from __future__ import annotations

from stimgen.column import Column
from stimgen.measure.decoded import DecodedImage
from stimgen.measure.registration import Values, register_statistic


@register_statistic(
    "michelson",
    order=11,
    columns=(
        Column(
            "michelson_contrast",
            "Michelson contrast",
            "(luminance_max - luminance_min) / (luminance_max + luminance_min): the contrast of a grating. "
            "In a texture two pixels decide; see rms_contrast. Empty for a black image.",
            "",
            "Michelson (1927), Studies in Optics",
        ),
    ),
)
def michelson_contrast(image: DecodedImage) -> Values:
    """Return the Michelson contrast (L_max − L_min) / (L_max + L_min); None for a black image.

    References
    ----------
    Michelson, A. A. (1927). Studies in Optics. University of Chicago Press.

    Peli, E. (1990). Contrast in complex images. J. Opt. Soc. Am. A 7, 2032–2040.
    """
    low, high = float(image.luminance.min()), float(image.luminance.max())
    return {"michelson_contrast": (high - low) / (high + low) if high else None}
