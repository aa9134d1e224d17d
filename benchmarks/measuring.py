"""What measuring a stimulus costs beside making it.

``python -m benchmarks.measuring --manifest manifests/exp1.yaml --condition pool4``

Makes one texture of the manifest's first source, then matches, encodes and measures it, as a run does, and
prints the seconds of both. What is measured once per source (its Gram matrices and their scale, its
spectrum, its similarity with itself) is on a line of its own.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.machine import describe_machine, synchronise
from stimgen.manifest.load import load_manifest
from stimgen.manifest.plan import plan
from stimgen.networks.device import find_device
from stimgen.runs.make import finish, render
from stimgen.runs.preparation import prepare
from stimgen.texture.problem import no_hook


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    device = find_device(options.device)
    print(describe_machine(device))
    manifest = load_manifest(options.manifest)
    manifest = replace(manifest, sources=manifest.sources[:1])
    stimulus = next(one for one in plan(manifest) if one.condition == options.condition)
    network = stimulus.layer_set.network if stimulus.layer_set else manifest.network
    prepared = prepare(manifest, str(device))
    source = prepared.sources[stimulus.source]
    prepared.networks.extractor(network)
    clock = Clock(device)
    (rendered,) = render(prepared, [stimulus], network, no_hook)
    making = clock.lap()
    prepared.networks.grams(network, source)
    prepared.measures(source.id)
    per_source = clock.lap()
    for _ in range(options.repeats):
        finish(
            prepared,
            stimulus,
            network,
            rendered,
            filename=f"stimuli/{stimulus.stimulus_id}.png",
            recipe_sha256="",
            seconds=making,
        )
    measuring = clock.lap() / options.repeats
    print(f"{stimulus.stimulus_id}, {manifest.image.size_px} px")
    print(f"making              {making:8.2f} s")
    print(f"measuring the source{per_source:8.2f} s, once")
    print(f"measuring           {measuring:8.2f} s, {measuring / making:.1%} of making")


class Clock:
    """Seconds between laps; a GPU finishes what it was told before."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._last = time.perf_counter()

    def lap(self) -> float:
        """Return the seconds since the last lap."""
        synchronise(self._device)
        now, last = time.perf_counter(), self._last
        self._last = now
        return now - last


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="cpu", help="auto, cpu or cuda:N")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--condition", required=True, help="layer set or control of the manifest")
    parser.add_argument("--repeats", type=int, default=3, help="measurements of which the mean counts")
    return parser


if __name__ == "__main__":
    main()
