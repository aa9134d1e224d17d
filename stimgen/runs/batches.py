"""The stimuli that are made together, the layers on which they are measured, and the work of a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from stimgen.manifest.plan import Stimulus, measuring_network
from stimgen.manifest.resolved import Manifest
from stimgen.manifest.schema import NetworkSpec
from stimgen.networks.architectures import NETWORKS
from stimgen.texture.presets import Stage

if TYPE_CHECKING:
    from stimgen.texture.problem import Evaluation


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


WORK_PER_ACTIVATION = 1000
"""Operations that take as long as moving one activation through memory.

Shallow layers have few operations for their many activations. Counted by operations alone, VGG-16 up to
conv1_1 would seem five times as slow as up to pool4, and the time left would begin five times too long."""


@cache
def evaluation_flops(network: str, layers: tuple[str, ...], size_px: int) -> float:
    """Return the operations of one evaluation of loss and gradient of one problem.

    Backward costs as much as forward: only the gradient with respect to the image is needed.
    """
    return 2 * NETWORKS[network]().forward_flops(layers, size_px)


@cache
def evaluation_work(network: str, layers: tuple[str, ...], size_px: int) -> float:
    """Return the operations of one evaluation, with its memory traffic converted to operations."""
    activations = NETWORKS[network]().activation_floats(layers, size_px)
    return evaluation_flops(network, layers, size_px) + WORK_PER_ACTIVATION * activations


def batch_work(
    manifest: Manifest, batch: Batch, *, shared: bool, reached: Mapping[str, tuple[int, int]]
) -> float:
    """Return the work of a batch that uses all its evaluations; 0 for a control without synthesis.

    `reached` has the size and rung of the last stage that is done of stimuli, by their id.
    """
    by_step: dict[tuple[int, int], list[Stage]] = {}
    network = ""
    for stimulus in batch.stimuli:
        layer_set = stimulus.synthesised
        if layer_set is None:
            continue
        network = layer_set.network.name  # the same for the whole batch
        for stage in manifest.stages(layer_set):
            if (stage.size_px, stage.rung) > reached.get(stimulus.stimulus_id, (0, 0)):
                by_step.setdefault((stage.size_px, stage.rung), []).append(stage)
    total = 0.0
    for (size_px, _), together in by_step.items():
        union = tuple(dict.fromkeys(layer for stage in together for layer in stage.layers))
        for stage in together:
            used = union if shared else stage.layers
            total += stage.evaluations * evaluation_work(network, used, size_px)
    return total


class BatchWork:
    """How much of the work of one batch is done. A stage that ends early counts as finished."""

    def __init__(self, batch: Batch, total: float) -> None:
        synthesised = batch.stimuli[0].synthesised
        self._network = "" if synthesised is None else synthesised.network.name
        self._total = total
        self._stage_end = 0.0
        self.done = 0.0

    @property
    def share(self) -> float:
        """The part that is done, 0 to 1."""
        return self.done / self._total if self._total else 0.0

    def add(self, evaluation: Evaluation) -> float:
        """Count an evaluation, and return its operations."""
        problems, asked = len(evaluation.losses), (self._network, evaluation.layers, evaluation.size_px)
        work = problems * evaluation_work(*asked)
        if evaluation.number == 1:
            self.done = max(self.done, self._stage_end)
            self._stage_end = min(self.done + evaluation.most * work, self._total)
        self.done = min(self.done + work, self._stage_end)
        return problems * evaluation_flops(*asked)
