"""Checkpoints of long syntheses: files in the run folder from which an interrupted run goes on.

A file holds the images, traces and restarts of textures that are synthesised together, after one of their
stages; on a CPU each texture is alone. Its name is the hash of what they depend on.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from stimgen.atomic import make_folder
from stimgen.runs.store import CHECKPOINT, remove_file, storing, write_atomically
from stimgen.texture.problem import Checkpoint, Problem, Reached, StageTrace

EVERY_S = 10.0
"""Shortest time between two checkpoints of a synthesis, in seconds.

A checkpoint takes milliseconds, with many large images on a slow disk up to a second. An interruption costs
at most this time and the current stage; those with all layers at full size count as one."""

_TRACE = ("size_px", "layers", "precision", "metric", "stop_reason")
"""What is kept of a stage beside its tensors."""


class RunCheckpoints:
    """The checkpoints of a run, a `stimgen.texture.problem.Checkpoints`.

    Problems are named by the hashes of their recipes. Files that are damaged or cannot be read are removed.
    If a file cannot be written or removed, StoreError ends the run.
    """

    def __init__(self, folder: Path, made_with: Mapping[str, str] | None) -> None:
        self._folder = folder
        self._made_with = None if made_with is None else dict(made_with)
        self._used: set[Path] = set()
        self._started = self._saved = 0.0
        self.seconds = 0.0

    def keep_only(self, recipes: Collection[str], not_done: Collection[str]) -> dict[str, tuple[int, int]]:
        """Remove the files that this run cannot use, and return the last stage of the others, by recipe."""
        reached: dict[str, tuple[int, int]] = {}
        for path in self._folder.glob("*.safetensors"):
            if not CHECKPOINT.fullmatch(path.name):  # not written by stimgen
                continue
            head, checkpoint = _read(path)
            own = set(head.get("recipes", ()))
            usable = own <= set(recipes) and own & set(not_done)
            if checkpoint is None or not usable or self._made_with not in (None, head["made_with"]):
                remove_file(path)
            else:
                reached |= dict.fromkeys(own, (checkpoint.size_px, checkpoint.rung))
        with contextlib.suppress(OSError):  # not empty, or not there
            self._folder.rmdir()
        return reached

    def load(self, problems: Sequence[Problem]) -> Checkpoint | None:
        """Return the checkpoint of these problems together; None if there is none."""
        path = self._path(problems)
        self._used.add(path)
        self._started = self._saved = time.monotonic()
        head, checkpoint = _read(path)
        own = {"recipes": _recipes(problems), "made_with": self._made_with}
        if checkpoint is None or own != {name: head[name] for name in own}:
            remove_file(path)
            return None
        self.seconds += head["seconds"]
        self._started -= head["seconds"]
        return checkpoint

    def save(self, problems: Sequence[Problem], checkpoint: Checkpoint) -> None:
        """Write a checkpoint of these problems, if `EVERY_S` have gone by since the last."""
        now = time.monotonic()
        if now - self._saved < EVERY_S:
            return
        assert self._made_with is not None, "known where checkpoints are written"
        head = {
            "format": 1,
            "recipes": _recipes(problems),
            "made_with": self._made_with,
            "seconds": round(now - self._started, 3),
            "size_px": checkpoint.size_px,
            "rung": checkpoint.rung,
            "problems": [
                {
                    "restarts": reached.restarts,
                    "traces": [{name: getattr(trace, name) for name in _TRACE} for trace in reached.traces],
                }
                for reached in checkpoint.reached
            ],
        }
        text, tensors = json.dumps(head, separators=(",", ":")), _tensors(checkpoint)
        with storing(f"The folder {self._folder}", "made", "Free its place, then run again."):
            make_folder(self._folder)
        content = save(tensors, {"stimgen": text, "sha256": _digest(text, tensors)})
        write_atomically(self._path(problems), content)
        self._saved = time.monotonic()

    def forget(self) -> None:
        """Remove the checkpoints that were used since the last call: their batch is over."""
        for path in self._used:
            remove_file(path)
        self._used.clear()
        self.seconds = 0.0

    def _path(self, problems: Sequence[Problem]) -> Path:
        owner = json.dumps([_recipes(problems), self._made_with], sort_keys=True)
        return self._folder / f"{hashlib.sha256(owner.encode()).hexdigest()}.safetensors"


def _recipes(problems: Sequence[Problem]) -> list[str]:
    return [problem.name for problem in problems]


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


def _read(path: Path) -> tuple[dict[str, Any], Checkpoint | None]:
    """Return what a file says and its checkpoint, None if it is missing or damaged. Nothing is executed."""
    if not path.is_file():  # a pipe would block
        return {}, None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            # Copied, because the file may be replaced while they are in use.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        text = metadata["stimgen"]
        head = json.loads(text)
        if metadata["sha256"] != _digest(text, tensors) or head["format"] != 1:
            return {}, None
        reached = tuple(
            Reached(
                image=tensors.get(f"{place}/image"),
                traces=tuple(
                    StageTrace(
                        **trace | {"layers": tuple(trace["layers"])},
                        losses=tensors[f"{place}/{number}/losses"].numpy(),
                        accepted=tensors[f"{place}/{number}/accepted"].numpy(),
                    )
                    for number, trace in enumerate(problem["traces"])
                ),
                restarts=int(problem["restarts"]),
            )
            for place, problem in enumerate(head["problems"])
        )
        head["recipes"] = [str(name) for name in head["recipes"]]
        head |= {"made_with": dict(head["made_with"]), "seconds": float(head["seconds"])}
        return head, Checkpoint(int(head["size_px"]), int(head["rung"]), reached)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RecursionError):
        return {}, None
