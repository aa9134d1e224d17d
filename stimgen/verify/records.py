"""Records compared with the manifest: whether each is of the stimulus that is asked for."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from stimgen.counting import first_few
from stimgen.errors import InputError
from stimgen.images.sources import crop_box
from stimgen.manifest.document import shorten
from stimgen.manifest.plan import Stimulus, measuring_network
from stimgen.manifest.resolved import Manifest
from stimgen.manifest.schema import NetworkSpec
from stimgen.measure import STATISTICS
from stimgen.measure.gram import normalised
from stimgen.runs.batches import measured_layers
from stimgen.runs.recipe import (
    RecordedConvention,
    RecordedWeights,
    measured_parts,
    measured_with,
    recipe,
    uses_set,
)
from stimgen.runs.record import Recipe, Record, SourceRecord
from stimgen.runs.store import RunFolder
from stimgen.verify.finding import ANEW, RUN, Finding, unchecked, wrong

OWN = {"name", "weights", "pooling", "padding", "normalise"}
"""What a record has of the manifest's network."""
OTHER_RECIPE = "is of another recipe"
CONTRADICTS = "contradicts itself"
RATIO_TOLERANCE = 1e-4
"""Relative, of the ratio of two numbers in float32."""
SMALLEST_LOSS = 1e-30
"""Below, float32 has fewer digits."""
WITNESSES = 3
"""Records from which the identity of a source is taken, for stimuli that depend on all sources."""


class Identities:
    """The sources and weights that the records of a run name, which must be the same in all of them."""

    def __init__(self, folder: RunFolder, manifest: Manifest, stimuli: Sequence[Stimulus]) -> None:
        self.folder, self.manifest, self._stimuli = folder, manifest, stimuli
        self._first: dict[str, SourceRecord | None] = {}
        self.sources: dict[str, dict[SourceRecord, list[str]]] = defaultdict(lambda: defaultdict(list))
        self.weights: dict[NetworkSpec, dict[RecordedWeights, list[str]]] = defaultdict(
            lambda: defaultdict(list)
        )

    def add(self, stimulus: Stimulus, record: Record) -> None:
        """Note the sources and weights of one record."""
        self.sources[record.source.id][record.source].append(record.stimulus_id)
        for network, recorded in self.weights_of(stimulus, record).items():
            self.weights[network][recorded].append(record.stimulus_id)

    def weights_of(self, stimulus: Stimulus, record: Record) -> dict[NetworkSpec, RecordedWeights]:
        """Return the weights of the network that made a stimulus, and of the one that measured it."""
        measuring = measuring_network(self.manifest, stimulus)
        made = stimulus.layer_set.network if stimulus.layer_set else measuring
        return {
            spec: RecordedWeights(own.tensors_sha256, own.weights_normalised, RecordedConvention(own.input))
            for spec, own in ((made, record.network), (measuring, record.measured_in))
        }

    def source(self, source_id: str) -> SourceRecord | None:
        """Return a source as most of the first records of it name it."""
        if source_id not in self._first:
            ids = (stimulus.stimulus_id for stimulus in self._stimuli if stimulus.source == source_id)
            records = itertools.islice(filter(None, map(self.folder.read_record, ids)), WITNESSES)
            commonest = Counter(record.source for record in records).most_common(1)
            self._first[source_id] = commonest[0][0] if commonest else None
        return self._first[source_id]

    def findings(self) -> Iterator[Finding]:
        """Yield the records that name another source or other weights than most do."""
        found = {f"the source {name}": list(groups.values()) for name, groups in self.sources.items()}
        found |= {f"the weights of {spec.name}": list(of.values()) for spec, of in self.weights.items()}
        for name, groups in found.items():
            most, *others = sorted(groups, key=len, reverse=True)
            # Of two that differ, either may be the one that was changed.
            unsure = bool(others) and len(others[0]) == len(most)
            for stimulus_id in sum(others, most if unsure else []):
                text = f"names {name} differently from other records"
                yield wrong(self.folder.record_name(stimulus_id), text, cures=() if unsure else ANEW)

    def commonest_sources(self) -> dict[str, SourceRecord]:
        """Return the source that most records name, by id."""
        return {name: max(found, key=lambda one: len(found[one])) for name, found in self.sources.items()}

    def commonest_weights(self) -> dict[NetworkSpec, str]:
        """Return the hash of the weights that most records name."""
        return {
            spec: max(found, key=lambda one: len(found[one])).tensors_sha256
            for spec, found in self.weights.items()
        }


def record_findings(known: Identities, stimulus: Stimulus, record: Record) -> Iterator[Finding]:
    """Yield how a record differs from what the manifest asks for."""
    file, manifest = record.own_name, known.manifest
    different = list(_differences(manifest, stimulus, record))
    expected = _recipe(known, stimulus, record)
    other = [part for part, found in record.recipe_sha256 if found != getattr(expected, part, None)]
    if record.measured_with != measured_with(manifest):
        other = [part for part in other if part != "statistics"]  # which is no mistake
    cures = RUN if other else ANEW
    yield from (wrong(file, f"{OTHER_RECIPE}: {both}", cures=cures) for both in different)
    contradictions = list(_contradictions(record))
    if len(known.weights_of(stimulus, record)) == 1 and record.network != record.measured_in:
        contradictions.append("network and measured_in differ, and are the same")
    yield from (wrong(file, f"{CONTRADICTS}: {problem}", cures=ANEW) for problem in contradictions)
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
    elif (source.white, source.linearise, bool(source.mask)) != (spec.white, spec.linearise, bool(spec.mask)):
        yield wrong(file, f"{OTHER_RECIPE}: its white, linearise or mask is not the manifest's")
    elif not different and expected is None:
        text = "recipe_sha256 not compared: it depends on sources or weights that no record names"
        yield unchecked(file, text)
    elif not different and other:
        text = f"its recipe_sha256 ({', '.join(other)}) is not that of the manifest and this source"
        yield wrong(file, f"{OTHER_RECIPE}: {text}")


