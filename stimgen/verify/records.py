"""Records against the manifest: whether each is of the stimulus that is asked for."""

from __future__ import annotations

import itertools
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stimgen.errors import InputError
from stimgen.images.sources import crop_box
from stimgen.manifest.plan import Stimulus, measuring_network
from stimgen.manifest.resolved import Manifest
from stimgen.manifest.schema import NetworkSpec
from stimgen.measure.gram import GramScale
from stimgen.runs.batches import measured_layers
from stimgen.runs.recipe import measured_with, recipe, recipe_sha256, uses_set
from stimgen.runs.record import NetworkRecord, Record, SourceRecord
from stimgen.runs.store import RunFolder
from stimgen.verify.finding import RUN, Cure, Finding, unchecked, wrong

ANEW: tuple[Cure, ...] = ("remove", "run")
"""A record that stimgen did not write as it is, though its seal is right, would be kept by a run."""
STAGES = ("optimised", "matched", "file")
OTHER_RECIPE = "is of another recipe"
SMALLEST_LOSS = 1e-30
"""Below, float32 has fewer digits."""
RATIO_TOLERANCE = 1e-4
"""Relative, of the ratio of two numbers in float32."""


@dataclass(frozen=True)
class RecordedWeights:
    """Weights as a record names them."""

    tensors_sha256: str
    normalised: bool
    convention: RecordedConvention


@dataclass(frozen=True)
class RecordedConvention:
    """Their input convention."""

    name: str


@dataclass
class Identities:
    """What the records say of sources and weights, which must be the same in all of them.

    Attributes
    ----------
    sources, weights
        By source id, or network: each identity with the stimuli whose records say so.
    """

    sources: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    weights: dict[NetworkSpec, dict[RecordedWeights, list[str]]] = field(default_factory=dict)

    def add(self, manifest: Manifest, stimulus: Stimulus, record: Record) -> None:
        """Note what one record says."""
        said = record.source.model_dump_json()
        of_source = self.sources.setdefault(record.source.id, defaultdict(list))
        of_source[said].append(record.stimulus_id)
        for network, recorded in networks_of(manifest, stimulus, record).items():
            of_network = self.weights.setdefault(network, defaultdict(list))
            of_network[recorded_weights(recorded)].append(record.stimulus_id)

    def findings(self, folder: RunFolder) -> Iterator[Finding]:
        """Yield the records that say something else than most do."""
        said = [(f"the source {name}", list(found.values())) for name, found in self.sources.items()]
        said += [(f"weights of {one.name}", list(found.values())) for one, found in self.weights.items()]
        for what, groups in said:
            most, *others = sorted(groups, key=len, reverse=True)
            # Of two that say different things, either may be the one that was changed.
            unsure = [most] if others and len(others[0]) == len(most) else []
            for stimulus_id in itertools.chain.from_iterable([*unsure, *others]):
                file = folder.record_name(stimulus_id)
                yield wrong(file, f"says of {what} what other records do not", () if unsure else ANEW)


def networks_of(manifest: Manifest, stimulus: Stimulus, record: Record) -> dict[NetworkSpec, NetworkRecord]:
    """Return what a record says of the network that made its stimulus, and of the one that measured it."""
    measuring = measuring_network(manifest, stimulus)
    made = stimulus.layer_set.network if stimulus.layer_set else measuring
    return {made: record.network, measuring: record.measured_in}


def recorded_weights(network: NetworkRecord) -> RecordedWeights:
    """Return what a record says of weights."""
    convention = RecordedConvention(network.input)
    return RecordedWeights(network.tensors_sha256, network.weights_normalised, convention)


def record_findings(
    manifest: Manifest,
    stimulus: Stimulus,
    record: Record,
    source_of: Callable[[str], SourceRecord | None],
    known: Identities,
) -> Iterator[Finding]:
    """Yield what of a record is not as the manifest asks.

    Parameters
    ----------
    manifest, stimulus, record
        What is asked for, and what is there.
    source_of
        Returns what the records say of a source, for what is matched to the set.
    known
        What other records say.
    """
    file = record.own_name
    asked, found = _asked(manifest, stimulus), _found(record)
    different = list(_different(asked, found))
    expected = _recipe_sha256(manifest, stimulus, record, source_of, known)
    cures = ANEW if expected == record.recipe_sha256 else RUN
    yield from (wrong(file, f"{OTHER_RECIPE}: {both}", cures) for both in different)
    yield from (wrong(file, problem, ANEW) for problem in _contradictions(record))
    if len(networks_of(manifest, stimulus, record)) == 1 and record.network != record.measured_in:
        text = "contradicts itself: network and measured_in are one, and it says two things of it"
        yield wrong(file, text, ANEW)
    spec = next(one for one in manifest.sources if one.id == stimulus.source)
    try:
        box = crop_box(
            spec,
            manifest.image,
            record.source.original_size,
            name=manifest.name,
            origin=record.source.origin,
        )
    except InputError as error:
        yield wrong(file, f"{OTHER_RECIPE}: {error.problem}")
        return
    if tuple(box) != record.source.crop_box:
        both = f"its crop is {list(record.source.crop_box)}, and the manifest's {list(box)}"
        yield wrong(file, f"{OTHER_RECIPE}: {both}")
    elif not different:
        if expected is None:
            yield unchecked(
                file, "depends on sources or weights that no record names: recipe_sha256 not compared"
            )
        elif expected != record.recipe_sha256:
            rest = "its recipe_sha256 is not that of the manifest with this source and these weights"
            yield wrong(file, f"{OTHER_RECIPE}: {rest}")


