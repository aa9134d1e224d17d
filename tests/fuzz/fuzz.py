"""Fuzz the manifest loader or the image reader: any bytes are read, or refused with an error that says why.

python tests/fuzz/fuzz.py manifest CORPUS -max_total_time=300
"""

from __future__ import annotations

import resource
import sys
import tempfile
import warnings
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["stimgen", "tifffile", "PIL"]):
    import PIL.JpegImagePlugin
    import PIL.PngImagePlugin
    import PIL.TiffImagePlugin  # noqa: F401
    from fuzz_checks import check_image, check_manifest

    from stimgen.images import pixels
    from stimgen.manifest import document, resolve, sources

from fuzz_seeds import images, manifest_words, manifests, with_right_checksums

MEMORY_MB = 1200
"""Memory for fuzzing, beside that of the process at its start."""

# Inputs up to the real limits may take seconds, and most of the memory of a fuzzer.
document.MAX_VALUES, document.MAX_BYTES, document.MAX_PROBLEMS = 2000, 100_000, 100
resolve.MAX_STIMULI, sources.MAX_ENTRIES = 2000, 2000
pixels.MAX_PIXELS = 2**18
# Pillow warns of damaged files before it refuses them.
warnings.simplefilter("ignore")


def mutate_image(data: bytes, max_size: int, seed: int) -> bytes:
    return with_right_checksums(atheris.Mutate(data, max_size))[:max_size]


def main(script: str, target: str, folder: str, *options: str) -> None:
    """Check seeds and their mutations until libFuzzer's `options` end it; exit with not 0 on an exception."""
    corpus = Path(folder)
    (corpus / "inputs").mkdir(parents=True, exist_ok=True)
    path = Path(tempfile.mkdtemp(prefix="fuzz-")) / "fuzzed.yaml"

    def check(data: bytes) -> None:
        if target == "image":
            check_image(data)
        else:
            path.write_bytes(data)
            check_manifest(path)

    for number, seed in enumerate(images() if target == "image" else manifests()):
        (corpus / "inputs" / f"seed-{number}").write_bytes(seed)
    words = ("".join(f"\\x{byte:02x}" for byte in word.encode()) for word in manifest_words())
    (corpus / "words.txt").write_text("".join(f'"{word}"\n' for word in words))
    # The peak that libFuzzer watches begins with that of the parent process.
    limit = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024 + MEMORY_MB
    limits = ["-timeout=20", f"-rss_limit_mb={limit}", f"-artifact_prefix={corpus}/found-"]
    if target == "image":
        settings = {"custom_mutator": mutate_image}
        limits.append("-max_len=6000")
    else:
        settings = {}
        limits += ["-max_len=4000", f"-dict={corpus}/words.txt"]
    atheris.Setup([script, *limits, *options, str(corpus / "inputs")], check, **settings)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv)
