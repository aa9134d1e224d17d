"""How much of a run is done, and how long the rest takes: from operations, and the speed of this run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from stimgen.manifest.resolved import Manifest
from stimgen.networks.architectures import NETWORKS
from stimgen.runs.batches import Batch
from stimgen.texture.problem import Evaluation
from stimgen.texture.schedule import Stage, stages

WORK_PER_ACTIVATION = 1000
"""Operations that it takes as long to compute as to move one activation through memory.

Shallow layers have few operations for their many activations. Counted by operations alone, VGG-16 up to
conv1_1 would be five times as slow as up to pool4, and the time left would begin five times too long."""

LEAST_S = 3.0
"""Seconds of synthesis after which the time left is stated."""

TEXTURES = "textures"
"""Kind of all stimuli that are no control."""


@cache
def evaluation_flops(network: str, layers: tuple[str, ...], size_px: int) -> float:
    """Return the operations of one evaluation of loss and gradient of one problem.

    Backward costs as much as forward: only the image's gradient is needed.
    """
    return 2 * NETWORKS[network]().forward_flops(layers, size_px)


@cache
def evaluation_work(network: str, layers: tuple[str, ...], size_px: int) -> float:
    """Return the operations of one evaluation, and what its activations count for."""
    activations = NETWORKS[network]().activation_floats(layers, size_px)
    return evaluation_flops(network, layers, size_px) + WORK_PER_ACTIVATION * activations


def batch_work(
    manifest: Manifest, batch: Batch, *, shared: bool, reached: Mapping[str, tuple[int, int]]
) -> float:
    """Return the work of a batch that uses its whole budget.

    Parameters
    ----------
    manifest, batch
        What is made.
    shared
        Whether the problems share their passes, as on a GPU: then every problem that is active in a stage
        pays for all layers there.
    reached
        Size and rung of the last stage in the checkpoint of a stimulus, by its id: what is before is done.
    """
    by_step: dict[tuple[int, int], list[Stage]] = {}
    network = ""
    for stimulus in batch.stimuli:
        layer_set = stimulus.synthesised
        if layer_set is None:
            continue
        network = layer_set.network.name  # a batch has one
        for stage in stages(
            manifest.synthesis, NETWORKS[network](), layer_set.layers, manifest.image.size_px
        ):
            if (stage.size_px, stage.rung) > reached.get(stimulus.stimulus_id, (0, 0)):
                by_step.setdefault((stage.size_px, stage.rung), []).append(stage)
    total = 0.0
    for (size_px, _), together in by_step.items():
        union = tuple(dict.fromkeys(layer for stage in together for layer in stage.layers))
        for stage in together:
            used = union if shared else stage.layers
            total += stage.evaluations * evaluation_work(network, used, size_px)
    return total


@dataclass
class Pace:
    """What is done, what is left, and how fast it went.

    Synthesis is counted by its work. What is beside it takes its time per stimulus, and is counted by kind,
    because some controls take a hundred times as long as others. A synthesis may end before its budget is
    used: what is left of a layer set is expected to use the share that its exemplars used so far.

    Attributes
    ----------
    costs
        Work of all batches.
    total, done
        Their sum, and what of it is finished; a stage that ended early counts as finished.
    """

    costs: dict[Batch, float] = field(default_factory=dict)
    total: float = 0.0
    done: float = 0.0
    _left: dict[tuple[str, ...], float] = field(default_factory=dict)  # work by conditions of a batch
    _to_make: Counter[str] = field(default_factory=Counter)
    _beside: dict[str, tuple[float, int]] = field(default_factory=dict)  # seconds and stimuli by kind
    _seconds: float = 0.0  # between evaluations
    _worked: float = 0.0  # in these seconds
    _budgets: dict[str, tuple[float, float]] = field(default_factory=dict)  # used, planned by condition
    _batch: Batch | None = None
    _begun: float = 0.0
    _batch_end: float = 0.0
    _stage_end: float = 0.0
    _used: float = 0.0
    _last: float = 0.0
    _evaluating: bool = False

    def begin(
        self,
        manifest: Manifest,
        batches: Sequence[Batch],
        to_make: Collection[str],
        *,
        shared: bool,
        reached: Mapping[str, tuple[int, int]],
    ) -> None:
        """Take what is to be done: `batches`, and the ids of the stimuli in them that are not done yet."""
        self.costs = {b: batch_work(manifest, b, shared=shared, reached=reached) for b in batches}
        self.total = sum(self.costs.values())
        for batch, cost in self.costs.items():
            self._left[_conditions(batch)] = self._left.get(_conditions(batch), 0.0) + cost
        self._to_make = Counter(
            kind(batch) for batch in batches for one in batch.stimuli if one.stimulus_id in to_make
        )

    def enter(self, batch: Batch, now: float) -> None:
        """Begin a batch at the time `now`, in seconds."""
        self._batch, self._last, self._evaluating, self._used = batch, now, False, 0.0
        self._begun = self._stage_end = self.done
        self._batch_end = self.done + self.costs[batch]

    def evaluated(self, evaluation: Evaluation, network: str, now: float) -> None:
        """Count an evaluation."""
        work = len(evaluation.losses) * evaluation_work(network, evaluation.layers, evaluation.size_px)
        if evaluation.number == 1:
            self.done = max(self.done, self._stage_end)  # the stage before may have stopped early
            self._stage_end = min(self.done + evaluation.most * work, self._batch_end)
        self.done = min(self.done + work, self._stage_end)
        self._used += work
        if self._evaluating:
            self._seconds += now - self._last
            self._worked += work
        else:
            self._spend_beside(now, 0)
        self._evaluating, self._last = True, now

    def made(self, now: float) -> None:
        """Count a stimulus that is made, or could not be made."""
        self._spend_beside(now, 1)

    def leave(self, now: float) -> None:
        """End the batch."""
        assert self._batch is not None, "a batch is entered before it is left"
        self._spend_beside(now, 0)
        planned, conditions = self.costs[self._batch], _conditions(self._batch)
        self.done = self._batch_end
        self._left[conditions] -= planned
        if self._used:
            for condition in conditions:
                used, before = self._budgets.get(condition, (0.0, 0.0))
                self._budgets[condition] = used + self._used, before + planned
        self._batch = None

    @property
    def batch_share(self) -> float:
        """Share of the work of the batch under way that is done, 0 to 1."""
        work = self._batch_end - self._begun
        return (self.done - self._begun) / work if work > 0 else 0.0

    @property
    def share(self) -> float:
        """Share of the work that is done, 0 to 1."""
        return min(self.done / self.total, 1.0) if self.total else 0.0

    def seconds_left(self) -> float | None:
        """Return how long the rest takes; None if too little was done to tell."""
        work = sum(cost * self._expected(conditions) for conditions, cost in self._left.items())
        if self._batch is not None:
            work -= (self.done - self._begun) * self._expected(_conditions(self._batch))
        # Of what has not been seen yet, the time beside synthesis is not known, and not counted.
        seen = {kind: seconds / count for kind, (seconds, count) in self._beside.items() if count}
        beside = sum(count * seen.get(kind, 0.0) for kind, count in self._to_make.items())
        if work <= 1e-9 * self.total:  # rounding
            return beside if seen else None
        if self._seconds < LEAST_S or not self._worked:
            return None
        return work * self._seconds / self._worked + beside

    def _expected(self, conditions: tuple[str, ...]) -> float:
        """Return the share of its budget that a batch is expected to use."""
        budgets = [self._budgets.get(condition, (1.0, 1.0)) for condition in conditions]
        return min(sum(used / planned for used, planned in budgets) / len(budgets), 1.0)

    def _spend_beside(self, now: float, stimuli: int) -> None:
        if self._batch is not None:
            of_kind = kind(self._batch)
            seconds, count = self._beside.get(of_kind, (0.0, 0))
            self._beside[of_kind] = seconds + now - self._last, count + stimuli
            self._to_make[of_kind] -= stimuli
        self._evaluating, self._last = False, now


def kind(batch: Batch) -> str:
    """Return the kind of what a batch makes: a control's name, or `TEXTURES`."""
    control = batch.stimuli[0].control
    return TEXTURES if control is None else control.name


def _conditions(batch: Batch) -> tuple[str, ...]:
    return tuple(dict.fromkeys(stimulus.condition for stimulus in batch.stimuli))
