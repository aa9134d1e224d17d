"""Records compared with the manifest: whether each is of the stimulus that is asked for."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

from stimgen.errors import InputError
from stimgen.images.sources import crop_box
from stimgen.manifest.document import shorten
from stimgen.manifest.plan import Stimulus, measuring_network
from stimgen.manifest.resolved import Manifest
from stimgen.manifest.schema import NetworkSpec
from stimgen.measure.gram import GramScale
from stimgen.runs.batches import measured_layers
from stimgen.runs.recipe import (
    RecordedConvention,
    RecordedWeights,
    recipe,
    recipe_sha256,
    uses_set,
)
from stimgen.runs.record import NetworkRecord, Record, SourceRecord
from stimgen.runs.store import RunFolder
from stimgen.verify.finding import RUN, Cure, Finding, unchecked, wrong

ANEW: tuple[Cure, ...] = ("remove", "run")
"""A record that was edited and sealed again would be kept by a run."""
OTHER_RECIPE = "is of another recipe"
RATIO_TOLERANCE = 1e-4
"""Relative, of the ratio of two numbers in float32."""
SMALLEST_LOSS = 1e-30
"""Below, float32 has fewer digits."""


class Identities:
    """The sources and weights that the records name, which must be the same in all of them."""

    def __init__(self) -> None:
        self.sources: dict[str, dict[SourceRecord, list[str]]] = defaultdict(lambda: defaultdict(list))
        self.weights: dict[NetworkSpec, dict[RecordedWeights, list[str]]] = defaultdict(
            lambda: defaultdict(list)
        )

    def add(self, manifest: Manifest, stimulus: Stimulus, record: Record) -> None:
        """Note the sources and weights of one record."""
        self.sources[record.source.id][record.source].append(record.stimulus_id)
        for network, recorded in networks_of(manifest, stimulus, record).items():
            self.weights[network][recorded_weights(recorded)].append(record.stimulus_id)

    def findings(self, folder: RunFolder) -> Iterator[Finding]:
        """Yield the records that name another source or other weights than most do."""
        found = {f"the source {name}": list(groups.values()) for name, groups in self.sources.items()}
        found |= {f"the weights of {spec.name}": list(of.values()) for spec, of in self.weights.items()}
        for name, groups in found.items():
            most, *others = sorted(groups, key=len, reverse=True)
            # Of two that differ, either may be the one that was changed.
            unsure = bool(others) and len(others[0]) == len(most)
            for stimulus_id in sum(others, most if unsure else []):
                text = f"names {name} differently from other records"
                yield wrong(folder.record_name(stimulus_id), text, () if unsure else ANEW)

    def commonest_sources(self) -> dict[str, SourceRecord]:
        """Return the source that most records name, by id."""
        return {name: max(found, key=lambda one: len(found[one])) for name, found in self.sources.items()}

    def commonest_weights(self) -> dict[NetworkSpec, str]:
        """Return the hash of the weights that most records name."""
        return {
            spec: max(found, key=lambda one: len(found[one])).tensors_sha256
            for spec, found in self.weights.items()
        }


def networks_of(manifest: Manifest, stimulus: Stimulus, record: Record) -> dict[NetworkSpec, NetworkRecord]:
    """Return the record's networks: the one that made the stimulus, and the one that measured it."""
    measuring = measuring_network(manifest, stimulus)
    made = stimulus.layer_set.network if stimulus.layer_set else measuring
    return {made: record.network, measuring: record.measured_in}


def recorded_weights(network: NetworkRecord) -> RecordedWeights:
    """Return the weights that a record names."""
    convention = RecordedConvention(network.input)
    return RecordedWeights(network.tensors_sha256, network.weights_normalised, convention)


