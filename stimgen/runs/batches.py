"""The stimuli that are made together, and the layers on which they are measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stimgen.manifest.plan import Stimulus, measuring_network
from stimgen.manifest.resolved import Manifest
from stimgen.manifest.schema import NetworkSpec
from stimgen.networks.architectures import NETWORKS


@dataclass(frozen=True)
class Batch:
    """Stimuli that are made together: textures of one network, or one control."""

    stimuli: tuple[Stimulus, ...]
    network: NetworkSpec


def plan_batches(manifest: Manifest, stimuli: Sequence[Stimulus], batch_size: int) -> list[Batch]:
    """Divide stimuli into batches, always in the same way.

    Controls come first, one per batch, because most take no time. The textures of each network follow, sorted
    by their deepest layer, so that shallow layer sets do not pay for deep ones in their batch.
    """
    controls = [Batch((s,), measuring_network(manifest, s)) for s in stimuli if s.layer_set is None]
    groups: dict[NetworkSpec, list[tuple[int, Stimulus]]] = {}
    for stimulus in stimuli:
        if stimulus.layer_set is not None:
            network = stimulus.layer_set.network
            architecture = NETWORKS[network.name]()
            depth = len(architecture.upto(architecture.deepest(stimulus.layer_set.layers)))
            groups.setdefault(network, []).append((depth, stimulus))
    textures = []
    for network, members in groups.items():
        ordered = [stimulus for _, stimulus in sorted(members, key=lambda member: member[0])]
        textures += [
            Batch(tuple(ordered[i : i + batch_size]), network) for i in range(0, len(ordered), batch_size)
        ]
    return controls + textures


def measured_layers(manifest: Manifest, network: NetworkSpec) -> tuple[str, ...]:
    """Return the layers on which stimuli of `network` are measured, shallowest first.

    These are all layers that any layer set of the network matches, so that each condition is also measured
    on layers that it does not match, and for the manifest's network the layers of its section `measure`. If
    there are none, the default layers of the network for which the stimuli are large enough.
    """
    used = {
        layer
        for layer_set in manifest.layer_sets.values()
        if layer_set.network == network
        for layer in layer_set.layers
    }
    if network == manifest.network:
        used |= set(manifest.measure.layers)
    architecture = NETWORKS[network.name]()
    if not used:
        size_px = manifest.image.size_px
        used = {layer for layer in architecture.default_layers if architecture.smallest_px(layer) <= size_px}
    return tuple(layer for layer in architecture.layers if layer in used)
