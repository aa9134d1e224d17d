"""The schema of manifests (version 1): one frozen model per section, every key with its description.

The models take the long forms; `stimgen.manifest.sections` turns the short ones (a bare path for a source, a
list of layers for a layer set, a name for a control or a preset, a single trial list) into these.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from stimgen.networks.architectures import LARGEST_SEED as LARGEST_SEED
from stimgen.texture.presets import Gatys2015, Multiscale

VERSION = 1
ID_PATTERN = "^[A-Za-z][A-Za-z0-9_]{0,63}$"
LARGEST_PX = 4096

# Words that tables read as a missing value, a truth value or a number.
_VALUES = {"nan", "inf", "infinity", "na", "null", "none", "true", "false"}
# Names of devices on Windows, whatever suffix follows.
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}


def why_reserved(word: str) -> str:
    """Return why a word can be no id: tables read it as a value, or Windows as a device; empty if it can."""
    if word.lower() in _VALUES:
        return f'tables read "{word}" as a missing value, truth value or number; choose another id'
    if word.lower() in _DEVICES:
        return f'"{word}" is the name of a device on Windows, and no file can have it; choose another id'
    return ""


def _not_reserved(word: str) -> str:
    if reason := why_reserved(word):
        raise ValueError(reason)
    return word


def _square(box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    _, _, width, height = box
    if width != height:
        raise ValueError(
            f"a crop is a square, but this box is {width} × {height} px; give it one width and height"
        )
    return box


def _different(seeds: tuple[int, ...]) -> tuple[int, ...]:
    ((seed, times),) = Counter(seeds).most_common(1)
    if times > 1:
        raise ValueError(f"the seed {seed} is given twice; it would make the same image")
    return seeds


def _form(value: object) -> str:
    return "list" if isinstance(value, list | tuple) else "other"


Id = Annotated[str, Field(pattern=ID_PATTERN), AfterValidator(_not_reserved)]

Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
Offset = Annotated[int, Field(ge=0)]
Length = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Box = Annotated[tuple[Offset, Offset, Length, Length], AfterValidator(_square)]
Crop = Annotated[
    Annotated[Literal["centre", "random"], Tag("other")] | Annotated[Box, Tag("list")],
    Discriminator(_form),
]


class Section(BaseModel):
    """A mapping of a manifest: unknown keys are errors, and it is frozen."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ImageSection(Section):
    """Size and colour of every stimulus. Any two of size_px, size_deg and ppd give the third."""

    size_px: int | None = Field(None, ge=16, le=LARGEST_PX, description="Side of the square stimuli, px.")
    size_deg: Positive | None = Field(None, description="Side of the stimuli, degrees of visual angle.")
    ppd: Positive | None = Field(None, description="Pixels per degree of visual angle on the display.")
    color: Literal["grey", "rgb"] = Field("grey", description="Luminance only, or red, green and blue.")
    bits: Literal[8, 16] = Field(
        8, description="Bits per sample of the PNG files; 16 for displays with more than 8."
    )

    @model_validator(mode="after")
    def _all_three(self) -> ImageSection:
        """Return the section with all three numbers where two are known."""
        size_px, size_deg, ppd = self.size_px, self.size_deg, self.ppd
        exact = size_deg * ppd if size_deg and ppd else size_px
        if exact is None:
            raise ValueError("expected size_px, or both size_deg and ppd; with one alone the size is unknown")
        if size_px is None and not 15.5 <= exact <= LARGEST_PX:
            raise ValueError(
                f"size_deg × ppd = {exact:.4g} px; stimuli have from 16 to 4096 px. Change size_deg or ppd"
            )
        if size_px is not None and round(exact) != size_px:
            raise ValueError(
                f"size_deg × ppd = {exact:.4g} px, but size_px is {size_px}; give two of the three"
            )
        size_px = size_px or round(exact)
        ppd = ppd or (size_px / size_deg if size_deg else None)
        # Of what is shown: whole pixels, of the display's size.
        size_deg = size_px / ppd if ppd else None
        if not all(number is None or 0 < number < math.inf for number in (size_deg, ppd)):
            raise ValueError(
                f"size_deg is {size_deg:g} and ppd {ppd:g}: no display is like that; correct them"
            )
        return self.model_copy(update={"size_px": size_px, "size_deg": size_deg, "ppd": ppd})


