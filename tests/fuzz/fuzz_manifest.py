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
    from stimgen.manifest.load import load_manifest
    from stimgen.manifest.plan import plan
    from stimgen.manifest.problems import ManifestError

import yaml
from fuzz_seeds import manifest_words, manifests
from fuzz_start import start

PATH = Path(tempfile.mkdtemp(prefix="fuzz-manifest-")) / "fuzzed.yaml"

# The true bounds are allowed to take seconds.
document.MAX_VALUES, document.MAX_BYTES, document.MAX_PROBLEMS = 2000, 100_000, 100
resolve.MAX_STIMULI, sources.MAX_ENTRIES = 2000, 2000


def check(data: bytes) -> None:
    PATH.write_bytes(data)
    try:
        manifest = load_manifest(PATH)
    except ManifestError as error:
        str(error).encode()
        return
    ids = [stimulus.stimulus_id.lower() for stimulus in plan(manifest)]
    assert len(set(ids)) == len(ids)
    assert manifest.output.parent.name == "results"
    # What is written beside the results can be written, and loads again.
    text = yaml.safe_dump(manifest.resolved(PATH.parent), sort_keys=False, allow_unicode=True)
    PATH.write_text(text, encoding="utf-8")
    assert [stimulus.stimulus_id.lower() for stimulus in plan(load_manifest(PATH))] == ids


if __name__ == "__main__":
    start(sys.argv, check, manifests(), words=manifest_words(), max_len=4000)
