"""The checks that a schema can't make: layers of a network, files, options of controls, sizes that agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

from stimgen.controls import CONTROLS
from stimgen.counting import first_few
from stimgen.errors import InputError, nearest
from stimgen.images.sources import ImageSpec
from stimgen.manifest.document import DataPath, Document, ManifestError, shorten
from stimgen.manifest.plan import plan
from stimgen.manifest.resolved import ControlSpec, LayerSet, Manifest, TrialsSpec
from stimgen.manifest.schema import (
    ControlSection,
    LayerSetSection,
    MeasureSpec,
    NetworkSpec,
    SeedRange,
    TrialsSection,
)
from stimgen.manifest.sections import read, read_section
from stimgen.manifest.sources import expand_sources, find_file
from stimgen.measure.portilla_simoncelli import SCALES, WIDTH, size_problem
from stimgen.networks.architectures import NETWORKS, random_seed, weights_names
from stimgen.texture.presets import Gatys2015
from stimgen.trials import DESIGNS, Available, Exemplar, OptionError, make_trials

MAX_STIMULI = 1_000_000
WEIGHTS_SUFFIXES = (".pth", ".pt", ".safetensors", ".onnx", ".h5", ".hdf5")


def resolve(
    file: SimpleNamespace, document: Document, path: Path, *, files_needed: bool, open_images: bool
) -> Manifest | None:
    """Return the manifest with nothing left open; None, with problems, if that is impossible.

    `file` has the sections as models; None stands for sections and entries that are not valid.
    """
    image: ImageSpec | None = ImageSpec(**file.image.model_dump()) if file.image else None
    resolver = _Resolver(document, path.parent.resolve(), image.size_px if image else None, files_needed)
    sources = expand_sources(
        file.sources or (),
        resolver.folder,
        document,
        image,
        files_needed=files_needed,
        open_images=open_images,
    )
    seeds = file.seeds or ()
    if isinstance(seeds, SeedRange):
        seeds = tuple(range(seeds.first, seeds.first + seeds.count))
    spec = file.network
    if spec and isinstance(file.synthesis, Gatys2015) and "padding" not in spec.model_fields_set:
        spec = spec.model_copy(update={"padding": "zeros"})
    usable = network = resolver.network(spec, ("network",))
    if spec and spec.name in NETWORKS and network is None:
        # Layer sets can be looked at although the manifest's weights are wrong.
        usable = spec.model_copy(update={"weights": NetworkSpec().weights})
    entries = (file.layer_sets or {}).items()
    found = {name: resolver.layer_set(name, entry, usable) for name, entry in entries}
    layer_sets = {name: layer_set for name, layer_set in found.items() if layer_set}
    if usable:
        # Layer sets with mistakes are conditions, too, of which trial lists and controls are checked.
        layer_sets |= {name: LayerSet(name, (), {}, usable, None) for name in found if not found[name]}
    controls = [
        resolver.control(index, entry, layer_sets, list(found))
        for index, entry in enumerate(file.controls or ())
    ]
    measure = resolver.measure(file.measure or MeasureSpec(), network)
    if file.layer_sets == {} and file.controls == ():
        document.complain((), "there is nothing to make; give layer_sets, controls, or both.")
    trials = resolve_trials(file.trials or (), document)
    count = len(sources) * (len(found) + len(controls)) * len(seeds)
    if count > MAX_STIMULI:
        message = f"sources × conditions × seeds make {count} stimuli, more than {MAX_STIMULI}"
        document.complain(("seeds",), f"{message}; split the manifest.")
    if (
        image is None
        or network is None
        or not all(p.location.startswith(("sources", "layer_sets")) for p in document.problems)
    ):
        return None
    manifest = Manifest(
        path=path,
        folder=resolver.folder,
        name=file.name,
        description=file.description,
        image=image,
        sources=sources,
        network=network,
        layer_sets=layer_sets,
        seeds=seeds,
        synthesis=file.synthesis,
        controls=tuple(control for control in controls if control),
        matching=file.matching,
        measure=measure,
        accept=file.accept,
        trials=trials,
    )
    if not document.problems:
        _check_measured(manifest, document)
    _check_masks(manifest, document)
    check_trials(manifest, document)
    return manifest


def is_weights_file(weights: str) -> bool:
    """Return whether `weights` means a file: it has a path separator or ends like a weights file."""
    return "/" in weights or "\\" in weights or weights.lower().endswith(WEIGHTS_SUFFIXES)


def known_weights(network: str) -> tuple[str, ...]:
    """Return the names of published weights, and of those that `stimgen weights import` put in the cache."""
    from stimgen.networks.weights.cache import cached_names

    return (*weights_names(network), *(name for owner, name in cached_names() if owner == network))


@dataclass(frozen=True)
class _Resolver:
    """Finds what sections name, as seen from the manifest's folder; what is wrong becomes a problem."""

    document: Document
    folder: Path
    size_px: int | None
    files_needed: bool

    def network(self, spec: NetworkSpec | None, place: DataPath) -> NetworkSpec | None:
        """Return the network with a weights file as an absolute path."""
        if spec is None:
            return None
        name, weights = spec.name, spec.weights
        if name not in NETWORKS:
            message = f'unknown network "{shorten(name)}". {nearest(name, NETWORKS)}'
            self.document.complain((*place, "name"), message)
            return None
        if is_weights_file(weights):
            path = find_file(weights, self.folder, needed=self.files_needed)
            if path is not None:
                return spec.model_copy(update={"weights": str(path)})
            message = f'there is no weights file "{shorten(weights)}" in {self.folder}; correct the path.'
        elif random_seed(weights) is None and self.files_needed and weights not in known_weights(name):
            message = (
                f'unknown weights "{shorten(weights)}" for network {name}. '
                f"{nearest(weights, (*known_weights(name), 'random'))} "
                f"Or the path of a file ({', '.join(WEIGHTS_SUFFIXES)})."
            )
        else:
            return spec
        self.document.complain((*place, "weights"), message)
        return None

    def layers(self, named: Sequence[str], network: NetworkSpec, place: DataPath) -> tuple[str, ...]:
        """Return layers in the order of the network, ranges ("conv1_1..pool4") written out.

        Empty if a layer is unknown, given twice, or has no position left in images of this size.
        """
        architecture = NETWORKS[network.name]()
        before = len(self.document.problems)
        found: set[str] = set()
        for index, entry in enumerate(named):
            try:
                layers = architecture.range_of(shorten(entry))
            except InputError as error:
                self.document.complain((*place, index), f"{error.problem} {error.cure}")
                continue
            twice = next((layer for layer in layers if layer in found), None)
            if twice is not None:
                message = f'the layer "{twice}" is given twice; once is enough.'
                self.document.complain((*place, index), message)
            found.update(layers)
        if len(self.document.problems) > before:
            return ()
        deepest = architecture.deepest(found)
        smallest = architecture.smallest_px(deepest)
        if self.size_px is not None and smallest > self.size_px:
            message = (
                f"stimuli of {self.size_px} px are too small for {deepest}, which needs at least {smallest} "
                "px; use larger stimuli or shallower layers."
            )
            self.document.complain(place, message)
        return tuple(layer for layer in architecture.layers if layer in found)

    def layer_set(
        self, name: str, section: LayerSetSection | None, default: NetworkSpec | None
    ) -> LayerSet | None:
        """Return a layer set with its own network, the `default` with the section's changes."""
        place: DataPath = ("layer_sets", name)
        self.document.claim("condition name", name, f'the layer set "{name}"', place)
        if section is None or default is None:
            return None
        change = section.network.model_dump(exclude_none=True)
        other = change.get("name", default.name)
        if other != default.name and "weights" not in change and is_weights_file(default.weights):
            message = f"the manifest's weights file is for {default.name}; give weights for {other} here."
            self.document.complain((*place, "network", "name"), message)
            return None
        network: NetworkSpec | None = default
        if change:
            network = self.network(default.model_copy(update=change), (*place, "network"))
        layers = self.layers(section.layers, network, (*place, "layers")) if network else ()
        if network is None or not layers:
            return None
        for layer in set(section.layer_weights) - set(layers):
            message = f'a weight for "{shorten(layer)}", which is not among the layers.'
            where = (*place, "layer_weights", layer)
            self.document.complain(where, f"{message} {nearest(layer, layers)}", key=True)
        weights = {layer: float(section.layer_weights.get(layer, 1.0)) for layer in layers}
        return LayerSet(name, layers, weights, network, section.components)

    def control(
        self,
        index: int,
        section: ControlSection | None,
        layer_sets: Mapping[str, LayerSet],
        named: Sequence[str],
    ) -> ControlSpec | None:
        """Return a control with all its options; `named` are all layer sets, also those with problems."""
        if section is None:
            return None
        place: DataPath = ("controls", index)
        condition = section.id or section.name
        self.document.claim("condition name", condition, f'the control "{condition}"', place)
        if section.name not in CONTROLS:
            message = f'unknown control "{shorten(section.name)}". {nearest(section.name, CONTROLS)}'
            self.document.complain((*place, "name"), message)
            return None
        control = CONTROLS[section.name]
        valid = read(control.options, section.model_extra, self.document, place, others=("name", "id"))
        if valid is None:
            return None
        options = valid.model_dump()
        problem = control.check(options, self.size_px) if control.check and self.size_px else None
        layer_set = None
        if "layer_set" in options:
            name = options["layer_set"]
            if name is None and len(named) == 1:
                name = options["layer_set"] = named[0]
            layer_set = layer_sets.get(name or "")
            if not named:
                problem = f"{section.name} needs a layer set, and there is none; add layer_sets."
            elif name is None:
                problem = f"which layer set? Add layer_set to {section.name}: {', '.join(named)}."
            elif name not in named:
                place = (*place, "layer_set")
                problem = f'unknown layer set "{shorten(name)}". {nearest(name, named)}'
        if problem:
            self.document.complain(place, problem)
        return ControlSpec(condition, section.name, control.seeded, options, layer_set)

    def measure(self, measure: MeasureSpec, network: NetworkSpec | None) -> MeasureSpec:
        """Return what is measured, with ranges of layers written out."""
        if measure.portilla_simoncelli and self.size_px is not None:
            problem = size_problem(self.size_px, self.size_px, SCALES, WIDTH)
            if problem:
                message = f"{problem} Change size_px, or leave portilla_simoncelli out."
                self.document.complain(("measure", "portilla_simoncelli"), message)
        if network is None or not measure.layers:
            return measure
        layers = self.layers(measure.layers, network, ("measure", "layers"))
        return measure.model_copy(update={"layers": layers})