def record_findings(
    manifest: Manifest,
    stimulus: Stimulus,
    record: Record,
    source_of: Callable[[str], SourceRecord | None],
    known: Identities,
) -> Iterator[Finding]:
    """Yield how a record differs from what the manifest asks for."""
    file = record.own_name
    different = list(_differences(manifest, stimulus, record))
    expected = _recipe_sha256(manifest, stimulus, record, source_of, known)
    cures = ANEW if expected == record.recipe_sha256 else RUN
    yield from (wrong(file, f"{OTHER_RECIPE}: {both}", cures) for both in different)
    yield from (wrong(file, f"contradicts itself: {problem}", ANEW) for problem in _contradictions(record))
    if len(networks_of(manifest, stimulus, record)) == 1 and record.network != record.measured_in:
        yield wrong(file, "contradicts itself: network and measured_in differ, and are the same", ANEW)
    spec = next(one for one in manifest.sources if one.id == stimulus.source)
    source = record.source
    try:
        box = crop_box(spec, manifest.image, source.original_size, name=manifest.name, origin=source.origin)
    except InputError as error:
        yield wrong(file, f"{OTHER_RECIPE}: {error.problem}")
        return
    if tuple(box) != source.crop_box:
        text = f"its crop is {list(source.crop_box)}, and the manifest's {list(box)}"
        yield wrong(file, f"{OTHER_RECIPE}: {text}")
    elif not different and expected is None:
        text = "recipe_sha256 not compared: it depends on sources or weights that no record names"
        yield unchecked(file, text)
    elif not different and expected != record.recipe_sha256:
        text = "its recipe_sha256 is not that of the manifest with this source and these weights"
        yield wrong(file, f"{OTHER_RECIPE}: {text}")


def _recipe_sha256(
    manifest: Manifest,
    stimulus: Stimulus,
    record: Record,
    source_of: Callable[[str], SourceRecord | None],
    known: Identities,
) -> str | None:
    """Return the hash of the recipe with the recorded sources and weights; None if one is unknown."""
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
    except StopIteration:
        return None


def _differences(manifest: Manifest, stimulus: Stimulus, record: Record) -> Iterator[str]:
    """Yield the parts of a record that are not as the manifest determines them, each with both values."""
    measuring, layer_set = measuring_network(manifest, stimulus), stimulus.synthesised
    made = stimulus.layer_set.network if stimulus.layer_set else measuring
    asked = {
        "condition": stimulus.condition,
        "kind": stimulus.kind,
        "seed": stimulus.seed,
        "source": stimulus.source,
        "image": vars(manifest.image),
        "network": made.model_dump(mode="json") | {"weights": Path(made.weights).name},
        "measured_in": measuring.model_dump(mode="json") | {"weights": Path(measuring.weights).name},
        "measured_layers": measured_layers(manifest, measuring),
        "matching": manifest.matching.model_dump(mode="json"),
        "control": stimulus.control and [stimulus.control.name, dict(stimulus.control.options)],
        "layer_weights": layer_set and dict(layer_set.layer_weights),
        "components": layer_set and layer_set.components,
        "parameters": layer_set and layer_set.parameters,
        "preset": layer_set and [manifest.synthesis.preset, manifest.synthesis.version],
        "settings": layer_set and manifest.synthesis.model_dump(mode="json"),
    }
    synthesis, own = record.synthesis, {"name", "weights", "pooling", "normalise"}
    found = {
        "condition": record.condition,
        "kind": record.kind,
        "seed": record.seed,
        "source": record.source.id,
        "image": vars(record.image),
        "network": record.network.model_dump(include=own),
        "measured_in": record.measured_in.model_dump(include=own),
        "measured_layers": record.measured_layers,
        "matching": record.matching.settings.model_dump(mode="json"),
        "control": record.control and [record.control.name, record.control.options],
        "layer_weights": synthesis and synthesis.layer_weights,
        "components": synthesis and synthesis.components,
        "parameters": synthesis and synthesis.parameters,
        "preset": synthesis and [synthesis.preset, synthesis.version],
        "settings": synthesis and synthesis.settings,
    }
    for name in asked:
        right, recorded = (
            json.dumps(part[name], sort_keys=True, ensure_ascii=False) for part in (asked, found)
        )
        if right != recorded:
            yield f"{name} is {shorten(recorded, 80)}, and the manifest says {shorten(right, 80)}"


def _contradictions(record: Record) -> Iterator[str]:
    """Yield distances in a record that do not follow from others in it."""
    ratios: dict[str, list[float]] = defaultdict(list)
    for one in record.distances:
        scale = GramScale(one.gram_floor, one.gram_ceiling)
        if scale.normalised(one.gram_relative) != one.gram_normalised:
            yield f"gram_normalised on {one.layer} does not follow from gram_relative"
        if one.gram_relative > 0 and one.gram_loss > SMALLEST_LOSS:
            # Both are multiples of one norm, by the same factor at all stages.
            ratios[one.layer].append(math.sqrt(one.gram_loss) / one.gram_relative)
    for layer, found in ratios.items():
        if max(found) > min(found) * (1 + RATIO_TOLERANCE):
            yield f"gram_loss and gram_relative on {layer} do not go together"
