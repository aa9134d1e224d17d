"""Fuzz the manifest loader: any bytes give a manifest or a ManifestError.

python tests/fuzz/fuzz_manifest.py CORPUS -max_total_time=300
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["stimgen"]):
    from stimgen.manifest import document, resolve, sources

from fuzz_checks import check_manifest
from fuzz_seeds import manifest_words, manifests
from fuzz_start import start

PATH = Path(tempfile.mkdtemp(prefix="fuzz-manifest-")) / "fuzzed.yaml"

# Manifests up to the real limits may take seconds.
document.MAX_VALUES, document.MAX_BYTES, document.MAX_PROBLEMS = 2000, 100_000, 100
resolve.MAX_STIMULI, sources.MAX_ENTRIES = 2000, 2000


def check(data: bytes) -> None:
    PATH.write_bytes(data)
    check_manifest(PATH)


if __name__ == "__main__":
    start(sys.argv, check, manifests(), words=manifest_words(), max_len=4000)
