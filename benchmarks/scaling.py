"""How time and memory of loss and gradient grow with the image and with the batch.

``python -m benchmarks.scaling --device cpu --sizes 256,512,1024,2048 --batches 1,2,4``

VGG-16 up to pool4 with average pooling and mirrored borders, and the Gram matrices of conv1_1 and pool1 to
pool4. Weights and images are random: they change neither time nor memory. Each point is measured in a fresh
process. Batches are measured at the first size, and the fastest evaluation counts.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from benchmarks.machine import describe_machine, peak_bytes
from stimgen.networks.architectures import evaluation_bytes
from stimgen.networks.device import find_device
from stimgen.networks.extractor import FeatureExtractor, build_extractor
from stimgen.networks.weights import find_weights
from stimgen.texture.objective import Objective, Part
from stimgen.texture.statistic import weighted_terms

LAYERS = ("conv1_1", "pool1", "pool2", "pool3", "pool4")
REPEATS, ENOUGH_S = 5, 10.0
"""Evaluations that are timed, and seconds after which there are no more than two: the first is slower."""

GB = 1e9
HEADER = "size_px  batch  s/evaluation  s/megapixel  processor_s/Mpx  memory_GB  estimated_GB  process_GB"


@dataclass(frozen=True)
class Point:
    """One measurement: `batch` images of one side, and the time of one evaluation of loss and gradient."""

    size_px: int
    batch: int
    seconds: float
    processor_seconds: float  # of all threads of this process, so that other programs count for less
    memory_bytes: int  # peak of the evaluations, beyond what the process took before
    estimated_bytes: int  # what `stimgen check` counts for it
    process_bytes: int  # peak of the whole process; on a GPU all that PyTorch had allocated there

    def row(self) -> str:
        """Return the row of the table under `HEADER`."""
        megapixels = self.batch * self.size_px**2 / 1e6
        return (
            f"{self.size_px:7d}  {self.batch:5d}  {self.seconds:12.3f}  {self.seconds / megapixels:11.3f}"
            f"  {self.processor_seconds / megapixels:15.3f}  {self.memory_bytes / GB:9.2f}"
            f"  {self.estimated_bytes / GB:12.2f}  {self.process_bytes / GB:10.2f}"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    device, precision = find_device(options.device), options.precision
    if options.point:
        size_px, batch = options.point
        print(json.dumps(asdict(measure(device, size_px, batch, precision))))
        return
    print(describe_machine(device))
    print(f"convolutions in {precision}")
    print(HEADER)
    for size_px, batch in points(options.sizes, options.batches):
        print(measure_in_fresh_process(str(device), size_px, batch, precision).row(), flush=True)


def points(sizes: Sequence[int], batches: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield (size, batch): every size alone, then every batch at the first size."""
    yield from dict.fromkeys([(size, 1) for size in sizes] + [(sizes[0], batch) for batch in batches])


def measure_in_fresh_process(device: str, size_px: int, batch: int, precision: str) -> Point:
    """Measure one point where nothing was before."""
    command = [sys.executable, "-m", "benchmarks.scaling", "--device", device, "--precision", precision]
    command += ["--point", f"{size_px},{batch}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return Point(**json.loads(done.stdout))


def measure(device: torch.device, size_px: int, batch: int, precision: str) -> Point:
    """Measure one point in this process."""
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    generator = torch.Generator().manual_seed(0)
    weights = find_weights("vgg16", "random:0")
    settings: dict[str, Any] = {"padding": "mirrored", "deepest": LAYERS[-1], "normalise": False}
    extractor = build_extractor(weights, **settings, device=device, dtype=dtype)
    architecture, objective = extractor.architecture, _objective(extractor, batch)
    objective(torch.rand(batch, 1, 32, 32, generator=generator).to(device))  # libraries load and set up
    images = torch.rand(batch, 1, size_px, size_px, generator=generator).to(device)
    before = peak_bytes(device)
    seconds: list[float] = []
    processor_seconds: list[float] = []
    while len(seconds) < 2 or (len(seconds) < REPEATS and sum(seconds) < ENOUGH_S):
        start, start_processor = time.perf_counter(), time.process_time()
        objective(images)[0].sum().item()
        seconds.append(time.perf_counter() - start)
        processor_seconds.append(time.process_time() - start_processor)
    after = peak_bytes(device)
    return Point(
        size_px,
        batch,
        min(seconds),
        min(processor_seconds),
        after - before,
        batch * evaluation_bytes(architecture, LAYERS, size_px, item_bytes=dtype.itemsize),
        after,
    )


def _objective(extractor: FeatureExtractor, batch: int) -> Objective:
    parts = {}
    for term in weighted_terms(dict.fromkeys(LAYERS, 1.0)):
        channels = extractor.architecture.channels(str(term.layer))
        target = torch.zeros(batch, channels, channels, device=extractor.device)
        parts[term] = Part((target,), torch.ones(batch, device=extractor.device))
    return Objective(extractor, parts)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="cpu", help="auto, cpu or cuda:N")
    parser.add_argument("--sizes", type=_numbers, default=(256, 512, 1024), help="sides in px, e.g. 256,512")
    parser.add_argument("--batches", type=_numbers, default=(1,), help="batch sizes, e.g. 1,2,4")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--point", type=_numbers, help=argparse.SUPPRESS)
    return parser


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


if __name__ == "__main__":
    main()
