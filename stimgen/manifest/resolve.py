"""What a schema can't know: a network's layers, weights that exist, a control's options, sizes that agree."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from stimgen.controls import CONTROLS
from stimgen.errors import InputError, nearest
from stimgen.manifest.document import Document, shorten
from stimgen.manifest.expand import find_file
from stimgen.manifest.problems import DataPath
from stimgen.manifest.resolved import ControlSpec, ImageSpec, LayerSet
from stimgen.manifest.schema import (
    AcceptSpec,
    ControlSection,
    ImageSection,
    LayerSetSection,
    MatchingSpec,
    MeasureSpec,
    NetworkSpec,
    SeedRange,
    SourceSection,
)
from stimgen.manifest.wording import option_problems
from stimgen.measure.portilla_simoncelli import SCALES, WIDTH, size_problem
from stimgen.networks.architectures import NETWORKS, Architecture
from stimgen.networks.catalogue import random_seed, weights_names

WEIGHTS_SUFFIXES = (".pth", ".pt", ".safetensors", ".onnx", ".h5", ".hdf5")


def check_boxes(
    sections: Iterable[tuple[int, SourceSection]], image: ImageSpec | None, document: Document
) -> None:
    """Complain about crop boxes that are not square, or smaller than the stimuli."""
    for index, section in sections:
        if isinstance(section.crop, str):
            continue
        _, _, width, height = section.crop
        place: DataPath = ("sources", index, "crop")
        if width != height:
            message = (
                f"a crop is a square, but this box is {width} × {height} px; give it one width and height."
            )
            document.complain(place, message)
        elif image is not None and width < image.size_px:
            message = (
                f"the box has {width} px, less than the stimuli's {image.size_px} px; "
                "enlarge it or reduce size_px, because sources are never enlarged."
            )
            document.complain(place, message)


def is_weights_file(weights: str) -> bool:
    """Return whether `weights` means a file: it has a path separator or ends like a weights file."""
    return "/" in weights or "\\" in weights or weights.lower().endswith(WEIGHTS_SUFFIXES)


def resolve_image(section: ImageSection, document: Document) -> ImageSpec | None:
    """Return the size, with all three numbers where two are known; None, with a problem, if they disagree."""
    size_px, size_deg, ppd = section.size_px, section.size_deg, section.ppd
    if size_deg and ppd:
        exact = size_deg * ppd
        if size_px is None:
            if not 15.5 <= exact <= 4096:
                message = f"size_deg × ppd = {exact:.4g} px; stimuli have from 16 to 4096 px."
                document.complain(("image",), f"{message} Change size_deg or ppd.")
                return None
            size_px = round(exact)
        elif abs(exact - size_px) >= 1:
            message = (
                f"size_deg × ppd = {exact:.4g} px, but size_px is {size_px}; "
                "give two of the three, or make them agree to one pixel."
            )
            document.complain(("image",), message)
            return None
    elif size_px is None:
        document.complain(
            ("image",), "expected size_px, or both size_deg and ppd; with one alone the size is unknown."
        )
        return None
    elif size_deg:
        ppd = size_px / size_deg
    elif ppd:
        size_deg = size_px / ppd
    if any(number is not None and not 0 < number < math.inf for number in (size_deg, ppd)):
        message = f"size_deg is {size_deg:g} and ppd {ppd:g}: no display is like that; correct them."
        document.complain(("image",), message)
        return None
    return ImageSpec(size_px, size_deg, ppd, section.color)


def resolve_network(
    spec: NetworkSpec, place: DataPath, folder: Path, document: Document
) -> NetworkSpec | None:
    """Return the network with a weights file as an absolute path; None, with problems, if it can't be had."""
    if spec.name not in NETWORKS:
        document.complain(
            (*place, "name"), f'unknown network "{shorten(spec.name)}". {nearest(spec.name, NETWORKS)}'
        )
        return None
    if is_weights_file(spec.weights):
        path = find_file(spec.weights, folder)
        if path is None and not document.files_needed:
            path = (folder / spec.weights).resolve()
        if path is None:
            message = f'there is no weights file "{shorten(spec.weights)}" in {folder}; correct the path.'
            document.complain((*place, "weights"), message)
            return None
        return spec.model_copy(update={"weights": str(path)})
    if random_seed(spec.weights) is not None or not document.files_needed:
        return spec
    known = (*weights_names(spec.name), "random")
    if spec.weights not in known:
        known += _imported_names(spec.name)
    if spec.weights not in known:
        message = (
            f'unknown weights "{shorten(spec.weights)}" for network {spec.name}. '
            f"{nearest(spec.weights, known)} Or the path of a file ({', '.join(WEIGHTS_SUFFIXES)})."
        )
        document.complain((*place, "weights"), message)
        return None
    return spec


