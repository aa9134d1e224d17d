"""The texture model as an object: analyse an image, synthesise textures from its statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from operator import index
from pathlib import Path

import numpy as np

from stimgen.errors import InputError, nearest
from stimgen.images.pixels import Image, plane_if_grey
from stimgen.images.read import read_image
from stimgen.networks.architectures import NETWORKS
from stimgen.networks.device import find_device
from stimgen.networks.extractor import Padding, Pooling, build_extractor
from stimgen.networks.weights import find_weights
from stimgen.texture.presets import Gatys2015, Multiscale, layers_at_scale
from stimgen.texture.problem import EvaluationHook, Problem, SourceImage, Synthesis, no_hook
from stimgen.texture.saved import ModelIdentity, TextureStatistics, difference
from stimgen.texture.statistic import Term, weighted_terms
from stimgen.texture.statistics.gram import principal_components
from stimgen.texture.synthesis import synthesise

SMALLEST_ANALYSED_PX = 16
"""Images are halved for the coarse scales of a synthesis down to this side, px."""


class TextureModel:
    """A network and the layers whose Gram matrices describe a texture (Gatys, Ecker & Bethge 2015).

    Parameters
    ----------
    network
        Name of the network, such as "vgg19".
    layers
        Layers whose statistics are matched; "conv1_1..pool4" is all from the one to the other.
    weights
        Name of weights, or a file.
    pooling
        "average", as in the paper, or "max".
    padding
        What convolutions see beyond the border of their maps: "mirrored" maps, or "zeros", as in the paper.
    normalise
        Whether each filter is scaled to a mean activation of 1, as in the paper.
    components
        Number of principal components per layer on which features are projected; None for all channels.
    layer_weights
        Weight of a layer's loss; 1 for layers not named.
    device
        "auto" (the first GPU if there is one), "cpu", "cuda:0", …

    Examples
    --------
    >>> model = TextureModel("vgg16", ["conv1_1", "pool1", "pool2"])  # doctest: +SKIP
    >>> statistics = model.analyse("skimage:brick")  # doctest: +SKIP
    >>> model.synthesise(statistics, size_px=256, seed=1).image.shape  # doctest: +SKIP
    (256, 256)
    """

    def __init__(
        self,
        network: str,
        layers: Sequence[str],
        *,
        weights: str = "imagenet",
        pooling: Pooling = "average",
        padding: Padding = "mirrored",
        normalise: bool = True,
        components: int | None = None,
        layer_weights: Mapping[str, float] | None = None,
        device: str = "auto",
    ) -> None:
        architecture = NETWORKS[network]()
        if isinstance(layers, str):
            raise InputError(f'Layers "{layers}".', f'Give a list: ["{layers}"].')
        matched = architecture.expand(layers)
        deepest = architecture.deepest(matched)
        self.layer_weights = dict.fromkeys(matched, 1.0)
        for layer, weight in (layer_weights or {}).items():
            if layer not in self.layer_weights:
                raise InputError(f'A weight for "{layer}".', nearest(layer, list(self.layer_weights)))
            if not 0 < weight < float("inf"):
                raise InputError(f'The weight {weight} of "{layer}".', "Give a number above 0.")
            self.layer_weights[layer] = float(weight)
        if components is not None and not (hasattr(components, "__index__") and components >= 1):
            raise InputError(f"{components} components.", "Give a whole number from 1, or None for all.")
        found = find_weights(network, weights)
        self._extractor = build_extractor(
            found,
            pooling=pooling,
            padding=padding,
            normalise=normalise,
            device=find_device(device),
            deepest=deepest,
        )
        self.identity = ModelIdentity(
            network=network,
            tensors_sha256=found.tensors_sha256,
            input=found.convention.name,
            pooling=pooling,
            padding=padding,
            normalise=normalise,
            weights_normalised=found.normalised,
            layers=tuple(self.layer_weights),
            components=components,
        )

    def analyse(self, image: Image | str | Path) -> TextureStatistics:
        """Return the statistics of an image.

        Parameters
        ----------
        image
            (H, W) for grey textures or (H, W, 3) for RGB, floats 0..1; or a PNG, TIFF or JPEG file, or
            skimage:NAME, whole and in its own size and colours. Textures of an RGB image whose channels are
            equal are grey, too.

        Raises
        ------
        InputError
            If the image cannot be read, has other values, or is too small for the deepest layer.
        """
        pixels = _checked(read_image(image).pixels if isinstance(image, str | Path) else image)
        source = SourceImage(plane_if_grey(pixels))
        values = source.pixels(self._extractor)
        architecture = self._extractor.architecture
        levels = []
        for halvings in range(source.halvings + 1):
            side = source.size_px >> halvings
            layers = layers_at_scale(architecture, self.layer_weights, halvings)
            smallest = max(SMALLEST_ANALYSED_PX, *map(architecture.smallest_px, layers), 0)
            if not layers or (halvings and side < smallest):
                break
            terms = [term for term in self._terms if term.layer in layers]
            found = source.features(self._extractor, terms, halvings)
            levels.append(
                {str(term.layer): term.statistic.reduced(found[term]).float().cpu() for term in terms}
            )
        return TextureStatistics(
            model=self.identity,
            size_px=source.size_px,
            grams=tuple(levels),
            **{key: tuple(value.double().flatten().tolist()) for key, value in values._asdict().items()},
        )

    def synthesise(
        self,
        statistics: TextureStatistics,
        size_px: int | None = None,
        seed: int = 1,
        *,
        preset: Multiscale | Gatys2015 | None = None,
        after_evaluation: EvaluationHook = no_hook,
    ) -> Synthesis:
        """Return a texture with the given statistics.

        Parameters
        ----------
        statistics
            Of an image, or mixed.
        size_px
            Side of the texture, px; by default that of the image. Structure keeps its size in pixels: a
            larger texture shows more of it. Statistics contain what the network sees at the border (see
            `padding`), so that a texture of another size also matches what the image had there.
        seed
            Of the start noise; the same seed gives the same texture.
        preset
            Procedure and settings; by default `Multiscale()`.
        after_evaluation
            Called after each evaluation of loss and gradient, for progress displays.

        Raises
        ------
        InputError
            If the statistics are those of another model, or the texture is too small for the deepest layer.
        """
        if not isinstance(statistics, TextureStatistics):
            cure = "Give what analyse, mix or TextureStatistics.load returned."
            raise InputError(f"Statistics of type {type(statistics).__name__}.", cure)
        preset = Multiscale() if preset is None else preset
        if not isinstance(preset, Multiscale | Gatys2015):
            raise InputError(f"The preset {preset!r}.", "Give stimgen.Multiscale() or stimgen.Gatys2015().")
        if statistics.model != self.identity:
            differing = difference(statistics.model, self.identity)
            raise InputError(
                f"The statistics belong to another texture model: {differing}.",
                "Use the model that analysed the image.",
            )
        size_px = statistics.size_px if size_px is None else size_px
        try:
            size_px, rng = index(size_px), np.random.default_rng(index(seed))
        except (TypeError, ValueError):
            cure = "Give whole numbers, the seed from 0 on."
            raise InputError(f"A side of {size_px} px and the seed {seed}.", cure) from None
        layers, architecture = self.identity.layers, self._extractor.architecture
        smallest = max(SMALLEST_ANALYSED_PX, *map(architecture.smallest_px, layers))
        if size_px < smallest:
            raise InputError(f"A texture of {size_px} px with {layers[-1]}.", f"Use at least {smallest} px.")
        problem = Problem(statistics, self._terms, rng, size_px)
        (synthesis,) = synthesise([problem], self._extractor, preset, after_evaluation)
        return synthesis

    @cached_property
    def _terms(self) -> dict[Term, float]:
        layers, components = self.identity.layers, self.identity.components
        return weighted_terms(self.layer_weights, principal_components(self._extractor, layers, components))


def _checked(pixels: Image) -> Image:
    pixels = np.asarray(pixels)
    if not pixels.size or pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3):
        cure = "Give (height, width) for grey or (height, width, 3) for RGB."
        raise InputError(f"An image of shape {pixels.shape}.", cure)
    # Not a number is in no range.
    if not np.issubdtype(pixels.dtype, np.floating) or not (pixels.min() >= 0 and pixels.max() <= 1):
        raise InputError(
            f"An image of {pixels.dtype} with values {pixels.min()} to {pixels.max()}.",
            "Give floats from 0 (black) to 1 (white), for 8-bit pixels pixels / 255.",
        )
    return pixels.astype(np.float32)