def _check_measured(manifest: Manifest, document: Document) -> None:
    """Complain about layers that are never measured, and about thresholds that judge nothing."""
    measure, network, layer_sets = manifest.measure, manifest.network, manifest.layer_sets.values()
    used = {entry.network for entry in layer_sets}
    used |= {control.layer_set.network if control.layer_set else network for control in manifest.controls}
    if measure.layers and measure.network == "own" and network not in used:
        message = (
            "no stimulus is measured in the manifest's network, so these layers never are; say network: "
            "manifest beside them, or leave them out."
        )
        document.complain(("measure", "layers"), message)
    elsewhere = [entry.name for entry in layer_sets if entry.network != network]
    reduced = [e.name for e in layer_sets if e.parameters < replace(e, components=None).parameters]
    for name in ("gram_relative_max", "gram_normalised_max"):
        if getattr(manifest.accept, name) is None:
            continue
        if elsewhere and measure.network == "manifest":
            message = (
                f"nothing judges {', '.join(elsewhere)}, made in another network than the one that "
                "measures; leave this threshold out, or measure in their own network."
            )
            document.complain(("accept", name), message)
        if reduced:
            message = (
                f"{', '.join(reduced)} match components alone, and distances are of all channels; leave "
                "this threshold out, and look at the column residual_gram."
            )
            document.complain(("accept", name), message)