class SourceSection(Section):
    """One source texture, or with a glob several."""

    image: str = Field(
        min_length=1,
        description="Path relative to the manifest, a glob such as textures/*.png, or skimage:NAME.",
    )
    id: Id | None = Field(
        None, description="Name in stimulus ids; by default the file's name. With a glob, a prefix."
    )
    crop: Crop = Field(
        "centre",
        description="Largest central square, random square, or box [left, top, width, height] in source px.",
    )

    white: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="Sample of an integer image that is white, such as 4095 for 12 bits stored in 16; by "
        "default the largest of the file's bits.",
    )
    mask: str | None = Field(
        None,
        min_length=1,
        description="What of the image is the texture: alpha, its opaque pixels; or a file of the same size, "
        "relative to the manifest, that is white there and black elsewhere. By default the whole image.",
    )
    linearise: Literal["none", "srgb"] = Field(
        "none",
        description="srgb: undo the coding of sRGB photographs (IEC 61966-2-1), so that values are "
        "proportional to light, as on a linearised display. none: take values as they are.",
    )


class NetworkSpec(Section):
    """A feature extractor. In a resolved manifest, `weights` is a name or an absolute path."""

    name: str = Field("vgg19", description="Architecture; vgg19 is the paper's.")
    weights: str = Field(
        "imagenet",
        min_length=1,
        description="Name of published weights, a path relative to the manifest, or random (random:SEED) for "
        "a network that was never trained.",
    )
    pooling: Literal["average", "max"] = Field("average", description="Average pooling is the paper's.")
    padding: Literal["zeros", "mirrored"] = Field(
        "mirrored",
        description="What convolutions see beyond the border of their maps: zeros, as in the paper, which "
        "are part of every statistic, the more the smaller the image; or mirrored maps. Zeros are the "
        "default with the preset gatys2015.",
    )
    normalise: bool = Field(
        True,
        description="Rescale each filter to a mean activation of 1 over natural images, as in the paper. "
        "Weights that were published normalised stay as they are.",
    )


class NetworkOverride(Section):
    """What a layer set changes in the manifest's network."""

    name: str | None = Field(None, description="Architecture.")
    weights: str | None = Field(
        None, min_length=1, description="Name of published weights, a path, or random (random:SEED)."
    )
    pooling: Literal["average", "max"] | None = Field(None, description="Kind of pooling.")
    padding: Literal["zeros", "mirrored"] | None = Field(None, description="Kind of padding.")
    normalise: bool | None = Field(
        None, description="Whether filters are rescaled to a mean activation of 1."
    )


class LayerSetSection(Section):
    """A condition: the layers whose statistics are matched."""

    layers: tuple[str, ...] = Field(
        min_length=1,
        description="Layers of the network, such as conv1_1 or pool4; conv1_1..pool4 is all layers from the "
        "one to the other.",
    )
    components: int | None = Field(
        None,
        ge=1,
        le=4096,
        description="Match the Gram matrices of so many principal components per layer, in place of all "
        "channels: a texture model with fewer parameters.",
    )
    layer_weights: dict[str, Positive] = Field(
        {}, description="Weight of a layer's loss; 1 for those not named."
    )
    network: NetworkOverride = Field(NetworkOverride(), description="Changes to the manifest's network.")


class SeedRange(Section):
    """Consecutive seeds."""

    first: int = Field(1, ge=0, le=2**31, description="The first seed.")
    count: int = Field(1, ge=1, le=100_000, description="How many exemplars of each source and condition.")


class ControlSection(Section):
    """A matched-statistics control. All keys but name and id are the control's own options."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str = Field(description="Name of the control.")
    id: Id | None = Field(None, description="Name of the condition; by default the control's name.")


MatchedTo = Literal["none", "source", "set"]


class MatchingSpec(Section):
    """What every stimulus is matched to: its source, or the mean of all sources.

    Textures of `multiscale` have what is matched last while they are synthesised.
    """

    histogram: MatchedTo = Field(
        "none", description="Match the histogram exactly: to the source's, or to the mean of the set's."
    )
    luminance: MatchedTo = Field(
        "none", description="Match mean luminance and RMS contrast. A matched histogram has both."
    )
    rotational_spectrum: MatchedTo = Field(
        "none",
        description="Match the rotational average of the Fourier amplitudes; orientations and phases stay.",
    )
    full_spectrum: MatchedTo = Field(
        "none", description="Match the Fourier amplitude at every frequency, and keep phases."
    )
    channels: Literal["rgb", "luminance"] = Field(
        "rgb",
        description="What is matched in colour: red, green and blue each by itself, or luminance alone.",
    )
    iterations: int = Field(
        1, ge=1, le=1000, description="How often a spectrum and the histogram alternate if both are matched."
    )

    @property
    def asked(self) -> dict[str, Literal["source", "set"]]:
        """What is matched, and to what."""
        order = ("rotational_spectrum", "full_spectrum", "luminance", "histogram")
        return {name: getattr(self, name) for name in order if getattr(self, name) != "none"}

    @field_validator("luminance", "full_spectrum", "iterations")
    @classmethod
    def _together(cls, value: str | int, info: ValidationInfo) -> str | int:
        """Refuse statistics that can't be matched together, and iterations of nothing."""
        before = {name for name, to in info.data.items() if to in ("source", "set")}
        spectra = before & {"rotational_spectrum", "full_spectrum"}
        if value == "none":
            return value
        if info.field_name == "full_spectrum" and spectra:
            raise ValueError("the full spectrum holds the rotational one; set one of them to none")
        if info.field_name == "luminance" and "histogram" in before:
            raise ValueError(
                "a matched histogram sets mean and contrast already; set luminance or histogram to none"
            )
        if info.field_name == "iterations" and value != 1 and not (spectra and "histogram" in before):
            raise ValueError(
                f"{value} iterations alternate a spectrum and the histogram, which are not both matched; "
                "match both, or leave iterations out"
            )
        return value


