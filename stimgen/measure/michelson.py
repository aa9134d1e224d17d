"""Contrast from the extremes of luminance."""

from __future__ import annotations

from stimgen.column import Column
from stimgen.measure.decoded import DecodedImage
from stimgen.measure.registration import Values, register_statistic


@register_statistic(
    "michelson",
    order=11,
    any_place=True,
    columns=(
        Column(
            "michelson_contrast",
            "Michelson contrast",
            "(luminance_max - luminance_min) / (luminance_max + luminance_min): the contrast of a grating. "
            "In a texture two pixels decide; see rms_contrast. Empty for a black image.",
            origin="Michelson (1927), Studies in Optics",
        ),
    ),
)
def michelson_contrast(image: DecodedImage) -> Values:
    """Return (L_max − L_min) / (L_max + L_min) (Michelson 1927); None for a black image."""
    low, high = float(image.luminance.min()), float(image.luminance.max())
    return {"michelson_contrast": (high - low) / (high + low) if high else None}
