"""The columns of every table, described once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from stimgen.column import Column
from stimgen.measure import statistics_in_order
from stimgen.measure.gram import GATYS, SHERMAN
from stimgen.trials import DESIGNS, design_columns

SCHAAF = "van der Schaaf & van Hateren (1996), Vision Res. 36:2759"
SHINE = "Willenbockel et al. (2010), Behav. Res. Methods 42:671"

ID = Column(
    "stimulus_id",
    "Stimulus",
    "Name of the stimulus: source-condition-sSEED, or source-condition for a control without randomness.",
)

_PROVENANCE = (
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
    Column("bits", "Bits", "Bits per sample of the file, b: a sample s means s / (2^b - 1).", "bit"),
    Column("network", "Network", "Network that made the texture; for a control, that measured it."),
    Column("weights", "Weights", "Name or file of the network's weights."),
    Column(
        "weights_sha256",
        "Weights' hash",
        'SHA-256 of the weights\' tensors after "sha256:"; equal for equal weights from different files.',
    ),
    Column("pooling", "Pooling", '"average" or "max".'),
    Column("padding", "Padding", 'What convolutions see beyond the border: "zeros" or "mirrored" maps.'),
    Column(
        "normalised",
        "Normalised",
        "Whether filters are scaled to a mean activation of 1, by stimgen or in the weights as published.",
        origin=GATYS,
    ),
    Column(
        "layers",
        "Layers",
        "Layers whose statistics were matched, separated by spaces; of random_weights in its random "
        "network; empty for other controls.",
    ),
    Column(
        "components",
        "Components",
        "Principal components of the features of each layer whose Gram matrices were matched; empty where "
        "all channels were.",
        origin=GATYS,
    ),
    Column(
        "parameters",
        "Parameters",
        "Number of different numbers in the Gram matrices that were matched: the sum of N (N + 1) / 2 over "
        "the layers, N their channels, or components where these are fewer. Empty for controls but "
        "random_weights.",
        origin=GATYS,
    ),
    Column(
        "preset", "Preset", "Synthesis procedure with its version; empty for controls but random_weights."
    ),
    Column(
        "loss",
        "Loss",
        "Weighted sum of Gram losses at the end of the synthesis, before matching; of the control "
        "random_weights that in its random network. Empty for what is not synthesised.",
        origin=GATYS,
    ),
    Column("iterations", "Iterations", "Accepted steps of the optimiser, over all stages. Empty as loss is."),
    Column(
        "evaluations", "Evaluations", "Evaluations of loss and gradient, over all stages. Empty as loss is."
    ),
    Column(
        "stop_reason",
        "Stop reason",
        'Why the descent with all layers at full size ended: "stop distance" (near enough), "no progress", '
        '"evaluations" or "iterations" (the budget was used up), or what gatys2015\'s optimiser said. Empty as '
        "loss is.",
    ),
    Column(
        "restarts",
        "Restarts",
        "How often L-BFGS started anew, because no step was accepted or a loss was not finite. Empty as loss "
        "is.",
    ),
    Column(
        "confined_to",
        "Statistic of all images at full size",
        "What all images at full size shared with the target of matching while they were synthesised: "
        "histogram, luminance, full_spectrum or rotational_spectrum; empty if nothing.",
        origin="Absil, Mahony & Sepulchre (2008), chapter 4",
    ),
    Column(
        "residual_spectrum",
        "Residual of the spectrum",
        "Relative error of the 2-D amplitude spectrum, sqrt(sum (A - A0)^2 / sum A0^2) over all channels "
        "and frequencies but zero, A0 of the source (of the set, for spectrum_matched_set, also where it "
        "matches the rotational average alone), for a control that keeps the spectrum nearly; before "
        "rounding; empty for all others.",
        origin="Schreiber & Schmitz (1996), Phys. Rev. Lett. 77:635",
    ),
    Column(
        "residual_histogram",
        "Residual of the histogram",
        "Wasserstein-1 distance between the pixel values of the image and of the source, mean over the "
        "channels, for controls that keep both nearly; before rounding; 0 for equal histograms. Empty for "
        "others.",
        "fraction of white",
    ),
    Column(
        "residual_gram",
        "Residual of Gram matrices",
        "Largest relative Gram distance of the file over the layers in what was matched (of components, if "
        "there are any) and in the network that the texture was synthesised in: whether the synthesis got "
        "there. For the control random_weights before matching and rounding; empty for other controls.",
        origin=GATYS,
    ),
    Column(
        "measured_in",
        "Measured in",
        "Network, weights and padding in which Gram distances were measured.",
    ),
    Column(
        "measured_in_sha256",
        "Hash of the measuring weights",
        'SHA-256 of the tensors of these weights after "sha256:".',
    ),
    Column(
        "matching",
        "Matching",
        "What the image was matched to, in the order in which it was done and separated by spaces, such as "
        '"full_spectrum=set histogram=source"; empty if nothing was matched. Textures of multiscale have the '
        "last of it while they are synthesised.",
    ),
    Column(
        "matched_residual_mean",
        "Residual of matched mean luminance",
        "Difference, without sign, between the mean pixel value and the one that luminance was matched to; "
        "mean over the planes (R, G and B, or luminance) that were matched. After clipping to 0..1, before "
        "rounding; 0 is exact; empty if not matched.",
        "fraction of white",
        SHINE,
    ),
    Column(
        "matched_residual_contrast",
        "Residual of matched contrast",
        "Difference, without sign, between the standard deviation of the pixel values and the one that "
        "luminance was matched to; mean over the planes that were matched; after clipping, before rounding; empty if not "
        "matched.",
        "fraction of white",
        SHINE,
    ),
    Column(
        "matched_residual_histogram",
        "Residual of matched histogram",
        "Wasserstein-1 distance between the pixel values and those that the histogram was matched to; mean "
        "over the planes that were matched; after clipping, before rounding; empty if not "
        "matched.",
        "fraction of white",
        "Vallender (1974), Theory Probab. Appl. 18:784",
    ),
    Column(
        "matched_residual_spectrum",
        "Residual of matched spectrum",
        "sqrt(sum (A - A0)^2 / sum A0^2) over all frequencies but zero and all planes that were matched, A0 "
        "the amplitudes that the full spectrum was matched to, or their rotational averages; empty where A0 "
        "is 0.",
        origin=SHINE,
    ),
    Column("clipped_share", "Clipped share", "Share of pixels outside 0..1 before rounding, set to 0 or 1."),
)

# By their place among the statistics.
_OF_A_RUN = {
    65: (
        Column(
            "seed_correlation",
            "Correlation between seeds",
            "Highest Pearson correlation of the luminance of the file with that of another seed of the same "
            "source and condition in this run, pixel by pixel, without any shift; 1 for the same image. "
            "Empty where there is no other, or no contrast.",
        ),
    ),
    75: (
        Column(
            "gram_relative_matched",
            "Gram distance, matched layers",
            "Largest relative Gram distance of the layers that the texture was made to match; empty for "
            "controls, and for textures that are measured in another network.",
        ),
        Column(
            "gram_relative_held_out",
            "Gram distance, held-out layers",
            "Largest relative Gram distance of the measured layers that the texture was not made to match; "
            "empty for controls, and where all measured layers were matched. For a texture that is measured "
            "in another network, of all measured layers.",
        ),
    ),
}

_STATISTICS = {statistic.order: statistic.columns for statistic in statistics_in_order()}


def _in_order(groups: Mapping[int, tuple[Column, ...]]) -> tuple[Column, ...]:
    return tuple(column for place in sorted(groups) for column in groups[place])


STIMULI = (
    *_PROVENANCE,
    *_in_order(_STATISTICS | _OF_A_RUN),
    Column(
        "accepted",
        "Accepted",
        "Whether the stimulus is within all thresholds of the manifest's section accept that it has a value "
        "for; true without any.",
    ),
    Column(
        "reject_reason",
        "Reason to reject",
        "What is above which threshold, for Gram distances on the worst layer that was matched; "
        "empty if accepted.",
    ),
    Column(
        "source_linearise",
        "Source's coding",
        '"srgb" if the coding of sRGB was undone in the source, so that its values are proportional to light; '
        '"none" if they were taken as they are.',
        "",
        "IEC 61966-2-1:1999",
    ),
    Column(
        "source_mask",
        "Source's mask",
        'What of the source counts: "alpha", its opaque pixels, or the SHA-256 of a mask file, after '
        '"sha256:"; empty for the whole source. Images inside the mask (of the controls original and '
        "pixel_shuffled) are measured inside it, and have neither spectra nor statistics of neighbours.",
    ),
    Column("source_sha256", "Source's hash", 'SHA-256 of the source image\'s file, after "sha256:".'),
    Column("png_sha256", "File's hash", 'SHA-256 of the PNG file, after "sha256:".'),
)

_BY_NAME = {column.name: column for column in STIMULI}

IMAGES = (
    Column("filename", "File", "The image, as named."),
    Column("source", "Source", "The image that it is compared with, as named; empty without one."),
    Column("width_px", "Width", "Width of the image.", "px"),
    Column("height_px", "Height", "Height of the image.", "px"),
    *(_BY_NAME[name] for name in ("color", "pooling", "padding", "normalised")),
    *(
        replace(_BY_NAME[name], description=f"{description} Empty where none is measured.")
        for name, description in (
            ("network", "Network in which Gram distances are measured."),
            ("weights", "Name of its weights."),
            ("weights_sha256", "SHA-256 of its tensors."),
        )
    ),
    *_in_order(_STATISTICS),
    Column("source_sha256", "Source's hash", 'SHA-256 of the source\'s file, after "sha256:".'),
    Column("file_sha256", "File's hash", 'SHA-256 of the image\'s file, after "sha256:".'),
)

GRAM_DISTANCES = (
    ID,
    Column(
        "stage",
        "Stage",
        '"optimised": the float image as synthesised; "matched": after matching and clipping; '
        '"file": the PNG, read back. Controls that are not synthesised have the last alone.',
    ),
    Column("layer", "Layer", "Layer of the network."),
    Column("constrained", "Constrained", "Whether the stimulus was made to match this layer."),
    Column("gram_loss", "Gram loss", "1/(4 N^2) * sum_ij (G_ij - T_ij)^2, T of the source.", "", GATYS),
    Column("gram_relative", "Relative Gram distance", "||G - T||_F / ||T||_F, T of the source."),
    Column(
        "gram_normalised",
        "Normalised Gram distance",
        "gram_relative / gram_floor: 1 is about as far as another sample of the texture.",
    ),
    Column(
        "gram_floor",
        "Floor",
        "About the relative distance between two samples of the texture as large as the source, as in "
        "stimuli.csv.",
        "",
        SHERMAN,
    ),
    Column("gram_floor_sd", "SD of the floor", "Standard deviation (n - 1) over six pairs of crops."),
    Column(
        "gram_ceiling",
        "Ceiling",
        "Mean relative Gram distance of five phase-scrambled versions of the source.",
    ),
    Column("gram_ceiling_sd", "SD of the ceiling", "Standard deviation (n - 1) over the five versions."),
)

TRACES = (
    ID,
    Column("synthesis_stage", "Synthesis stage", "Number of the stage of the synthesis: 1 is the coarsest."),
    Column("scale_px", "Scale", "Side of the image that was optimised.", "px"),
    Column("layers", "Layers", "Layers that were matched in this stage, separated by spaces."),
    Column("precision", "Precision", "Precision of the convolutions."),
    Column(
        "metric",
        "Metric",
        '"plain": differences of Gram matrices count as in the paper; "flat": in the metric of the source '
        "(with flatness 0 only the layers count otherwise). Losses of the two cannot be compared.",
    ),
    Column("stop_reason", "Stop reason", "Why the stage ended."),
    Column("iteration", "Iteration", "Accepted steps so far in this synthesis stage; 0 is its start."),
    Column("evaluations", "Evaluations", "Evaluations of loss and gradient so far in this stage."),
    Column(
        "loss",
        "Loss",
        "Weighted sum of the losses of the stage's layers, in its metric and precision, of the best image "
        "so far.",
        origin=GATYS,
    ),
)

SPECTRA = (
    ID,
    Column(
        "frequency_cpi",
        "Frequency",
        "Spatial frequency; whole numbers up to Nyquist's frequency.",
        "cycles/image",
    ),
    Column(
        "frequency_cpd",
        "Frequency",
        "Spatial frequency; empty where visual angle is unknown.",
        "cycles/deg",
    ),
    Column(
        "power",
        "Power",
        "Mean of |X|^2 / n^2 over the frequencies whose radius, rounded, is frequency_cpi, X the transform "
        "of the luminance of the file and n its number of pixels; six significant digits.",
        "(fraction of white)^2",
        SCHAAF,
    ),
    Column(
        "power_source",
        "Power of the source",
        "The same of the source; empty with a mask.",
        "(fraction of white)^2",
        SCHAAF,
    ),
)

FAILURES = (
    ID,
    Column("error", "Error", "What went wrong."),
    Column("cure", "Cure", "What to do about it."),
)

RUN_TABLES = {
    "stimuli": STIMULI,
    "gram_distances": GRAM_DISTANCES,
    "spectra": SPECTRA,
    "traces": TRACES,
    "failures": FAILURES,
}
"""Name of each table of a run, without ".csv", and its columns."""

TRIAL_LISTS = {f"trials_{name}": design_columns(name) for name in DESIGNS}
"""Columns of the trial lists of each design."""

TABLES = RUN_TABLES | {"images": IMAGES} | TRIAL_LISTS
"""All tables: those of a run, the one that `stimgen stats` writes, and trial lists."""
