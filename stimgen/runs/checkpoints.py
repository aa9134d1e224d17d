"""Checkpoints of long syntheses: files in the run folder from which an interrupted run goes on.

A file holds the textures that are synthesised together, on a CPU one: their images, traces and restarts after
a stage. Its name is the hash of what it belongs to, so that a run finds its own and no other.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from stimgen.atomic import make_folder
from stimgen.runs.store import CHECKPOINT, StoreError, remove_file, write_atomically
from stimgen.texture.problem import Checkpoint, Problem, Reached, StageTrace

EVERY_S = 10.0
"""Shortest time between two checkpoints of a synthesis, in seconds.

A checkpoint takes some milliseconds, on a slow disk or with many large images up to a second; so a synthesis
does not get noticeably slower, and no more than this and the stage at work is lost."""

_HEAD, _DIGEST = "stimgen", "sha256"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _TraceHead(_Part):
    size_px: int
    layers: tuple[str, ...]
    precision: str
    metric: str
    stop_reason: str


class _ProblemHead(_Part):
    restarts: int
    traces: tuple[_TraceHead, ...]


class _Head(_Part):
    """What a file says beside its tensors; `seconds` is what the synthesis has taken so far."""

    format: Literal[1] = 1
    recipes: tuple[str, ...]
    made_with: dict[str, str]
    seconds: float
    size_px: int
    rung: int
    problems: tuple[_ProblemHead, ...]


class RunCheckpoints:
    """The folder of a run's checkpoints, as a `stimgen.texture.problem.Checkpoints`.

    Problems are named by the hashes of their recipes. What cannot be read, or is damaged, counts as none and
    is removed.

    Parameters
    ----------
    folder
        Where the files are; made when the first is written.
    made_with
        What the bytes depend on beside recipes: device, versions. None where files are only cleared away:
        then those of any device count as usable.

    Attributes
    ----------
    seconds
        What the checkpoints that were loaded since `forget` had taken.
    """

    def __init__(self, folder: Path, made_with: Mapping[str, str] | None) -> None:
        self._folder = folder
        self._made_with = None if made_with is None else dict(made_with)
        self._used: set[Path] = set()
        self._started = self._saved = 0.0
        self.seconds = 0.0

    def keep_only(self, recipes: Collection[str], not_done: Collection[str]) -> dict[str, tuple[int, int]]:
        """Remove the files that this run cannot use: of other recipes, devices or versions, and damaged ones.

        Parameters
        ----------
        recipes
            Hashes of all recipes of the run.
        not_done
            Those that are still to be made.

        Returns
        -------
        dict
            Size and rung of the last finished stage, by the recipes of the files that are left.

        Raises
        ------
        StoreError
            If a file cannot be removed.
        """
        reached: dict[str, tuple[int, int]] = {}
        for path in self._folder.glob("*.safetensors"):
            if not CHECKPOINT.fullmatch(path.name):  # somebody else's
                continue
            found = _read(path)
            if (
                found is None
                or self._made_with not in (None, found[0].made_with)
                or not set(found[0].recipes) <= set(recipes)
                or not set(found[0].recipes) & set(not_done)
            ):
                remove_file(path)
            else:
                reached |= dict.fromkeys(found[0].recipes, (found[0].size_px, found[0].rung))
        with contextlib.suppress(OSError):  # files are left, or there never was a folder
            self._folder.rmdir()
        return reached

    def load(self, problems: Sequence[Problem]) -> Checkpoint | None:
        """Return how far these problems came; None if there is no checkpoint of them, all together."""
        path = self._path(problems)
        self._used.add(path)
        self._started = self._saved = time.monotonic()
        found = _read(path)
        if found is None or found[0].recipes != _recipes(problems) or found[0].made_with != self._made_with:
            remove_file(path)
            return None
        head, checkpoint = found
        self.seconds += head.seconds
        self._started -= head.seconds
        return checkpoint

    def save(self, problems: Sequence[Problem], checkpoint: Checkpoint) -> None:
        """Write how far these problems have come, if they took `EVERY_S` since they were last written.

        Raises
        ------
        StoreError
            If the file cannot be written.
        """
        now = time.monotonic()
        if now - self._saved < EVERY_S:
            return
        assert self._made_with is not None, "where these checkpoints are written, it is known with what"
        head = _Head(
            recipes=_recipes(problems),
            made_with=self._made_with,
            seconds=round(now - self._started, 3),
            size_px=checkpoint.size_px,
            rung=checkpoint.rung,
            problems=tuple(
                _ProblemHead(
                    restarts=reached.restarts,
                    traces=tuple(
                        _TraceHead(**{name: getattr(trace, name) for name in _TraceHead.model_fields})
                        for trace in reached.traces
                    ),
                )
                for reached in checkpoint.reached
            ),
        )
        text, tensors = head.model_dump_json(), _tensors(checkpoint)
        try:
            make_folder(self._folder)
        except OSError as error:
            raise StoreError(
                f"The folder {self._folder} cannot be made: {error.strerror}.",
                "Mend the folder, then run again.",
            ) from error
        content = save(tensors, {_HEAD: text, _DIGEST: _digest(text, tensors)})
        write_atomically(self._path(problems), content)
        self._saved = time.monotonic()

    def forget(self) -> None:
        """Remove the checkpoints that were used since the last call: their batch is over.

        Raises
        ------
        StoreError
            If a file cannot be removed.
        """
        for path in self._used:
            remove_file(path)
        self._used.clear()
        self.seconds = 0.0

    def _path(self, problems: Sequence[Problem]) -> Path:
        owner = json.dumps([_recipes(problems), self._made_with], sort_keys=True)
        return self._folder / f"{hashlib.sha256(owner.encode()).hexdigest()}.safetensors"


def _recipes(problems: Sequence[Problem]) -> tuple[str, ...]:
    return tuple(problem.name for problem in problems)


def _tensors(checkpoint: Checkpoint) -> dict[str, Tensor]:
    tensors = {}
    for place, reached in enumerate(checkpoint.reached):
        if reached.image is not None:
            tensors[f"{place}/image"] = reached.image.cpu().contiguous()
        for number, trace in enumerate(reached.traces):
            tensors[f"{place}/{number}/losses"] = torch.from_numpy(trace.losses)
            tensors[f"{place}/{number}/accepted"] = torch.from_numpy(trace.accepted)
    return tensors


def _digest(text: str, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].numpy().tobytes())
    return digest.hexdigest()


def _read(path: Path) -> tuple[_Head, Checkpoint] | None:
    """Return what a file holds; None if there is none, or it is damaged. Nothing in it is executed."""
    if not path.is_file():  # a pipe would be waited for
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            # Copied, because the file may be replaced while they are in use.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        text = metadata[_HEAD]
        if metadata[_DIGEST] != _digest(text, tensors):
            return None
        head = _Head.model_validate_json(text)
        reached = tuple(
            Reached(
                image=tensors.get(f"{place}/image"),
                traces=tuple(
                    StageTrace(
                        **trace.model_dump(),
                        losses=tensors[f"{place}/{number}/losses"].numpy(),
                        accepted=tensors[f"{place}/{number}/accepted"].numpy(),
                    )
                    for number, trace in enumerate(problem.traces)
                ),
                restarts=problem.restarts,
            )
            for place, problem in enumerate(head.problems)
        )
    except (SafetensorError, OSError, KeyError, ValidationError):
        return None
    return head, Checkpoint(head.size_px, head.rung, reached)