def resolve_layer_set(
    name: str, section: LayerSetSection, default: NetworkSpec, folder: Path, document: Document
) -> LayerSet | None:
    """Return a layer set with its own network; None, with problems, if a layer or the network is unknown."""
    place: DataPath = ("layer_sets", name)
    change = section.network.model_dump(exclude_none=True)
    network: NetworkSpec | None = default
    if change:
        other = change.get("name", default.name)
        if other != default.name and "weights" not in change and is_weights_file(default.weights):
            message = f"the manifest's weights file is for {default.name}; give weights for {other} here."
            document.complain((*place, "network", "name"), message)
            return None
        network = resolve_network(default.model_copy(update=change), (*place, "network"), folder, document)
    if network is None:
        return None
    architecture = NETWORKS[network.name]()
    before = len(document.problems)
    layers = expand_layers(section.layers, architecture, (*place, "layers"), document)
    _check_weights(section.layer_weights, layers, place, document)
    if len(document.problems) > before:
        return None
    weights = {layer: float(section.layer_weights.get(layer, 1.0)) for layer in layers}
    return LayerSet(name, layers, weights, network, section.components)


def expand_layers(
    named: Sequence[str], architecture: Architecture, place: DataPath, document: Document
) -> tuple[str, ...]:
    """Return layers in the order of the network, ranges ("conv1_1..pool4") written out.

    Layers that are unknown or given twice are problems, and ranges that run backwards.
    """
    found: set[str] = set()
    for index, entry in enumerate(named):
        where = (*place, index)
        try:
            layers = architecture.range_of(shorten(entry))
        except InputError as error:
            document.complain(where, f"{error.problem} {error.cure}")
            continue
        if found & set(layers):
            twice = next(layer for layer in layers if layer in found)
            document.complain(where, f'the layer "{twice}" is given twice; once is enough.')
        found.update(layers)
    return tuple(layer for layer in architecture.layers if layer in found)


def check_depth(layer_set: LayerSet, size_px: int, document: Document) -> None:
    """Complain about a layer that has no position left in an image of `size_px`."""
    architecture = NETWORKS[layer_set.network.name]()
    _check_deepest(layer_set.layers, architecture, size_px, ("layer_sets", layer_set.name), document)


def _check_deepest(
    layers: Sequence[str], architecture: Architecture, size_px: int, place: DataPath, document: Document
) -> None:
    deepest = architecture.deepest(layers)
    smallest = architecture.smallest_px(deepest)
    if smallest > size_px:
        message = (
            f"stimuli of {size_px} px are too small for {deepest}, which needs at least {smallest} px; "
            "use larger stimuli or shallower layers."
        )
        document.complain(place, message)


