"""Where the power of an image lies on the axis of spatial frequency."""

from __future__ import annotations

from stimgen.column import Column
from stimgen.measure.decoded import DecodedImage
from stimgen.measure.registration import Values, register_statistic


@register_statistic(
    "frequency_centroid",
    order=31,
    columns=(
        Column(
            "frequency_centroid_cpi",
            "Centroid of spatial frequency",
            "sum f P / sum P over all frequencies f but zero, P the power in the spectrum behind a Laplacian "
            "and a Hann window. Empty for a constant image.",
            "cycles/image",
        ),
        Column(
            "frequency_centroid_cpd",
            "Centroid of spatial frequency",
            "The same in cycles per degree; empty where visual angle is unknown.",
            "cycles/deg",
        ),
    ),
)
def frequency_centroid(image: DecodedImage) -> Values:
    """Return the mean spatial frequency of an image's power, Σ f P / Σ P, in cycles per (shorter) side.

    P is the windowed spectrum (`stimgen.measure.spectrum`). White noise of N px has 0.38 N, a grating its
    own frequency.
    """
    spectrum = image.windowed_spectrum
    total = float(spectrum.power.sum())
    centroid = (
        float((spectrum.power * spectrum.radius).sum()) * min(spectrum.shape) / total if total else None
    )
    return {"frequency_centroid_cpi": centroid, "frequency_centroid_cpd": image.per_degree(centroid)}