def _recipe_sha256(
    manifest: Manifest,
    stimulus: Stimulus,
    record: Record,
    source_of: Callable[[str], SourceRecord | None],
    known: Identities,
) -> str | None:
    """Return the hash of the recipe with the sources and the weights that records name; None if none does."""
    own = {network: recorded_weights(one) for network, one in networks_of(manifest, stimulus, record).items()}

    def weights_of(network: NetworkSpec) -> RecordedWeights:
        return own[network] if network in own else next(iter(known.weights[network]))

    sources = {stimulus.source: record.source}
    if uses_set(manifest, stimulus):
        others = {spec.id: source_of(spec.id) for spec in manifest.sources} | sources
        sources = {name: source for name, source in others.items() if source is not None}
        if len(sources) < len(others):
            return None
    layers = measured_layers(manifest, measuring_network(manifest, stimulus))
    try:
        return recipe_sha256(recipe(manifest, stimulus, sources, weights_of, layers))
    except (KeyError, StopIteration):
        return None


def _asked(manifest: Manifest, stimulus: Stimulus) -> dict[str, Any]:
    """Return what of a record the manifest determines."""
    control, layer_set = stimulus.control, stimulus.synthesised
    measuring = measuring_network(manifest, stimulus)
    layers = measured_layers(manifest, measuring)
    own = stimulus.layer_set
    matched = own.layers if own and own.network == measuring else ()
    asked: dict[str, Any] = {
        "condition": stimulus.condition,
        "kind": stimulus.kind,
        "seed": stimulus.seed,
        "source": stimulus.source,
        "image": vars(manifest.image),
        "network": _network(own.network if own else measuring),
        "measured_in": _network(measuring),
        "measured": {stage: {layer: layer in matched for layer in layers} for stage in STAGES},
        "matching": manifest.matching.model_dump(mode="json"),
        "control": control.name if control else None,
        "options": dict(control.options) if control else None,
        "layer_weights": dict(layer_set.layer_weights) if layer_set else None,
        "components": layer_set.components if layer_set else None,
        "parameters": layer_set.parameters if layer_set else None,
        "preset": [manifest.synthesis.preset, manifest.synthesis.version] if layer_set else None,
        "settings": manifest.synthesis.model_dump(mode="json") if layer_set else None,
        "measured_with": measured_with(manifest),
    }
    return {name: _plain(value) for name, value in asked.items()}


def _found(record: Record) -> dict[str, Any]:
    """Return the same of a record."""
    synthesis, control = record.synthesis, record.control
    found: dict[str, Any] = {
        "condition": record.condition,
        "kind": record.kind,
        "seed": record.seed,
        "source": record.source.id,
        "image": record.image.model_dump(),
        "network": _recorded(record.network),
        "measured_in": _recorded(record.measured_in),
        "measured": _measured(record),
        "matching": record.matching.settings.model_dump(mode="json"),
        "control": control.name if control else None,
        "options": control.options if control else None,
        "layer_weights": synthesis.layer_weights if synthesis else None,
        "components": synthesis.components if synthesis else None,
        "parameters": synthesis.parameters if synthesis else None,
        "preset": [synthesis.preset, synthesis.version] if synthesis else None,
        "settings": synthesis.settings if synthesis else None,
        "measured_with": record.measured_with,
    }
    return {name: _plain(value) for name, value in found.items()}


def _measured(record: Record) -> dict[str, dict[str, bool]]:
    measured: dict[str, dict[str, bool]] = {}
    for one in record.distances:
        measured.setdefault(one.stage, {})[one.layer] = one.constrained
    return measured


def _different(asked: Mapping[str, Any], found: Mapping[str, Any], within: str = "") -> Iterator[str]:
    """Yield the parts that differ, each by its path, with both values."""
    for name in dict.fromkeys([*asked, *found]):
        path = f"{within}{name}"
        if name not in found:
            yield f"{path} is missing, and the manifest says {_short(asked[name])}"
        elif name not in asked:
            yield f"{path} is {_short(found[name])}, and the manifest has none"
        elif isinstance(asked[name], dict) and isinstance(found[name], dict):
            yield from _different(asked[name], found[name], f"{path}.")
        elif asked[name] != found[name]:
            yield f"{path} is {_short(found[name])}, and the manifest says {_short(asked[name])}"


def _contradictions(record: Record) -> Iterator[str]:
    """Yield what in a record does not follow from what else is in it."""
    for one in record.distances:
        place = f"on {one.layer} at the stage {one.stage}"
        if GramScale(one.gram_floor, one.gram_ceiling).normalised(one.gram_relative) != one.gram_normalised:
            yield f"contradicts itself: gram_normalised {place} does not follow from gram_relative"
    ratios = defaultdict(list)
    for one in record.distances:
        if one.gram_relative > 0 and one.gram_loss > SMALLEST_LOSS:
            ratios[one.layer].append(math.sqrt(one.gram_loss) / one.gram_relative)
    for layer, found in ratios.items():
        # Both are multiples of one norm, by the same factor at all stages.
        if max(found) > min(found) * (1 + RATIO_TOLERANCE):
            yield f"contradicts itself: gram_loss and gram_relative on {layer} do not go together"


def _network(network: NetworkSpec) -> Mapping[str, Any]:
    weights = Path(network.weights).name
    return network.model_dump(mode="json") | {"weights": weights}


def _recorded(network: NetworkRecord) -> Mapping[str, Any]:
    return network.model_dump(include={"name", "weights", "pooling", "normalise"})


def _plain(value: Any) -> Any:
    """Return a value as JSON holds it, so that tuples are lists."""
    return json.loads(json.dumps(value))


def _short(value: Any, most: int = 80) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= most else f"{text[: most - 1]}…"
