"""The columns of stimuli.csv, and those of them that images made elsewhere have too."""

from __future__ import annotations

from dataclasses import replace

from stimgen.column import Column
from stimgen.measure.copying import CROPS_PX
from stimgen.runs.column import GATYS, ID

LEWIS = "Lewis (1995), Vision Interface 95:120"
PORTILLA = "Portilla & Simoncelli (2000), Int. J. Comput. Vis. 40:49"
SHINE = "Willenbockel et al. (2010), Behav. Res. Methods 42:671"

STIMULI = (
    ID,
    Column("filename", "File", "PNG file, relative to the run folder."),
    Column("source", "Source", "Id of the source texture in the manifest."),
    Column("condition", "Condition", "Name of the layer set or control in the manifest."),
    Column("kind", "Kind", '"texture" for a layer set, "control" for a control, synthesised or not.'),
    Column("seed", "Seed", "Tells exemplars apart; empty for a control without randomness."),
    Column("size_px", "Side", "Side of the square image.", "px"),
    Column("size_deg", "Side in degrees", "Side in degrees of visual angle, as the manifest says.", "deg"),
    Column("ppd", "Resolution", "Pixels per degree of visual angle, as the manifest says.", "px/deg"),
    Column("color", "Colour", '"grey" or "rgb".'),
    Column("network", "Network", "Network that made the texture; for a control, that measured it."),
    Column("weights", "Weights", "Name or file of the network's weights."),
    Column(
        "weights_sha256",
        "Weights' hash",
        'SHA-256 of the weights\' tensors after "sha256:"; equal for equal weights from different files.',
    ),
    Column("pooling", "Pooling", '"average" or "max".'),
    Column("normalised", "Normalised", "Whether filters are scaled to a mean activation of 1.", "", GATYS),
    Column(
        "layers",
        "Layers",
        "Layers whose statistics were matched, separated by spaces; of random_weights in its random network; empty for other controls.",
    ),
    Column(
        "preset", "Preset", "Synthesis procedure with its version; empty for controls but random_weights."
    ),
    Column(
        "loss",
        "Loss",
        "Weighted sum of Gram losses at the end of the synthesis, before matching; of the control random_weights that in "
        "its random network.",
        "",
        GATYS,
    ),
    Column("iterations", "Iterations", "Accepted steps of the optimiser, over all stages."),
    Column("evaluations", "Evaluations", "Evaluations of loss and gradient, over all stages."),
    Column(
        "stop_reason",
        "Stop reason",
        'Why the descent with all layers at full size ended: "stop distance" (near enough), "no progress", "evaluations" or "iterations" '
        "(the budget was used up), or what gatys2015's optimiser said.",
    ),
    Column(
        "restarts",
        "Restarts",
        "How often the optimiser forgot what it had learnt, because no step was accepted or a loss was not "
        "finite.",
    ),
    Column(
        "residual_spectrum",
        "Residual of the spectrum",
        "Relative error of the 2-D amplitude spectrum, sqrt(sum (A - A0)^2 / sum A0^2) over all channels and frequencies but zero, "
        "A0 of the source (of the set, for spectrum_matched_set), for a control that keeps the spectrum nearly; before 8-bit "
        "rounding; empty for all others.",
        "",
        "Schreiber & Schmitz (1996), Phys. Rev. Lett. 77:635",
    ),
    Column(
        "residual_histogram",
        "Residual of the histogram",
        "Wasserstein-1 distance between the pixel values of the image and of the source, mean over the channels, for controls that "
        "keep both nearly; before 8-bit rounding; 0 for equal histograms.",
        "fraction of white",
    ),
    Column(
        "residual_gram",
        "Residual of Gram matrices",
        "Largest relative Gram distance over the layers that random_weights was made to match, in its random network, before "
        "matching and 8-bit rounding: whether it got there. Empty for all others.",
    ),
    Column(
        "matching",
        "Matching",
        "What the image was matched to after synthesis, in the order in which it was done and separated by spaces, such as "
        '"full_spectrum=set histogram=source"; empty if nothing was matched.',
    ),
    Column(
        "matched_residual_mean",
        "Residual of matched mean luminance",
        "Difference, without sign, between the mean pixel value and the one that luminance was matched to; mean over the "
        "planes (R, G and B, or luminance) that were matched. This and the following: after clipping to 0..1, before "
        "8-bit rounding; 0 is exact; empty if not matched.",
        "fraction of white",
        SHINE,
    ),
    Column(
        "matched_residual_contrast",
        "Residual of matched contrast",
        "Difference, without sign, between the standard deviation of the pixel values and the one that luminance was "
        "matched to; mean over the planes that were matched.",
        "fraction of white",
        SHINE,
    ),
    Column(
        "matched_residual_histogram",
        "Residual of matched histogram",
        "Wasserstein-1 distance between the pixel values and those that the histogram was matched to; mean over the "
        "planes that were matched.",
        "fraction of white",
        "Vallender (1974), Theory Probab. Appl. 18:784",
    ),
    Column(
        "matched_residual_spectrum",
        "Residual of matched spectrum",
        "sqrt(sum (A - A0)^2 / sum A0^2) over all frequencies but zero and all planes that were matched, A0 the "
        "amplitudes that the full spectrum was matched to, or their rotational averages; empty where A0 is 0.",
        "",
        SHINE,
    ),
    Column(
        "clipped_share", "Clipped share", "Share of pixels outside 0..1 before 8-bit rounding, set to 0 or 1."
    ),
    Column(
        "luminance_mean", "Mean luminance", "Mean over pixels; 0 is black, 1 is white.", "fraction of white"
    ),
    Column(
        "luminance_sd",
        "SD of luminance",
        "Standard deviation over pixels (divisor n).",
        "fraction of white",
        "Peli (1990), J. Opt. Soc. Am. A 7:2032",
    ),
    Column(
        "rms_contrast",
        "RMS contrast",
        "Standard deviation divided by mean; empty for a black image.",
        "",
        "Moulden, Kingdom & Gatley (1990), Perception 19:79",
    ),
    Column(
        "luminance_skewness",
        "Skewness of luminance",
        "m3 / m2^1.5 of the pixels; empty for a constant image.",
    ),
    Column(
        "luminance_kurtosis",
        "Kurtosis of luminance",
        "m4 / m2^2 of the pixels (3 for a normal distribution); empty for a constant image.",
    ),
    Column("luminance_min", "Smallest luminance", "Smallest pixel value.", "fraction of white"),
    Column("luminance_max", "Largest luminance", "Largest pixel value.", "fraction of white"),
    Column(
        "entropy",
        "Entropy",
        "-sum p log2 p of the luminance histogram with the 256 levels of the file; in colour, of the luminance "
        "of the pixels, rounded to these levels.",
        "bit",
        "Shannon (1948), Bell Syst. Tech. J. 27:379",
    ),
    Column(
        "histogram_w1",
        "Histogram distance",
        "Wasserstein-1 distance between the luminance values of the file and of the source: the mean of the "
        "differences between the sorted values, without sign.",
        "fraction of white",
        "Vallender (1974), Theory Probab. Appl. 18:784",
    ),
    Column(
        "spectral_slope",
        "Spectral slope",
        "alpha of amplitude = c / frequency^alpha, fitted to the rotational average of the spectrum; "
        "positive where amplitude falls, white noise has 0.",
        "",
        "Field (1987), J. Opt. Soc. Am. A 4:2379",
    ),
    Column(
        "spectral_slope_r2",
        "Fit of the slope",
        "Share of the variance of log amplitude that the line explains.",
    ),
    Column("spectral_slope_low_cpi", "Lowest fitted frequency", "Lower end of the fit.", "cycles/image"),
    Column("spectral_slope_high_cpi", "Highest fitted frequency", "Upper end of the fit.", "cycles/image"),
    Column(
        "spectral_slope_low_cpd",
        "Lowest fitted frequency",
        "Lower end of the fit; empty where visual angle is unknown.",
        "cycles/deg",
    ),
    Column(
        "spectral_slope_high_cpd",
        "Highest fitted frequency",
        "Upper end of the fit; empty where visual angle is unknown.",
        "cycles/deg",
    ),
    Column(
        "amplitude_error",
        "Amplitude error",
        "sqrt(sum (|X| - |S|)^2 / sum |S|^2) over all frequencies but zero, of the transforms X of the file and "
        "S of the source; empty for a constant source.",
    ),
    Column(
        "radial_error_db",
        "Radial spectrum error",
        "Root mean square, over the frequencies in spectra.csv, of the difference in decibels between power and "
        "power_source; empty if any of them is 0.",
        "dB",
    ),
    *(
        Column(
            f"orientation_{centre}",
            f"Power share at {centre} deg",
            f"Share of the power of structure oriented within 22.5 degrees of {centre} ({bars}), anticlockwise from "
            "horizontal; of the frequencies within a radius of 1/2 cycle per pixel, without zero. Empty for a "
            "constant image.",
        )
        for centre, bars in (
            (0, "horizontal bars"),
            (45, "bars that rise to the right"),
            (90, "vertical bars"),
            (135, "bars that fall to the right"),
        )
    ),
    Column(
        "high_frequency_share",
        "High-frequency share",
        "Share of the power, without frequency zero, above half the Nyquist frequency (1/4 cycle per pixel); "
        "empty for a constant image.",
    ),
    *(
        Column(
            f"copying_{side}",
            f"Similarity of {side} px parts",
            f"Highest Pearson correlation of a tile of {side} x {side} px of the file with any window of that size in the "
            "source, of luminance; 1 for a copy. Empty where there is no tile or window with contrast.",
            "",
            LEWIS,
        )
        for side in CROPS_PX
    ),
    *(
        Column(
            f"copying_baseline_{side}",
            f"Baseline of {side} px parts",
            f"The same of tiles of the source itself, with windows that do not overlap the tile: what copying_{side} is to "
            "be compared with. Empty where there is none.",
            "",
            LEWIS,
        )
        for side in CROPS_PX
    ),
    Column(
        "copied",
        "Copied",
        "Whether a part is a copy: (r - b) / (1 - b) > 0.9 with r = copying_K and b = copying_baseline_K of a size K whose b "
        "is at most 0.99; sizes with a higher b do not count. Empty where no size is left, because the source is too regular "
        "or too small to tell.",
    ),
    Column(
        "seed_correlation",
        "Correlation between seeds",
        "Highest Pearson correlation of the luminance of the file with that of another seed of the same source and condition "
        "in this run, pixel by pixel, without any shift; 1 for the same image. Empty where there is no other, or no contrast.",
    ),
    Column(
        "gram_loss_{layer}",
        "Gram loss, {layer}",
        "1/(4 N^2) * sum of squared differences between the Gram matrices of the file and of the source.",
        "",
        GATYS,
    ),
    Column(
        "gram_relative_{layer}",
        "Relative Gram distance, {layer}",
        "Norm of the difference between the Gram matrices of the file and of the source, divided by the norm "
        "of the source's; 0 for equal statistics. In the network of the row: layer sets with networks of their own "
        "are measured in these.",
    ),
    Column(
        "gram_normalised_{layer}",
        "Normalised Gram distance, {layer}",
        "(d - floor) / (ceiling - floor) with d = gram_relative_{layer}: 0 is as far from the source as its halves "
        "are from each other, 1 as its phase scramble; below 0 for a closer match. Empty where there is no floor, or "
        "the ceiling is less than twice the floor.",
    ),
    Column(
        "gram_floor_{layer}",
        "Floor of the Gram distance, {layer}",
        "Norm of the difference between the Gram matrices of two halves of the source, divided by the norm of the "
        "source's: mean of left against right and upper against lower half. Empty where a half is too small for the layer.",
    ),
    Column(
        "gram_ceiling_{layer}",
        "Ceiling of the Gram distance, {layer}",
        "Mean relative Gram distance of three phase-scrambled versions of the source.",
    ),
    Column(
        "gram_relative_matched",
        "Gram distance, matched layers",
        "Largest relative Gram distance of the layers that the texture was made to match; empty for controls.",
    ),
    Column(
        "gram_relative_held_out",
        "Gram distance, held-out layers",
        "Largest relative Gram distance of the measured layers that the texture was not made to match; empty for "
        "controls, and where all measured layers were matched.",
    ),
    Column(
        "ps_distance",
        "Portilla-Simoncelli distance",
        "Root of the mean of the squares of ps_distance_* over the families; empty where one of them is, and there "
        "only where it is asked for.",
        "",
        PORTILLA,
        on_request=True,
    ),
    Column(
        "ps_distance_{family}",
        "Portilla-Simoncelli distance, {family}",
        "||s - s0|| / ||s0|| of the statistics {family} of the file and of the source, both with the source's mean and "
        "SD of luminance brought to 0 and 1. Empty where they are not defined, as in an image without structure at some "
        "scale and orientation.",
        "",
        PORTILLA,
        on_request=True,
    ),
    Column(
        "accepted",
        "Accepted",
        "Whether the stimulus is within all thresholds of the manifest's section accept that it has a value for; true without any.",
    ),
    Column(
        "reject_reason",
        "Reason to reject",
        "What is above which threshold, for Gram distances on the worst layer that was matched; "
        "empty if accepted.",
    ),
    Column("source_sha256", "Source's hash", 'SHA-256 of the source image\'s file, after "sha256:".'),
    Column("png_sha256", "File's hash", 'SHA-256 of the PNG file, after "sha256:".'),
)

_NAMES = [column.name for column in STIMULI]
_MEASURED = STIMULI[_NAMES.index("luminance_mean") : _NAMES.index("accepted")]
_OF_A_RUN = {"seed_correlation", "gram_relative_matched", "gram_relative_held_out"}

IMAGES = (
    Column("filename", "File", "The image, as named."),
    Column("source", "Source", "The image that it is compared with, as named; empty without one."),
    Column("width_px", "Width", "Width of the image.", "px"),
    Column("height_px", "Height", "Height of the image.", "px"),
    *(column for column in STIMULI if column.name in {"color", "pooling", "normalised"}),
    *(
        replace(column, description=f"{description} Empty where none is measured.")
        for column, description in zip(
            (column for column in STIMULI if column.name in {"network", "weights", "weights_sha256"}),
            (
                "Network in which Gram distances are measured.",
                "Name of its weights.",
                "SHA-256 of its tensors.",
            ),
            strict=True,
        )
    ),
    *(column for column in _MEASURED if column.name not in _OF_A_RUN),
    Column("source_sha256", "Source's hash", 'SHA-256 of the source\'s file, after "sha256:".'),
    Column("file_sha256", "File's hash", 'SHA-256 of the image\'s file, after "sha256:".'),
)
