"""Textures of the published procedure and of `multiscale`, side by side.

``python -m benchmarks.pictures --sources brick,grass --iterations 300 --out docs/images/engine.png``

One row per source: the source, the published procedure after the given number of iterations, `multiscale`
with its defaults. Prints the time and the loss of each.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from benchmarks.machine import describe_machine
from benchmarks.synthesis import LAYERS, Race, source
from stimgen.images.png import quantise
from stimgen.networks.device import find_device
from stimgen.networks.extractor import build_extractor
from stimgen.networks.weights import find_weights
from stimgen.texture.presets import Gatys2015, Multiscale
from stimgen.texture.synthesis import synthesise

GAP_PX = 8


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    device = find_device(options.device)
    print(describe_machine(device))
    extractor = build_extractor(find_weights("vgg16", "imagenet"), device=device, deepest=LAYERS[-1])
    rows = []
    for name in options.sources:
        race = Race(extractor, source(name, options.size), batch=1, budgets=())
        tiles = [race.source]
        for preset in (Gatys2015(iterations=options.iterations), Multiscale()):
            start = time.perf_counter()
            (synthesis,) = synthesise(race.problems(1), extractor, preset)
            seconds = time.perf_counter() - start
            loss = race.loss(synthesis.image)
            print(f"{name} {preset.preset}: {seconds:.1f} s, loss {loss:.5f}, {synthesis.stop_reason}")
            tiles.append(np.clip(synthesis.image, 0, 1))
        rows.append(_joined([quantise(tile) for tile in tiles], axis=1))
    Pillow.fromarray(_joined(rows, axis=0)).save(options.out)


def _joined(tiles: Sequence[np.ndarray], axis: int) -> np.ndarray:
    """Put 8-bit images beside each other, or below, with white gaps."""
    shape = list(tiles[0].shape)
    shape[axis] = GAP_PX
    gap = np.full(shape, 255, np.uint8)
    parts = [part for tile in tiles for part in (tile, gap)][:-1]
    return np.concatenate(parts, axis=axis)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="cpu", help="auto, cpu or cuda:N")
    parser.add_argument("--sources", type=lambda text: text.split(","), default=["brick", "grass"])
    parser.add_argument("--size", type=int, default=256, help="side in px")
    parser.add_argument("--iterations", type=int, default=300, help="of the published procedure")
    parser.add_argument("--out", type=Path, required=True, help="the picture, a PNG file")
    return parser


if __name__ == "__main__":
    main()