class MeasureSpec(Section):
    """What is measured beside luminance and spectrum, and where Gram distances are."""

    network: Literal["own", "manifest"] = Field(
        "own",
        description="Network in which Gram distances are measured: own, the one that made the texture; or "
        "manifest, the manifest's for all, so that textures of different networks can be compared.",
    )
    layers: tuple[str, ...] = Field(
        (),
        description="Layers of the manifest's network to measure beside those that its layer sets match; "
        "ranges such as conv1_1..pool4 too.",
    )
    copying: bool = Field(
        True,
        description="Whether parts of a stimulus are copies of its source. The time it takes grows with the "
        "square of the number of pixels: a tenth of a second at 256 px, half a minute at 1024 px.",
    )
    portilla_simoncelli: bool = Field(
        False,
        description="Distance to the source in the statistics of Portilla & Simoncelli (2000), in all and by "
        "family. Needs plenoptic (`pip install 'stimgen[ps]'`), and a size_px that is a multiple of 32, from "
        "128 on.",
    )


class AcceptSpec(Section):
    """Thresholds that an accepted stimulus does not exceed; without one, its value may be anything."""

    gram_relative_max: Positive | None = Field(
        None,
        description="Largest relative Gram distance of a texture, measured on its file, on any of the layers "
        "that it was made to match.",
    )
    gram_normalised_max: float | None = Field(
        None,
        allow_inf_nan=False,
        description="The same of the normalised Gram distance, which is about 1 for another sample of the "
        "texture. Layers without this number are not judged.",
    )
    clipped_share_max: float | None = Field(
        None, ge=0, le=1, description="Largest share of clipped pixels, of textures and controls."
    )


class TrialsSection(Section):
    """A trial list. All keys but design and id are the design's own options."""

    model_config = ConfigDict(frozen=True, extra="allow")

    design: str = Field(description="How trials show stimuli.")
    id: Id | None = Field(
        None, description="Name of the list, which goes to trials/ID.csv; by default the design's name."
    )


Seeds = Annotated[
    Annotated[SeedRange, Tag("other")]
    | Annotated[Annotated[tuple[Seed, ...], Field(min_length=1), AfterValidator(_different)], Tag("list")],
    Discriminator(_form),
]
Synthesis = Annotated[Multiscale | Gatys2015, Field(discriminator="preset")]
PRESETS: Mapping[str, type[BaseModel]] = {"multiscale": Multiscale, "gatys2015": Gatys2015}


class ManifestFile(Section):
    """A manifest of stimgen: which texture stimuli to make, from what, and how."""

    stimgen: Literal[1] = Field(description="Version of the manifest format.")
    name: Id = Field(description="Name of the stimulus set; its results go to results/NAME.")
    description: str = Field("", description="What the set is for, in free text.")
    image: ImageSection = Field(description="Size and colour of every stimulus.")
    sources: tuple[SourceSection, ...] = Field(min_length=1, description="The source textures.")
    network: NetworkSpec = Field(NetworkSpec(), description="The feature extractor.")
    layer_sets: dict[Id, LayerSetSection] = Field({}, description="Conditions by name: layers to match.")
    seeds: Seeds = Field(SeedRange(), description="Seeds of the exemplars: {first, count} or a list.")
    synthesis: Synthesis = Field(
        Multiscale(), description="How images are found: a preset and changes to it."
    )
    controls: tuple[ControlSection, ...] = Field((), description="Matched-statistics controls.")
    matching: MatchingSpec = Field(MatchingSpec(), description="What stimuli are matched to beside layers.")
    measure: MeasureSpec = Field(MeasureSpec(), description="What is measured in addition.")
    accept: AcceptSpec = Field(
        AcceptSpec(), description="Which stimuli the table calls accepted; by default all."
    )
    trials: tuple[TrialsSection, ...] = Field(
        (), description="Trial lists that show the stimuli: one, or a list of them."
    )


ENTRIES: Mapping[str, tuple[type[Section], str]] = {
    "sources": (SourceSection, "image"),
    "layer_sets": (LayerSetSection, "layers"),
    "controls": (ControlSection, "name"),
    "trials": (TrialsSection, ""),
}
"""Sections with several entries: the model of an entry, and the key that its short form gives, if any."""
