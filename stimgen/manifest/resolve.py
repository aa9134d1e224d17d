"""The checks that a schema can't make: layers of a network, files, options of controls, sizes that agree."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from stimgen.controls import CONTROLS
from stimgen.errors import InputError, nearest
from stimgen.images.sources import ImageSpec
from stimgen.manifest.document import Document, shorten
from stimgen.manifest.problems import DataPath
from stimgen.manifest.resolved import ControlSpec, LayerSet, Manifest
from stimgen.manifest.schema import (
    AcceptSpec,
    ControlSection,
    ImageSection,
    LayerSetSection,
    ManifestFile,
    MatchingSpec,
    MeasureSpec,
    NetworkSpec,
    SeedRange,
)
from stimgen.manifest.sources import check_boxes, expand_sources, find_file
from stimgen.manifest.trials import check_trials, resolve_trials
from stimgen.manifest.wording import read_options
from stimgen.measure.portilla_simoncelli import SCALES, WIDTH, size_problem
from stimgen.networks.architectures import NETWORKS
from stimgen.networks.catalogue import random_seed, weights_names

MAX_STIMULI = 1_000_000
WEIGHTS_SUFFIXES = (".pth", ".pt", ".safetensors", ".onnx", ".h5", ".hdf5")


def resolve(file: ManifestFile, document: Document, path: Path, *, files_needed: bool) -> Manifest | None:
    """Return the manifest with nothing left open; None if sections that it needs have problems.

    In `file`, None stands for sections and entries that are not valid.
    """
    folder = path.parent.resolve()
    image = _image(file.image, document)
    sources = expand_sources(file.sources or (), folder, document, files_needed=files_needed)
    check_boxes(file.sources or (), image, document)
    seeds = _seeds(file.seeds, document)
    conditions = _Conditions(file, image, folder, document, files_needed)
    conditions.resolve()
    measure = _measure(conditions)
    _check_matching(file.matching, document)
    if file.layer_sets == {} and file.controls == ():
        document.complain((), "there is nothing to make; give layer_sets, controls, or both.")
    trials = resolve_trials(file.trials or (), document)
    count = len(sources) * (len(file.layer_sets or ()) + len(file.controls or ())) * len(seeds)
    if count > MAX_STIMULI:
        message = f"sources × conditions × seeds make {count} stimuli, more than {MAX_STIMULI}"
        document.complain(("seeds",), f"{message}; split the manifest.")
    if image is None or conditions.network is None or document.problems:
        return None
    manifest = Manifest(
        path=path,
        folder=folder,
        name=file.name,
        description=file.description,
        image=image,
        sources=sources,
        network=conditions.network,
        layer_sets=conditions.layer_sets,
        seeds=seeds,
        synthesis=file.synthesis,
        controls=tuple(conditions.controls),
        matching=file.matching,
        measure=measure,
        accept=file.accept,
        trials=trials,
    )
    check_trials(manifest, document)
    return manifest


def is_weights_file(weights: str) -> bool:
    """Return whether `weights` means a file: it has a path separator or ends like a weights file."""
    return "/" in weights or "\\" in weights or weights.lower().endswith(WEIGHTS_SUFFIXES)


def known_weights(network: str) -> tuple[str, ...]:
    """Return the names of published weights, and of those that `stimgen weights import` put in the cache."""
    from stimgen.networks.weights.cache import cached_names

    return (*weights_names(network), *(name for owner, name in cached_names() if owner == network))


def _image(section: ImageSection | None, document: Document) -> ImageSpec | None:
    """Return the size, with all three numbers where two are known; None if they are wrong."""
    if section is None:
        return None
    size_px, size_deg, ppd = section.size_px, section.size_deg, section.ppd
    exact = size_deg * ppd if size_deg and ppd else size_px
    if exact is None:
        message = "expected size_px, or both size_deg and ppd; with one alone the size is unknown."
    elif size_px is None and not 15.5 <= exact <= 4096:
        message = f"size_deg × ppd = {exact:.4g} px; stimuli have from 16 to 4096 px. Change size_deg or ppd."
    elif size_px is not None and round(exact) != size_px:
        message = f"size_deg × ppd = {exact:.4g} px, but size_px is {size_px}; give two of the three."
    else:
        size_px = size_px or round(exact)
        ppd = ppd or (size_px / size_deg if size_deg else None)
        # Of what is shown: whole pixels, of the display's size.
        size_deg = size_px / ppd if ppd else None
        if all(number is None or 0 < number < math.inf for number in (size_deg, ppd)):
            return ImageSpec(size_px, size_deg, ppd, section.color)
        message = f"size_deg is {size_deg:g} and ppd {ppd:g}: no display is like that; correct them."
    document.complain(("image",), message)
    return None


def _seeds(seeds: SeedRange | tuple[int, ...] | None, document: Document) -> tuple[int, ...]:
    """Return the seeds one by one; a seed that is listed twice is a problem."""
    if isinstance(seeds, SeedRange):
        return tuple(range(seeds.first, seeds.first + seeds.count))
    seen: set[int] = set()
    for index, seed in enumerate(seeds or ()):
        if seed in seen:
            document.complain(
                ("seeds", index), f"the seed {seed} is given twice; it would make the same image."
            )
        seen.add(seed)
    return seeds or ()


@dataclass
class _Conditions:
    """Layer sets and controls, and the networks that they use; what is not valid is left out."""

    file: ManifestFile
    image: ImageSpec | None
    folder: Path
    document: Document
    files_needed: bool
    network: NetworkSpec | None = None
    layer_sets: dict[str, LayerSet] = field(default_factory=dict)
    controls: list[ControlSpec] = field(default_factory=list)

    def resolve(self) -> None:
        """Fill in the network, the layer sets and the controls."""
        self._check_names()
        usable = self.network = self._network(self.file.network, ("network",))
        if usable is None and getattr(self.file.network, "name", None) in NETWORKS:
            # Layer sets can be looked at although the manifest's weights are wrong.
            usable = self.file.network.model_copy(update={"weights": NetworkSpec().weights})
        for name, section in (self.file.layer_sets or {}).items():
            layer_set = self._layer_set(name, section, usable)
            if layer_set is not None:
                self.layer_sets[name] = layer_set
        found = [self._control(index, entry) for index, entry in enumerate(self.file.controls or ())]
        self.controls = [control for control in found if control is not None]

    def _check_names(self) -> None:
        """Complain about condition names that are taken, ignoring case as file systems do."""
        controls: Sequence[ControlSection | None] = self.file.controls or ()
        named: list[tuple[DataPath, str]] = [
            (("layer_sets", name), name) for name in self.file.layer_sets or ()
        ]
        named += [(("controls", i), entry.id or entry.name) for i, entry in enumerate(controls) if entry]
        taken: dict[str, str] = {}
        for place, name in named:
            is_control = place[0] == "controls"
            if name.lower() in taken:
                cure = "give the control another id" if is_control else "rename one of them"
                message = f'the condition name "{name}" is taken by {taken[name.lower()]}; {cure}.'
                self.document.complain(place, message)
            taken.setdefault(name.lower(), f'the {"control" if is_control else "layer set"} "{name}"')

    def _network(self, spec: NetworkSpec | None, place: DataPath) -> NetworkSpec | None:
        """Return the network with a weights file as an absolute path; None, with a problem, if unknown."""
        if spec is None:
            return None
        name, weights = spec.name, spec.weights
        where, message = (*place, "weights"), ""
        if name not in NETWORKS:
            where, message = (*place, "name"), f'unknown network "{shorten(name)}". {nearest(name, NETWORKS)}'
        elif is_weights_file(weights):
            path = find_file(weights, self.folder, needed=self.files_needed)
            if path is not None:
                return spec.model_copy(update={"weights": str(path)})
            message = f'there is no weights file "{shorten(weights)}" in {self.folder}; correct the path.'
        elif random_seed(weights) is None and self.files_needed and weights not in known_weights(name):
            known = (*known_weights(name), "random")
            message = (
                f'unknown weights "{shorten(weights)}" for network {name}. {nearest(weights, known)} '
                f"Or the path of a file ({', '.join(WEIGHTS_SUFFIXES)})."
            )
        if not message:
            return spec
        self.document.complain(where, message)
        return None

    def _layer_set(
        self, name: str, section: LayerSetSection | None, default: NetworkSpec | None
    ) -> LayerSet | None:
        """Return a layer set with its own network; None, with problems, if a name is unknown."""
        if section is None or default is None:
            return None
        place: DataPath = ("layer_sets", name)
        change = section.network.model_dump(exclude_none=True)
        network: NetworkSpec | None = default
        if change:
            other = change.get("name", default.name)
            if other != default.name and "weights" not in change and is_weights_file(default.weights):
                message = f"the manifest's weights file is for {default.name}; give weights for {other} here."
                self.document.complain((*place, "network", "name"), message)
                return None
            network = self._network(default.model_copy(update=change), (*place, "network"))
        if network is None:
            return None
        before = len(self.document.problems)
        layers = _expand_layers(section.layers, network, (*place, "layers"), self.document)
        for layer in set(section.layer_weights) - set(layers):
            message = f'a weight for "{shorten(layer)}", which is not among the layers.'
            where = (*place, "layer_weights", layer)
            self.document.complain(where, f"{message} {nearest(layer, layers)}", key=True)
        if len(self.document.problems) > before:
            return None
        if self.image is not None:
            _check_depth(layers, network, self.image.size_px, place, self.document)
        weights = {layer: float(section.layer_weights.get(layer, 1.0)) for layer in layers}
        return LayerSet(name, layers, weights, network, section.components)

    def _control(self, index: int, section: ControlSection | None) -> ControlSpec | None:
        """Return a control with all its options; None, with problems, if it is unknown or impossible."""
        if section is None:
            return None
        place: DataPath = ("controls", index)
        if section.name not in CONTROLS:
            message = f'unknown control "{shorten(section.name)}". {nearest(section.name, CONTROLS)}'
            self.document.complain((*place, "name"), message)
            return None
        control = CONTROLS[section.name]
        valid = read_options(control.options, section.model_extra, self.document, place, ("name", "id"))
        if valid is None:
            return None
        options = valid.model_dump()
        problem = control.check(options, self.image.size_px) if control.check and self.image else None
        if problem:
            self.document.complain(place, problem)
            return None
        layer_set = None
        if "layer_set" in options:
            name = options["layer_set"] = self._layer_set_of(section.name, options["layer_set"], place)
            layer_set = self.layer_sets.get(name or "")
            if layer_set is None:
                return None
        return ControlSpec(section.id or section.name, section.name, control.seeded, options, layer_set)

    def _layer_set_of(self, control: str, name: str | None, place: DataPath) -> str | None:
        """Return the layer set that a control refers to, by default the only one."""
        named = list(self.file.layer_sets or ())
        if name is None and len(named) == 1:
            return named[0]
        if not named:
            self.document.complain(place, f"{control} needs a layer set, and there is none; add layer_sets.")
        elif name is None:
            self.document.complain(place, f"which layer set? Add layer_set to {control}: {', '.join(named)}.")
        elif name not in named:
            message = f'unknown layer set "{shorten(name)}". {nearest(name, named)}'
            self.document.complain((*place, "layer_set"), message)
        return name


def _expand_layers(
    named: Sequence[str], network: NetworkSpec, place: DataPath, document: Document
) -> tuple[str, ...]:
    """Return layers in the order of the network, ranges ("conv1_1..pool4") written out.

    Layers that are unknown or given twice are problems, and ranges that run backwards.
    """
    architecture = NETWORKS[network.name]()
    found: set[str] = set()
    for index, entry in enumerate(named):
        try:
            layers = architecture.range_of(shorten(entry))
        except InputError as error:
            document.complain((*place, index), f"{error.problem} {error.cure}")
            continue
        twice = next((layer for layer in layers if layer in found), None)
        if twice is not None:
            document.complain((*place, index), f'the layer "{twice}" is given twice; once is enough.')
        found.update(layers)
    return tuple(layer for layer in architecture.layers if layer in found)


def _check_depth(
    layers: Sequence[str], network: NetworkSpec, size_px: int, place: DataPath, document: Document
) -> None:
    """Complain about a layer that has no position left in an image of `size_px`."""
    architecture = NETWORKS[network.name]()
    deepest = architecture.deepest(layers)
    smallest = architecture.smallest_px(deepest)
    if smallest > size_px:
        message = (
            f"stimuli of {size_px} px are too small for {deepest}, which needs at least {smallest} px; "
            "use larger stimuli or shallower layers."
        )
        document.complain(place, message)


def _measure(conditions: _Conditions) -> MeasureSpec:
    """Return what is measured, with ranges of layers written out.

    Layers, statistics and thresholds that these stimuli do not have are problems.
    """
    file, document, network = conditions.file, conditions.document, conditions.network
    measure, size_px = file.measure, conditions.image.size_px if conditions.image else None
    if measure is None:
        return MeasureSpec()
    place = ("measure", "layers")
    if network is not None and measure.layers:
        layers = _expand_layers(measure.layers, network, place, document)
        measure = measure.model_copy(update={"layers": layers})
        if layers and size_px is not None:
            _check_depth(layers, network, size_px, place, document)
    if size_px is not None and measure.portilla_simoncelli:
        problem = size_problem(size_px, size_px, SCALES, WIDTH)
        if problem:
            message = f"{problem} Change size_px, or leave portilla_simoncelli out."
            document.complain(("measure", "portilla_simoncelli"), message)
    if network is None:
        return measure
    if file.accept is not None:
        _check_accept(file.accept, measure, network, conditions.layer_sets.values(), document)
    complete = len(conditions.layer_sets) == len(file.layer_sets or ()) and file.layer_sets is not None
    used = {layer_set.network for layer_set in conditions.layer_sets.values()}
    used |= {control.layer_set.network if control.layer_set else network for control in conditions.controls}
    if complete and measure.layers and measure.network == "own" and network not in used:
        message = (
            "no stimulus is measured in the manifest's network, so these layers never are; say network: "
            "manifest beside them, or leave them out."
        )
        document.complain(place, message)
    return measure


def _check_accept(
    accept: AcceptSpec,
    measure: MeasureSpec,
    network: NetworkSpec,
    layer_sets: Collection[LayerSet],
    document: Document,
) -> None:
    """Complain about thresholds of Gram distances that are not of the statistics that a layer set matches."""
    problems = []
    elsewhere = [entry.name for entry in layer_sets if entry.network != network]
    if elsewhere and measure.network == "manifest":
        problems.append(
            f"nothing judges {', '.join(elsewhere)}, made in another network than the one that "
            "measures; leave this threshold out, or measure in their own network."
        )
    reduced = [e.name for e in layer_sets if e.parameters < replace(e, components=None).parameters]
    if reduced:
        problems.append(
            f"{', '.join(reduced)} match components alone, and distances are of all channels; leave this "
            "threshold out, and look at the column residual_gram."
        )
    for name in ("gram_relative_max", "gram_normalised_max"):
        for message in problems if getattr(accept, name) is not None else ():
            document.complain(("accept", name), message)


def _check_matching(matching: MatchingSpec | None, document: Document) -> None:
    """Complain about statistics that can't be matched together, and about iterations of nothing."""
    if matching is None:
        return
    asked = set(matching.asked)
    spectra = asked & {"rotational_spectrum", "full_spectrum"}
    if len(spectra) == 2:
        document.complain(
            ("matching", "full_spectrum"),
            "the full spectrum holds the rotational one, so both can't be matched; set one of them to none.",
        )
    if {"luminance", "histogram"} <= asked:
        document.complain(
            ("matching", "luminance"),
            "a matched histogram sets mean and contrast already; set luminance or histogram to none.",
        )
    if matching.iterations > 1 and not (spectra and "histogram" in asked):
        document.complain(
            ("matching", "iterations"),
            f"{matching.iterations} iterations alternate a spectrum and the histogram, which are not both "
            "matched; match both, or leave iterations out.",
        )