def check_accept(
    accept: AcceptSpec,
    measure: MeasureSpec,
    network: NetworkSpec,
    layer_sets: Collection[LayerSet],
    document: Document,
) -> None:
    """Complain about thresholds of Gram distances where these are not of what a layer set matches."""
    elsewhere = [one.name for one in layer_sets if measure.network == "manifest" and one.network != network]
    reduced = [
        one.name
        for one in layer_sets
        if one.parameters < LayerSet(one.name, one.layers, one.layer_weights, one.network).parameters
    ]
    for name in ("gram_relative_max", "gram_normalised_max"):
        if getattr(accept, name) is None:
            continue
        if elsewhere:
            message = (
                f"nothing judges {', '.join(elsewhere)}, made in another network than the one that "
                "measures; leave this threshold out, or measure in their own network."
            )
            document.complain(("accept", name), message)
        if reduced:
            message = (
                f"{', '.join(reduced)} match components alone, and distances are of all channels; leave this "
                "threshold out, and look at the column residual_gram."
            )
            document.complain(("accept", name), message)


def check_measured_network(
    measure: MeasureSpec,
    network: NetworkSpec,
    layer_sets: Iterable[LayerSet],
    controls: Iterable[ControlSpec],
    document: Document,
) -> None:
    """Complain about layers to measure in the manifest's network if nothing is measured there."""
    used = {one.network for one in layer_sets}
    used |= {one.layer_set.network if one.layer_set else network for one in controls}
    if measure.layers and measure.network == "own" and network not in used:
        message = (
            "no stimulus is measured in the manifest's network, so these layers never are; say network: "
            "manifest beside them, or leave them out."
        )
        document.complain(("measure", "layers"), message)


def resolve_measure(
    measure: MeasureSpec, network: NetworkSpec | None, size_px: int | None, document: Document
) -> MeasureSpec:
    """Return what is measured, with ranges of layers written out.

    Parameters
    ----------
    measure
        As in the manifest.
    network, size_px
        The manifest's network and the side of the stimuli; None if they are not known.
    document
        Where problems go: layers and statistics that stimuli of this size do not have.
    """
    if network is not None and measure.layers:
        architecture, place = NETWORKS[network.name](), ("measure", "layers")
        layers = expand_layers(measure.layers, architecture, place, document)
        measure = measure.model_copy(update={"layers": layers})
        if layers and size_px is not None:
            _check_deepest(layers, architecture, size_px, place, document)
    if size_px is not None:
        _check_portilla_simoncelli(measure, size_px, document)
    return measure


def _check_portilla_simoncelli(measure: MeasureSpec, size_px: int, document: Document) -> None:
    if measure.portilla_simoncelli and (problem := size_problem(size_px, size_px, SCALES, WIDTH)):
        message = f"{problem} Change size_px, or leave portilla_simoncelli out."
        document.complain(("measure", "portilla_simoncelli"), message)


def resolve_control(
    index: int,
    section: ControlSection,
    image: ImageSpec | None,
    named: Sequence[str],
    layer_sets: Mapping[str, LayerSet],
    document: Document,
) -> ControlSpec | None:
    """Return a control with all its options; None, with problems, if it is unknown or impossible.

    Parameters
    ----------
    index, section
        Its place in the list of controls, and what is said there.
    image
        Size of the stimuli; None if it is not known.
    named, layer_sets
        Names of all layer sets, and those of them that could be resolved.
    document
        Where problems go.
    """
    place: DataPath = ("controls", index)
    if section.name not in CONTROLS:
        message = f'unknown control "{shorten(section.name)}". {nearest(section.name, CONTROLS)}'
        document.complain((*place, "name"), message)
        return None
    control = CONTROLS[section.name]
    try:
        # As JSON, because pydantic's strict mode takes a list for a tuple there, but never "3" for 3.
        valid = control.options.model_validate_json(json.dumps(section.model_extra), strict=True)
    except ValidationError as error:
        known = ["name", "id", *control.options.model_fields]
        for one in option_problems(error, document, place, known):
            document.add(one)
        return None
    options = valid.model_dump()
    problem = control.check(options, image.size_px) if control.check and image else None
    if problem:
        document.complain(place, problem)
        return None
    layer_set = None
    if "layer_set" in options:
        name = _layer_set_of(section.name, options["layer_set"], named, place, document)
        layer_set = layer_sets.get(name) if name else None
        if layer_set is None:
            return None
        options["layer_set"] = name
    return ControlSpec(section.id or section.name, section.name, control.seeded, options, layer_set)


