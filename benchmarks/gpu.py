"""What one GPU does: speed, share of its peak, agreement with the CPU, memory, and where the time goes.

``python -m benchmarks.gpu --out benchmarks/results/gpu.txt``

1. The tests with the mark `gpu`.
2. Stimuli per second of `multiscale`, in batches, with the smallest of some budgets of evaluations at full
   size that brings all losses of a batch of 8 to the target; beside it `gatys2015`, until one texture is
   there. Where no budget suffices, as with some colour sources, the target is the worst loss that the largest
   reaches. `peak` is the share of a large matrix product in the precision of the convolutions; TF32 is not
   used, and stands beside it for comparison. `memory` is the most that PyTorch had allocated, beside what
   `stimgen check` counts for loss and gradient.
3. One texture of 1024 px, with few evaluations.
4. Losses and Gram distances of the same images on the CPU and on the card, in float32.
5. A profile of one batch. Time is that of kernels, and `idle` what is left of the clock's.

What would begin after ``--seconds`` is left out, and named; with the default, all should end in 8 minutes.
Lines are written as soon as they are known.
``--device cpu`` tries all this without a card.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import time
import unittest.mock
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from benchmarks.machine import describe_machine, matrix_product_gflops, peak_bytes, synchronise
from benchmarks.synthesis import LAYERS, Race, source
from stimgen.measure.gram import gram_distances
from stimgen.networks.architectures import evaluation_bytes
from stimgen.networks.device import find_device
from stimgen.networks.extractor import FeatureExtractor, build_extractor
from stimgen.networks.weights import find_weights
from stimgen.texture.lbfgs import History
from stimgen.texture.objective import to_batch
from stimgen.texture.precision import descent_dtype
from stimgen.texture.presets import Multiscale
from stimgen.texture.statistics import gram
from stimgen.texture.statistics.gram import gram_matrices
from stimgen.texture.synthesis import synthesise

FEW = 20
"""Evaluations at full size where only time and memory count."""
GB = 1e9
OURS = {"Gram products": "stimgen Gram", "L-BFGS": "stimgen L-BFGS"}
"""Parts of a profile, and the marks that are set around them."""
CONVOLUTIONS = ("aten::conv2d", "aten::convolution_backward")


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    started, lines = time.monotonic(), list[str]()

    def note(line: str) -> None:
        lines.append(line)
        print(line, flush=True)
        if options.out:
            options.out.write_text("\n".join(lines) + "\n", "utf-8")

    for part in (tests, speed, large, agreement, profiled):
        found = part(options)
        while (spent := time.monotonic() - started) < options.seconds:
            if (line := next(found, None)) is None:
                break
            note(line)
        else:
            note(f"{part.__name__}: left out after {spent:.0f} s")


def tests(options: argparse.Namespace) -> Iterator[str]:
    """Yield the machine, and the last line of the `gpu` tests."""
    yield describe_machine(find_device(options.device))
    if not options.no_tests:
        command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "--no-header"]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=options.seconds / 2
            )
            yield f"tests: {(done.stdout.strip() or done.stderr.strip()).splitlines()[-1]}"
        except subprocess.TimeoutExpired as error:
            yield f"tests: not done after {error.timeout:.0f} s"


def speed(options: argparse.Namespace) -> Iterator[str]:
    """Yield stimuli per second, by colour and batch."""
    network = _network(options.device)
    device, preset = network.device, Multiscale()
    dtype = descent_dtype(preset.precision, network)
    peak = matrix_product_gflops(device, dtype, options.product)
    with _tf32():
        tf32 = matrix_product_gflops(device, side=options.product)
    float32 = matrix_product_gflops(device, side=options.product)
    precision = str(dtype).removeprefix("torch.")
    products = {precision: peak, "TF32": tf32, "float32": float32}
    measured = ", ".join(f"{name} {gflops / 1e3:.1f}" for name, gflops in products.items())
    yield f"products of matrices of {options.product}, TFLOP/s: {measured}"
    yield f"{options.size} px, {precision}, to a loss of {options.target:g}"
    yield "source      batch  budget  stimuli/s  worst loss  TFLOP/s   peak  memory_GB  estimated_GB"
    for name in options.sources:
        race = Race(network, source(name, options.size), min(8, max(options.batches)), options.budgets)
        budget, loss = _budget(race, preset, options.target)
        target = max(options.target, loss)
        if target > options.target:
            yield f"{name:10s}  no budget reaches {options.target:g}; the target is {target:g}"
        for batch in options.batches:
            run = partial(replace(race, batch=batch).trial, preset, budget)
            trial, memory = _measured(device, run)
            unit = 2 * network.architecture.forward_flops(LAYERS, options.size)
            gflops = trial.mean_evaluations * unit / trial.seconds / 1e9
            one = evaluation_bytes(network.architecture, LAYERS, options.size, item_bytes=dtype.itemsize)
            yield (
                f"{name:10s}  {batch:5d}  {budget:6d}  {1 / trial.seconds:9.3f}  {trial.loss:10.5f}"
                f"  {gflops / 1e3:7.2f}  {gflops / peak:5.1%}  {memory / GB:9.2f}  {batch * one / GB:12.2f}"
            )
        log = race.published(target, options.iterations)
        place = log.first(target)
        seconds = log.seconds[-1] if place is None else log.seconds[place]
        reached = "target not reached" if place is None else f"{1 / seconds:.3f} stimuli/s"
        yield f"{name:10s}  gatys2015: {len(log.seconds)} evaluations in {seconds:.1f} s, {reached}"


def large(options: argparse.Namespace) -> Iterator[str]:
    """Yield time and memory of one large texture."""
    network, preset = _network(options.device), Multiscale()
    race = Race(network, source(options.sources[0], options.large), 1, ())
    trial, memory = _measured(network.device, lambda: race.trial(preset, options.few))
    yield (
        f"{options.large} px, {options.few} evaluations at full size: {trial.seconds:.2f} s, "
        f"{memory / GB:.2f} GB"
    )


def agreement(options: argparse.Namespace) -> Iterator[str]:
    """Yield how far losses and Gram distances on the device are from those on the CPU, in float32."""
    network = _network(options.device)
    there, here = network, network.to("cpu")
    preset = Multiscale(precision="float32", evaluations=(5, 5), stop_distance=0)
    for name in options.sources:
        pixels = source(name, options.size // 2)
        races = [Race(one, pixels, 1, ()) for one in (here, there)]
        (ours,), (theirs,) = (synthesise(race.problems(1), race.extractor, preset) for race in races)
        first = [abs(b / a - 1) for a, b in zip(ours.traces[0].losses, theirs.traces[0].losses, strict=False)]
        found = []
        for one in (here, there):
            targets = gram_matrices(one, to_batch([pixels], one.device), LAYERS)
            found.append(gram_distances(one, ours.image, targets))
        relative = max(abs(found[1][layer][1] / found[0][layer][1] - 1) for layer in LAYERS)
        yield (
            f"{name}: largest relative difference from the CPU: {max(first):.1e} of the first losses, "
            f"{relative:.1e} of Gram distances of one image"
        )


def profiled(options: argparse.Namespace) -> Iterator[str]:
    """Yield where the time of one batch goes."""
    network, batch = _network(options.device), max(options.batches)
    device, preset = network.device, Multiscale()
    race = Race(network, source(options.sources[0], options.size), batch, ())
    race.trial(preset, 2)
    on_gpu = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with _marked(), profile(activities=activities, acc_events=True) as seen:
        synchronise(device)
        start = time.perf_counter()
        synthesise(race.problems(batch), network, preset.model_copy(update={"evaluations": (options.few,)}))
        synchronise(device)
        clock = time.perf_counter() - start
    # On a GPU an operation's time is that of the kernels that it launched, which are events of their own.
    events, kind = seen.key_averages(), "device" if on_gpu else "cpu"
    operations = [event for event in events if event.device_type.name == "CPU"]
    kernels = [e for e in events if e.device_type.name == "CUDA" and not e.is_user_annotation]
    busy = sum(getattr(e, f"self_{kind}_time_total") for e in (kernels if on_gpu else operations)) / 1e6

    def seconds(names: Sequence[str]) -> float:
        return float(sum(getattr(e, f"{kind}_time_total") for e in operations if e.key in names)) / 1e6

    parts = {"convolutions": seconds(CONVOLUTIONS), **{name: seconds([mark]) for name, mark in OURS.items()}}
    parts |= {"other": busy - sum(parts.values()), "idle": clock - busy}
    shares = ", ".join(f"{name} {spent / clock:.1%}" for name, spent in parts.items())
    yield f"profile of a batch of {batch} at {options.size} px, {clock:.2f} s: {shares}"


def _network(device: str) -> FeatureExtractor:
    return build_extractor(find_weights("vgg16", "imagenet"), device=find_device(device), deepest=LAYERS[-1])


def _budget(race: Race, preset: Multiscale, target: float) -> tuple[int, float]:
    """Return the smallest budget with which all losses reach the target, or the largest; and the worst."""
    found = []
    for budget in race.budgets:
        found.append((budget, race.trial(preset, budget).loss))
        if found[-1][1] <= target:
            break
    return found[-1]


def _measured(device: torch.device, work: Callable[[], Any]) -> tuple[Any, int]:
    """Return what some work returns, and the most memory that it took."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    return work(), peak_bytes(device)