def _check_masks(manifest: Manifest, document: Document) -> None:
    """Complain about what needs whole sources where some have masks."""
    masked = first_few([source.id for source in manifest.sources if source.mask])
    if not masked:
        return
    without = f"leave it out, or the mask of {masked}"
    for index, control in enumerate(manifest.controls):
        if CONTROLS[control.name].of_mask is None:
            message = f"{control.name} needs whole sources; {without}, and crop a square inside it."
            document.complain(("controls", index), message)
    for name in ("rotational_spectrum", "full_spectrum"):
        if name in manifest.matching.asked:
            message = (
                f"only whole sources have a spectrum; {without}; luminance and histogram can be matched."
            )
            document.complain(("matching", name), message)
    if manifest.measure.portilla_simoncelli:
        message = f"these statistics need whole sources; {without}."
        document.complain(("measure", "portilla_simoncelli"), message)
    if manifest.accept.gram_normalised_max is not None:
        message = f"with a mask there is no normalised distance; {without}, or use gram_relative_max."
        document.complain(("accept", "gram_normalised_max"), message)


def read_trials(document: Document) -> tuple[TrialsSpec, ...]:
    """Return the trial lists of a text that has the section `trials`, whatever its other sections are."""
    trials = resolve_trials(read_section("trials", document.data, document) or (), document)
    if document.problems:
        raise ManifestError(document.problems)
    return trials


def resolve_trials(sections: Sequence[TrialsSection | None], document: Document) -> tuple[TrialsSpec, ...]:
    """Return trial lists with all their options, without those that have problems."""
    specs = []
    for index, section in enumerate(sections):
        if section is None:
            continue
        place: DataPath = ("trials", index)
        name = section.id or section.design
        document.claim("id", shorten(name), "another trial list", place)
        if section.design not in DESIGNS:
            message = f'unknown design "{shorten(section.design)}". {nearest(section.design, DESIGNS)}'
            document.complain((*place, "design"), message)
            continue
        model = DESIGNS[section.design].options
        options = read(model, section.model_extra, document, place, others=("design", "id"))
        if options is not None:
            specs.append(TrialsSpec(name, section.design, options))
    return tuple(specs)


def check_trials(manifest: Manifest, document: Document) -> None:
    """Make the trial lists as if every stimulus were accepted, and complain where stimuli do not suffice."""
    if not manifest.trials:
        return
    available = planned(manifest)
    for index, spec in enumerate(manifest.trials):
        for options in (spec.options, spec.options.model_copy(update={"crop_px": 2})):
            try:
                make_trials(spec.design, available, options)
                break
            except OptionError as error:
                message = f"{error.problem[:1].lower()}{error.problem[1:]} {error.cure}"
                document.complain(("trials", index, error.option), message)
                if error.option != "crop_px":  # of a patch that does not fit, the rest is still looked at
                    break


def planned(manifest: Manifest) -> Available:
    """Return the stimuli that a manifest makes."""
    exemplars = [
        Exemplar(
            stimulus.stimulus_id,
            stimulus.source,
            stimulus.condition,
            stimulus.seed,
            stimulus.control is not None and CONTROLS[stimulus.control.name].is_source,
        )
        for stimulus in plan(manifest)
    ]
    return Available.of(exemplars, manifest.image.size_px)