def _layer_set_of(
    control: str, name: str | None, named: Sequence[str], place: DataPath, document: Document
) -> str | None:
    """Return which layer set a control refers to, the only one by default; None, with a problem, if none."""
    if name is None and len(named) == 1:
        return named[0]
    if not named:
        document.complain(place, f"{control} needs a layer set, and there is none; add layer_sets.")
        return None
    if name is None:
        document.complain(place, f"which layer set? Add layer_set to {control}: {', '.join(named)}.")
    elif name not in named:
        document.complain(
            (*place, "layer_set"), f'unknown layer set "{shorten(name)}". {nearest(name, named)}'
        )
        return None
    return name


def check_conditions(
    layer_sets: Iterable[str], controls: Iterable[tuple[int, str]], document: Document
) -> None:
    """Complain about condition names that are taken, ignoring case as file systems do."""
    places: list[tuple[str, DataPath, str]] = [
        (name, ("layer_sets", name), "layer set") for name in layer_sets
    ]
    places += [(name, ("controls", index), "control") for index, name in controls]
    taken: dict[str, str] = {}
    for name, place, kind in places:
        if name.lower() in taken:
            cure = "give the control another id" if kind == "control" else "rename one of them"
            other = taken[name.lower()]
            document.complain(place, f'the condition name "{name}" is taken by {other}; {cure}.')
        taken.setdefault(name.lower(), f'the {kind} "{name}"')


def check_matching(matching: MatchingSpec, document: Document) -> None:
    """Complain about statistics that can't be matched together, and about iterations of nothing."""
    asked = matching.asked
    if {"rotational_spectrum", "full_spectrum"} <= set(asked):
        message = (
            "the full spectrum holds the rotational one, so both can't be matched; set one of them to none."
        )
        document.complain(("matching", "full_spectrum"), message)
    if {"luminance", "histogram"} <= set(asked):
        message = "a matched histogram sets mean and contrast already; set luminance or histogram to none."
        document.complain(("matching", "luminance"), message)
    spectra = {"rotational_spectrum", "full_spectrum"} & set(asked)
    if matching.iterations > 1 and not (spectra and "histogram" in asked):
        message = (
            f"{matching.iterations} iterations alternate a spectrum and the histogram, which are not both "
            "matched; match both, or leave iterations out."
        )
        document.complain(("matching", "iterations"), message)


def seeds_of(seeds: SeedRange | tuple[int, ...], document: Document) -> tuple[int, ...]:
    """Return the seeds one by one; a seed that is listed twice is a problem."""
    if isinstance(seeds, SeedRange):
        return tuple(range(seeds.first, seeds.first + seeds.count))
    seen: set[int] = set()
    for index, seed in enumerate(seeds):
        if seed in seen:
            document.complain(
                ("seeds", index), f"the seed {seed} is given twice; it would make the same image."
            )
        seen.add(seed)
    return seeds


def _imported_names(network: str) -> tuple[str, ...]:
    """Return the names of the weights in the cache, where `stimgen weights import` puts them."""
    from stimgen.networks.weights.cache import cached_paths

    stems = (path.stem.split("-", 1) for path in cached_paths())
    return tuple(parts[1] for parts in stems if len(parts) == 2 and parts[0] == network)


def _check_weights(
    weights: Mapping[str, float], layers: tuple[str, ...], place: DataPath, document: Document
) -> None:
    for layer in weights:
        if layer not in layers:
            message = (
                f'a weight for "{shorten(layer)}", which is not among the layers. {nearest(layer, layers)}'
            )
            document.complain((*place, "layer_weights", layer), message, key=True)
