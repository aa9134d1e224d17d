"""Start atheris on a folder of seeds, with limits on the time and memory of every input."""

from __future__ import annotations

import resource
from collections.abc import Callable, Sequence
from pathlib import Path

import atheris

MEMORY_MB = 1200
"""Memory for fuzzing, beside that of the process at its start."""


def start(
    arguments: Sequence[str],
    check: Callable[[bytes], None],
    seeds: Sequence[bytes],
    *,
    max_len: int,
    words: Sequence[str] = (),
    mutate: Callable[[bytes, int, int], bytes] | None = None,
) -> None:
    """Call `check` with `seeds` and their mutations until libFuzzer's options end it.

    `arguments` are the script, a folder for the corpus, and options of libFuzzer. Mutations insert `words`.
    The exit code is not 0 after an exception.
    """
    script, folder, *options = arguments
    corpus = Path(folder)
    (corpus / "inputs").mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (corpus / "inputs" / f"seed-{number}").write_bytes(seed)
    # The peak that libFuzzer watches begins with that of the parent process.
    limit = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024 + MEMORY_MB
    limits = ["-timeout=20", f"-rss_limit_mb={limit}", f"-max_len={max_len}"]
    limits.append(f"-artifact_prefix={corpus}/found-")
    if words:
        lines = "".join('"' + "".join(f"\\x{byte:02x}" for byte in word.encode()) + '"\n' for word in words)
        (corpus / "words.txt").write_text(lines)
        limits.append(f"-dict={corpus}/words.txt")
    mutators = {"custom_mutator": mutate} if mutate else {}
    atheris.Setup([script, *limits, *options, str(corpus / "inputs")], check, **mutators)
    atheris.Fuzz()
