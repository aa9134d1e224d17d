"""The statistics of a texture, by which it can be synthesised without its image: saved, loaded and mixed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import fsum, isfinite
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from stimgen.atomic import write_file
from stimgen.errors import InputError, StimgenError
from stimgen.networks.architectures import NETWORKS
from stimgen.networks.extractor import FeatureExtractor
from stimgen.texture.presets import gram_parameters, layers_at_scale
from stimgen.texture.statistic import Term

FORMAT = "stimgen texture statistics 2"


class PixelRange(NamedTuple):
    """Mean and range of pixel values by channel, each of shape (1, C, 1, 1); black is 0, white 1.

    The covariance of the C channels, 1 or 3, has the shape (1, C, C).
    """

    mean: Tensor
    lowest: Tensor
    highest: Tensor
    covariance: Tensor


@dataclass(frozen=True)
class ModelIdentity:
    """The texture model that statistics belong to: numbers of different models cannot be compared."""

    network: str
    tensors_sha256: str
    input: str  # convention of the input that the weights expect
    pooling: str
    padding: str
    normalise: bool
    weights_normalised: bool  # whether their filters are scaled to a mean activation of 1 already
    layers: tuple[str, ...]
    components: int | None


@dataclass(frozen=True, eq=False)
class TextureStatistics:
    """The Gram matrices of an image and of its halvings, and the range of its pixels.

    `size_px` is the shorter side of the image, and `mean`, `lowest` and `highest` are those of its pixel
    values, one number for grey and three for RGB; black is 0, white is 1. `covariance` has one number or
    nine, of the channels row by row. `grams` has, for the image, for the image halved once, and so on, the
    Gram matrices by layer name: float32, shape (1, N, N) with N the number of channels or of components. The
    smaller the image, the fewer layers take part.
    """

    model: ModelIdentity
    size_px: int
    mean: tuple[float, ...]
    lowest: tuple[float, ...]
    highest: tuple[float, ...]
    covariance: tuple[float, ...]
    grams: tuple[Mapping[str, Tensor], ...]

    @property
    def halvings(self) -> int:
        """How often the image can be halved and still has Gram matrices."""
        return len(self.grams) - 1

    def pixels(self, extractor: FeatureExtractor) -> PixelRange:
        """Return mean and range of the pixels as tensors for a network."""
        values = (self.mean, self.lowest, self.highest, self.covariance)
        tensors = [torch.tensor(value, dtype=torch.float64).to(extractor.gain) for value in values]
        covariance = tensors.pop().view(1, len(self.mean), len(self.mean))
        mean, lowest, highest = (tensor.view(1, -1, 1, 1) for tensor in tensors)
        return PixelRange(mean, lowest, highest, covariance)

    def features(
        self, extractor: FeatureExtractor, terms: Iterable[Term], halvings: int
    ) -> dict[Term, Tensor]:
        """Return the Gram matrices of all channels that a synthesis matches at a scale."""
        grams = {layer: gram.to(extractor.gain) for layer, gram in self.grams[halvings].items()}
        return {term: term.statistic.restored(grams[str(term.layer)]) for term in terms}

    @property
    def parameters(self) -> int:
        """Number of different numbers in the Gram matrices of the image at its full size."""
        return sum(gram_parameters(gram.shape[-1]) for gram in self.grams[0].values())

    def save(self, path: str | Path) -> None:
        """Write a safetensors file, all of it or nothing."""
        described = {"format": FORMAT, "model": asdict(self.model), "size_px": self.size_px}
        described |= {"mean": self.mean, "lowest": self.lowest, "highest": self.highest}
        described |= {"covariance": self.covariance}
        tensors = {
            f"{halvings}/{layer}": gram.contiguous()
            for halvings, grams in enumerate(self.grams)
            for layer, gram in grams.items()
        }
        try:
            write_file(Path(path), save(tensors, {"stimgen": json.dumps(described)}))
        except OSError as error:
            problem = f"{path} cannot be written: {error.strerror or error}."
            raise StimgenError(problem, "Name a file in a folder with room.") from None

    @classmethod
    def load(cls, path: str | Path) -> TextureStatistics:
        """Read a file that `save` wrote; InputError for any other. Nothing in it is executed."""
        path = Path(path)
        if not path.is_file():
            raise InputError(f"There is no file {path}.", "Name a file that TextureStatistics.save wrote.")
        try:
            with safe_open(path, framework="pt") as file:
                described = json.loads((file.metadata() or {})["stimgen"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return _from_file(described, tensors)
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            problem = f"{path} holds no texture statistics of this version: {error}."
            raise InputError(problem, "Analyse the image again and save its statistics.") from None


def mix(statistics: Sequence[TextureStatistics], weights: Sequence[float]) -> TextureStatistics:
    """Return weighted means of statistics, from which textures between those of the images are made.

    Gram matrices, means and covariances of pixels are mixed linearly, ``G = sum_i w_i G_i``. Pixels may take
    the values of any image whose weight is not 0. The size is that of the smallest such image. The statistics
    must be of one texture model, and have a weight each, from 0 to 1 with the sum 1; otherwise InputError is
    raised. Mixtures of grey and RGB are RGB.

    Examples
    --------
    >>> halfway = mix([brick, gravel], [0.5, 0.5])  # doctest: +SKIP
    """
    if len(statistics) != len(weights) or not statistics:
        problem = f"{len(statistics)} statistics and {len(weights)} weights."
        raise InputError(problem, "Give each statistics one weight.")
    if not all(0 <= weight <= 1 for weight in weights) or abs(fsum(weights) - 1) > 1e-6:
        raise InputError(f"The weights {list(weights)}.", "Give weights from 0 to 1 with the sum 1.")
    parts = [(part, weight) for part, weight in zip(statistics, weights, strict=True) if weight > 0]
    first = parts[0][0]
    for other, _ in parts[1:]:
        if other.model != first.model:
            problem = f"Statistics of different texture models: {difference(first.model, other.model)}."
            raise InputError(problem, "Analyse all images with one model.")
    smallest = min((part for part, _ in parts), key=lambda part: (len(part.grams), part.size_px))
    channels = range(max(len(part.mean) for part, _ in parts))
    return replace(
        smallest,
        # The channels of a grey image among colour ones are equal.
        mean=tuple(fsum(weight * part.mean[c % len(part.mean)] for part, weight in parts) for c in channels),
        lowest=tuple(min(part.lowest[c % len(part.mean)] for part, _ in parts) for c in channels),
        highest=tuple(max(part.highest[c % len(part.mean)] for part, _ in parts) for c in channels),
        covariance=tuple(
            fsum(weight * part.covariance[entry % len(part.covariance)] for part, weight in parts)
            for entry in range(len(channels) ** 2)
        ),
        grams=tuple(
            {
                layer: torch.stack([weight * part.grams[halved][layer] for part, weight in parts]).sum(dim=0)
                for layer in grams
            }
            for halved, grams in enumerate(smallest.grams)
        ),
    )


def difference(model: ModelIdentity, other: ModelIdentity) -> str:
    """Return the settings in which two models differ, such as "pooling average and max"."""
    a, b = asdict(model), asdict(other)
    return "; ".join(f"{key} {_words(a[key])} and {_words(b[key])}" for key in a if a[key] != b[key])


def _words(value: Any) -> str:
    if value is None:
        return "all"
    text = " ".join(value) if isinstance(value, tuple) else str(value)
    return text if len(text) <= 60 else f"{text[:12]}…"


def _from_file(described: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> TextureStatistics:
    if described["format"] != FORMAT:
        raise ValueError(f'its format is "{described["format"]}"')
    model = ModelIdentity(**described["model"] | {"layers": tuple(described["model"]["layers"])})
    for name, gram in tensors.items():
        square = gram.ndim == 3 and gram.shape[0] == 1 and gram.shape[1] == gram.shape[2]
        if not square or not bool(torch.isfinite(gram).all()):
            raise ValueError(f"{name} is no Gram matrix")
    architecture = NETWORKS[model.network]()
    levels = range(len({name.partition("/")[0] for name in tensors}))
    expected = {h: layers_at_scale(architecture, model.layers, h) for h in levels}
    if not tensors or set(tensors) != {f"{h}/{layer}" for h, layers in expected.items() for layer in layers}:
        raise ValueError("Gram matrices are missing")
    pixels = {key: tuple(map(float, described[key])) for key in PixelRange._fields}
    if [len(values) for values in pixels.values()] not in ([1, 1, 1, 1], [3, 3, 3, 9]):
        raise ValueError("the pixel values are neither grey nor RGB")
    if not all(isfinite(value) for values in pixels.values() for value in values):
        raise ValueError("the pixel values are not finite")
    grams = tuple({layer: tensors[f"{h}/{layer}"].float() for layer in expected[h]} for h in levels)
    return TextureStatistics(model=model, size_px=int(described["size_px"]), grams=grams, **pixels)