@contextlib.contextmanager
def _tf32() -> Iterator[None]:
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


@contextlib.contextmanager
def _marked() -> Iterator[None]:
    """Set marks around Gram products and L-BFGS, for the profiler."""
    places: dict[str, list[tuple[Any, str]]] = {
        "Gram products": [(gram._Products, "forward"), (gram._Products, "backward")],
        "L-BFGS": [(History, "update"), (History, "inverse_hessian")],
    }
    with contextlib.ExitStack() as held:
        for part, functions in places.items():
            for owner, name in functions:
                held.enter_context(
                    unittest.mock.patch.object(owner, name, _with_mark(owner, name, OURS[part]))
                )
        yield


def _with_mark(owner: Any, name: str, mark: str) -> Any:
    function = getattr(owner, name)

    def marked(*arguments: Any) -> Any:
        with record_function(mark):
            return function(*arguments)

    return staticmethod(marked) if isinstance(vars(owner)[name], staticmethod) else marked


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="cuda:0", help="cuda:N, or cpu to try the script")
    parser.add_argument("--out", type=Path, help="file to write beside printing")
    parser.add_argument("--seconds", type=float, default=360, help="after which no part is begun")
    parser.add_argument("--no-tests", action="store_true", help="leave out the tests")
    parser.add_argument("--sources", type=lambda text: text.split(","), default=["gravel", "coffee:rgb"])
    parser.add_argument("--size", type=int, default=256, help="side in px")
    parser.add_argument("--large", type=int, default=1024, help="side of the large texture, px")
    parser.add_argument("--batches", type=_numbers, default=(1, 8, 32, 128), help="textures made at once")
    parser.add_argument("--target", type=float, default=0.002, help="loss")
    parser.add_argument(
        "--budgets", type=_numbers, default=(20, 40, 60, 80, 100, 150, 250), help="evaluations, rising"
    )
    parser.add_argument("--few", type=int, default=FEW, help="evaluations where only time counts")
    parser.add_argument("--iterations", type=int, default=1500, help="most of gatys2015")
    parser.add_argument("--product", type=int, default=8192, help="side of the matrices of the peak")
    return parser


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


if __name__ == "__main__":
    main()
