"""How near convolutions come to the speed of a matrix product on a CPU.

``python -m benchmarks.convolutions --evaluations 60``

Evaluates loss and gradient in float32, as the published procedure does in each step, and times a product of
two 2048 × 2048 matrices after each evaluation: both run at the clock that the machine keeps under load.
Prints the share of the product's median speed that evaluations reach. Nearly all their operations are
convolutions; the time of everything else counts against them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from statistics import median

import torch

from benchmarks.machine import describe_machine
from benchmarks.synthesis import LAYERS, source
from stimgen.networks.extractor import build_extractor
from stimgen.networks.weights import find_weights
from stimgen.texture.objective import Objective, analyse, to_batch
from stimgen.texture.statistic import weighted_terms

SIDE = 2048


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    device = torch.device("cpu")
    extractor = build_extractor(find_weights("vgg16", "imagenet"), device=device, deepest=LAYERS[-1])
    image = to_batch([source("brick", options.size)], device)
    terms = weighted_terms(dict.fromkeys(LAYERS, 1.0))
    objective = Objective.plain(extractor, terms, analyse(extractor, image, list(terms)))
    noise = torch.rand(image.shape, generator=torch.Generator().manual_seed(0)).to(device)
    matrices = [torch.rand(SIDE, SIDE, device=device) for _ in range(2)]
    for _ in range(3):
        objective(noise)
        matrices[0] @ matrices[1]
    evaluations, products = [], []
    for _ in range(options.evaluations):
        evaluations.append(_seconds(lambda: objective(noise)))
        products.append(_seconds(lambda: matrices[0] @ matrices[1]))
    flops = 2 * extractor.architecture.forward_flops(LAYERS, options.size)
    product = 2 * SIDE**3 / median(products) / 1e9
    speed = flops / median(evaluations) / 1e9
    print(describe_machine(device))
    print(f"{len(products)} of each, medians: matrix product {product:.0f} GFLOP/s")
    print(f"loss and gradient at {options.size} px {speed:.0f} GFLOP/s, {speed / product:.0%} of it")


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=int, default=256, help="side in px")
    parser.add_argument("--evaluations", type=int, default=60, help="how many are timed")
    return parser


if __name__ == "__main__":
    main()