def other_statistics(recorded: Mapping[str, int], asked: Mapping[str, int]) -> str:
    """Return how the statistics of a record differ from those that are measured now; empty if they do not."""
    lacking = [column.name for name in asked if name not in recorded for column in STATISTICS[name].columns]
    more = [name for name in recorded if name not in asked]
    changed = [name for name in recorded if name in asked and recorded[name] != asked[name]]
    parts = [f"without the columns {first_few(lacking)}"] if lacking else []
    parts += [f"with {first_few(more)}, which this stimgen is not asked for or does not have"] if more else []
    parts += [f"with another version of {first_few(changed)}"] if changed else []
    return f"was measured {', and '.join(parts)}" if parts else ""


def _recipe(known: Identities, stimulus: Stimulus, record: Record) -> Recipe | None:
    """Return the recipe with the recorded sources and weights; None if one is unknown."""
    manifest, own = known.manifest, known.weights_of(stimulus, record)

    def weights_of(network: NetworkSpec) -> RecordedWeights:
        return own[network] if network in own else next(iter(known.weights[network]))

    sources = {stimulus.source: record.source}
    if uses_set(manifest, stimulus):
        others = {spec.id: known.source(spec.id) for spec in manifest.sources} | sources
        sources = {name: source for name, source in others.items() if source is not None}
        if len(sources) < len(others):
            return None
    network = measuring_network(manifest, stimulus)
    layers = measured_layers(manifest, network)
    try:
        measured = measured_parts(manifest, network, weights_of(network), layers)
        return recipe(manifest, stimulus, sources, weights_of, measured)
    except StopIteration:
        return None


def _differences(manifest: Manifest, stimulus: Stimulus, record: Record) -> Iterator[str]:
    """Yield the parts of a record that are not as the manifest determines them, each with both values."""
    measuring, layer_set = measuring_network(manifest, stimulus), stimulus.synthesised
    made = stimulus.layer_set.network if stimulus.layer_set else measuring
    synthesis, control = record.synthesis, record.control
    pairs: dict[str, tuple[Any, Any]] = {
        "condition": (stimulus.condition, record.condition),
        "kind": (stimulus.kind, record.kind),
        "seed": (stimulus.seed, record.seed),
        "source": (stimulus.source, record.source.id),
        "image": (vars(manifest.image), vars(record.image)),
        "network": (_named(made), record.network.model_dump(include=OWN)),
        "measured_in": (_named(measuring), record.measured_in.model_dump(include=OWN)),
        "measured_layers": (measured_layers(manifest, measuring), record.measured_layers),
        "matching": (
            manifest.matching.model_dump(mode="json"),
            record.matching.settings.model_dump(mode="json"),
        ),
        "control": (
            stimulus.control and [stimulus.control.name, dict(stimulus.control.options)],
            control and [control.name, control.options],
        ),
        "layer_weights": (
            layer_set and dict(layer_set.layer_weights),
            synthesis and synthesis.layer_weights,
        ),
        "components": (layer_set and layer_set.components, synthesis and synthesis.components),
        "parameters": (layer_set and layer_set.parameters, synthesis and synthesis.parameters),
        "preset": (
            layer_set and [manifest.synthesis.preset, manifest.synthesis.version],
            synthesis and [synthesis.preset, synthesis.version],
        ),
        "settings": (
            layer_set and manifest.synthesis.model_dump(mode="json"),
            synthesis and synthesis.settings,
        ),
    }
    for name, pair in pairs.items():
        right, recorded = (json.dumps(part, sort_keys=True, ensure_ascii=False) for part in pair)
        if right != recorded:
            yield f"{name} is {shorten(recorded, 80)}, and the manifest says {shorten(right, 80)}"


def _named(network: NetworkSpec) -> dict[str, Any]:
    return network.model_dump(mode="json") | {"weights": Path(network.weights).name}


def _contradictions(record: Record) -> Iterator[str]:
    """Yield distances in a record that do not follow from others in it."""
    ratios: dict[str, list[float]] = defaultdict(list)
    current = record.measured_with.get("gram") == STATISTICS["gram"].version
    for one in record.distances:
        if current and normalised(one.gram_relative, one.gram_floor) != one.gram_normalised:
            yield f"gram_normalised on {one.layer} does not follow from gram_relative"
        if one.gram_relative > 0 and one.gram_loss > SMALLEST_LOSS:
            # Both are multiples of one norm, by the same factor at all stages.
            ratios[one.layer].append(math.sqrt(one.gram_loss) / one.gram_relative)
    for layer, found in ratios.items():
        if max(found) > min(found) * (1 + RATIO_TOLERANCE):
            yield f"gram_loss and gram_relative on {layer} do not go together"
