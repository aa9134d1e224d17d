"""Compare what two checkouts of stimgen make of the same manifests, byte for byte.

    python tests/golden.py --old CHECKOUT [--only NAME ...] [--cache FOLDER]

Runs every set below with the stimgen of CHECKOUT and with this one, in the same environment, and compares
each PNG file, table, data dictionary, trial list, resolved manifest, ``run.json`` without what varies from
run to run, the values in the records, every ``--help``, what ``stimgen stats`` writes, and each exit code.
Ends with 1 if anything differs. ``--cache`` keeps what the old checkout made, so that it is made once.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
VARYING = {"format", "started", "finished", "made", "kept", "versions"}
HASHES = {"recipe_sha256", "record_sha256", "measurements_sha256"}  # of layouts, which may change
TWO = ["skimage:brick", "skimage:gravel"]
POOL2 = {"pool2": ["conv1_1", "pool1", "pool2"]}


def _smaller(path: str, **changes: Any) -> dict[str, Any]:
    return yaml.safe_load((ROOT / path).read_text()) | changes


def manifests() -> dict[str, dict[str, Any]]:
    """Return the manifests by name."""
    small = {"size_px": 64, "ppd": 41}
    base = {"stimgen": 1, "network": {"name": "vgg16"}, "layer_sets": POOL2, "seeds": [1]}
    sources = [
        {"id": name, "image": f"skimage:{name}", "crop": [0, 0, 64, 64]} for name in ("brick", "gravel")
    ]
    controls = _smaller("manifests/controls.yaml", image=small | {"color": "grey"}, sources=sources)
    wavelets = {"name": "portilla_simoncelli", "iterations": 3, "scales": 3}
    controls["controls"] = [*controls["controls"][:-1], wavelets]
    return {
        "quickstart": _smaller("manifests/quickstart.yaml"),
        "controls": controls,
        "published": base
        | {
            "image": small | {"color": "grey"},
            "sources": TWO[:1],
            "synthesis": {"preset": "gatys2015", "iterations": 30},
        },
        "colour": base
        | {
            "image": {"size_px": 128, "color": "rgb"},
            "sources": ["skimage:coffee", "skimage:ihc"],
            "controls": ["original", "phase_scrambled", {"name": "noise", "alpha": 1}, "pixel_shuffled"],
            "matching": {"histogram": "source"},
            "measure": {"portilla_simoncelli": True},
        },
        "components": base
        | {
            "image": small,
            "sources": TWO,
            "seeds": [1, 2],
            "layer_sets": {"few": {"layers": ["conv1_1", "pool1", "pool2"], "components": 16}},
            "matching": {"luminance": "set", "rotational_spectrum": "set"},
            "accept": {"clipped_share_max": 0.001},
        },
        "elsewhere": base
        | {
            "image": small | {"color": "grey"},
            "sources": TWO,
            "seeds": [1, 2],
            "layer_sets": {
                "other": {"layers": ["pool1", "pool2"], "network": {"name": "vgg16", "pooling": "max"}},
                "own": ["conv1_1", "pool2"],
            },
            "measure": {"network": "manifest", "layers": ["conv1_1", "pool1", "pool3"], "copying": False},
            "controls": ["original", {"name": "random_weights", "layer_set": "own"}],
            "trials": [{"id": "odd", "design": "oddity", "crop_px": 32, "min_source_gap": 0}],
        },
    }


COMMANDS = (
    *(
        "",
        "run",
        "check",
        "new",
        "schema",
        "tables",
        "verify",
        "trials",
        "stats",
        "figure",
        "report",
        "decode",
    ),
    *("weights", "weights import", "weights list", "cluster", "cluster certs"),
)


def make(checkout: Path, target: Path, names: list[str]) -> None:
    """Run the sets with the stimgen of a checkout."""
    target.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {
        "PYTHONPATH": str(checkout),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "100",
        "TERM": "dumb",
    }

    def stimgen(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "stimgen", *words]
        return subprocess.run(
            command, env=environment, cwd=target, text=True, capture_output=True, check=False
        )

    def note(name: str, content: str) -> None:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_text(content)

    if "help" in names and not (target / "help").is_dir():
        for command in COMMANDS:
            shown = stimgen(*command.split(), "--help")
            note(f"help/{command or 'stimgen'}.txt", f"{shown.returncode}\n{shown.stdout}")
        note("help/schema.json", stimgen("schema").stdout)
    for name, content in manifests().items():
        folder = target / name
        if name not in names or (target / f"{name}.codes").exists():
            continue
        shutil.rmtree(folder, ignore_errors=True)
        manifest = target / f"{name}.yaml"
        manifest.write_text(yaml.safe_dump({**content, "name": name}, sort_keys=False))
        codes = []
        for words in (
            ("check", manifest.name),
            ("run", manifest.name, "--out", name, "--no-report"),
            ("run", manifest.name, "--out", name, "--no-report"),
            ("verify", name),
            ("tables", name),
            ("verify", name, "--recompute"),
        ):
            done = stimgen(*words)
            codes.append(f"{words[0]} {done.returncode}")
            print(f"  {checkout.name}: {' '.join(words)}: {done.returncode}", file=sys.stderr, flush=True)
            if done.returncode:
                print(done.stderr[-2000:], file=sys.stderr)
                codes.append(done.stdout)
        pictures = sorted(str(path.relative_to(target)) for path in folder.glob("stimuli/*.png"))
        if pictures:
            original = next((path for path in pictures if "original" in path), pictures[0])
            words = (
                "stats",
                *pictures[:4],
                "--source",
                original,
                "--network",
                "vgg16",
                "--out",
                f"{name}/stats.csv",
            )
            codes.append(f"stats {stimgen(*words).returncode}")
        note(f"{name}.codes", "\n".join(codes))


def leaves(value: Any, key: str = "") -> Iterator[str]:
    """Yield the values in a record, whatever its layout."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name not in {"made", *HASHES, "format"}:
                yield from leaves(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, key)
    elif isinstance(value, float):
        yield repr(value)


