"""How far stimuli and their statistics differ between machines.

``python -m benchmarks.reproducibility manifests/quickstart.yaml --python OTHER/bin/python``

Runs a manifest in processes that compute as other machines do: again, with one thread, with float32
convolutions (as where there is no bfloat16), with the instructions of older processors, and with the packages
of other environments. Each set of stimuli is compared with the first one, file by file and statistic by
statistic. Then every process measures the files of the first set, which says how far the same file has other
statistics elsewhere.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as changed
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml
from PIL import Image

from benchmarks.machine import describe_machine
from stimgen.manifest.load import load_manifest
from stimgen.manifest.resolved import Manifest
from stimgen.runs.load import Run, load_run

STATISTICS = ("luminance_mean", "luminance_sd", "histogram_w1", "spectral_slope", "amplitude_error")
"""What is compared besides Gram distances; absolute differences."""

SMALLEST_DISTANCE = 1e-4

OLDER_INSTRUCTIONS = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX",
}


@dataclass(frozen=True)
class Circumstances:
    """In what a manifest is run: `precision` is that of the synthesis."""

    name: str
    python: str = sys.executable
    environment: Mapping[str, str] = field(default_factory=dict)
    precision: str = "auto"


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    manifest = load_manifest(options.manifest, network=options.network)
    cases = [
        Circumstances("here"),
        Circumstances("again"),
        Circumstances("one thread", environment={"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}),
        Circumstances("float32", precision="float32"),
        Circumstances("AVX2, float32", environment=OLDER_INSTRUCTIONS, precision="float32"),
        *(Circumstances(f"{python}, float32", python, precision="float32") for python in options.python),
    ]
    print(describe_machine(torch.device("cpu")))
    with tempfile.TemporaryDirectory() as folder:
        here = _run(manifest, cases[0], Path(folder))
        count = len(here.records)
        print(f"{manifest.name}: {count} stimuli of {manifest.image.size_px} px\n")
        measured_here = _measure(here, cases[0], Path(folder))
        for case in cases[1:]:
            there = _run(manifest, case, Path(folder))
            case = changed(case, name=_named(case, there))
            print(f"{case.name}\n  {_files(here, there)}\n  {_made(here, there)}")
            print(f"  {_measured(measured_here, _measure(here, case, Path(folder)))}", flush=True)


def _run(manifest: Manifest, case: Circumstances, folder: Path) -> Run:
    place = folder / str(len(list(folder.iterdir())))
    place.mkdir()
    resolved = manifest.resolved(place)
    resolved["synthesis"]["precision"] = case.precision
    file = place / "manifest.yaml"
    file.write_text(yaml.safe_dump(resolved), encoding="utf-8")
    _stimgen(case, "run", str(file), "--out", str(place / "run"), "--device", "cpu", "--quiet")
    return load_run(place / "run")


def _measure(run: Run, case: Circumstances, folder: Path) -> pd.DataFrame:
    """Return the statistics of a run's files, measured in a process, by stimulus."""
    tables = []
    for source, rows in run.table.groupby("source"):
        record = next(one for one in run.records if one.source.id == source)
        original = run.folder / "stimuli" / f"{source}-original.png"
        out = folder / "measured.csv"
        network = ["--network", record.measured_in.name, "--weights", record.measured_in.weights]
        layers = ",".join(distance.layer for distance in record.distances if distance.stage == "file")
        arguments = [*map(str, rows["path"]), "--source", str(original), *network, "--layers", layers]
        _stimgen(case, "stats", *arguments, "--out", str(out), "--device", "cpu")
        tables.append(pd.read_csv(out))
    return pd.concat(tables, ignore_index=True)


def _stimgen(case: Circumstances, *arguments: str) -> None:
    command = [case.python, "-m", "stimgen", *arguments]
    subprocess.run(command, check=True, env=os.environ | dict(case.environment), stderr=subprocess.DEVNULL)


def _named(case: Circumstances, there: Run) -> str:
    """Return the case's name, with PyTorch's version in place of an interpreter's path."""
    return case.name.replace(case.python, f"PyTorch {there.records[0].made.versions['torch']}")


def _files(here: Run, there: Run) -> str:
    pairs = list(zip(here.table["path"], there.table["path"], strict=True))
    equal = sum(Path(one).read_bytes() == Path(other).read_bytes() for one, other in pairs)
    largest = max(float(np.abs(_pixels(one) - _pixels(other)).mean()) for one, other in pairs)
    return f"files: {equal} of {len(pairs)} equal; mean difference up to {largest:.2g} grey levels"


def _pixels(path: str) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image, float)


def _made(here: Run, there: Run) -> str:
    textures = here.table["kind"] == "texture"
    residual = (there.table["residual_gram"] / here.table["residual_gram"])[textures]
    others = _differences(here.table, there.table)
    return f"stimuli made there: residual_gram × {residual.min():.3f} to {residual.max():.3f}, {others}"


def _measured(here: pd.DataFrame, there: pd.DataFrame) -> str:
    # Of the source itself only rounding is left: its distance is no number to divide by.
    distances = here.filter(like="gram_relative_").where(lambda distance: distance > SMALLEST_DISTANCE)
    relative = ((there[distances.columns] - distances).abs() / distances).max().max()
    return f"same files measured there: gram_relative ±{relative:.1e} of it, {_differences(here, there)}"


def _differences(here: pd.DataFrame, there: pd.DataFrame) -> str:
    largest = (there[list(STATISTICS)] - here[list(STATISTICS)]).abs().max()
    return ", ".join(f"{name} ±{difference:.1e}" for name, difference in largest.items())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--network", help="network in place of the manifest's")
    parser.add_argument("--python", action="append", default=[], help="interpreter of another environment")
    return parser


if __name__ == "__main__":
    main()