def differences(old: Path, new: Path, names: list[str]) -> Iterator[str]:
    """Yield the files that differ."""
    wanted = [f"{name}/" for name in names] + [f"{name}.codes" for name in names]

    def files(root: Path) -> set[str]:
        found = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
        return {
            name for name in found if any(name.startswith(start) for start in wanted) and "/." not in name
        }

    before, after = files(old), files(new)
    yield from (f"{name}: only there before" for name in sorted(before - after))
    yield from (f"{name}: only there now" for name in sorted(after - before))
    for name in sorted(before & after):
        was, now = (old / name).read_bytes(), (new / name).read_bytes()
        if was == now:
            continue
        if name.endswith("/run.json"):
            one, two = json.loads(was), json.loads(now)
            keys = [key for key in {**one, **two} if key not in VARYING and one.get(key) != two.get(key)]
            yield from (f"{name}: {key}" for key in keys)
        elif "/records/" in name:
            missing = Counter(leaves(json.loads(was))).keys() - Counter(leaves(json.loads(now))).keys()
            if missing:
                yield f"{name}: {len(missing)} numbers are gone, such as {', '.join(sorted(missing)[:3])}"
        else:
            lines = zip(was.split(b"\n"), now.split(b"\n"), strict=False)
            first = next((number for number, (a, b) in enumerate(lines, 1) if a != b), 0)
            yield f"{name}: differs from line {first} on"


def main() -> int:
    """Compare, and say what differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--old", type=Path, required=True, help="checkout to compare with")
    parser.add_argument("--new", type=Path, default=ROOT, help="this checkout by default")
    parser.add_argument("--only", nargs="+", default=["help", *manifests()], help="names of sets, or help")
    parser.add_argument("--cache", type=Path, help="folder for what the old checkout makes")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        old = (arguments.cache or Path(temporary) / "old").resolve()
        new = Path(temporary) / "new"
        make(arguments.old.resolve(), old, arguments.only)
        make(arguments.new.resolve(), new, arguments.only)
        found = list(differences(old, new, arguments.only))
    print("\n".join(found) or f"no difference: {', '.join(arguments.only)}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
