"""Start atheris on a folder of seeds, with bounds on the time and memory of every single input."""

from __future__ import annotations

import resource
from collections.abc import Callable, Sequence
from pathlib import Path

import atheris

MEMORY = 1200
"""What fuzzing may take beside what is taken at its start, MB."""


def start(
    arguments: Sequence[str],
    check: Callable[[bytes], None],
    seeds: Sequence[bytes],
    *,
    max_len: int,
    words: Sequence[str] = (),
    mutate: Callable[[bytes, int, int], bytes] | None = None,
) -> None:
    """Fuzz until libFuzzer's options end it; after a finding, this process ends with another code than 0.

    Parameters
    ----------
    arguments
        The command line: the script, a folder for the corpus, and options of libFuzzer.
    check
        Called with every input; what it raises is a finding.
    seeds
        What the corpus begins with.
    max_len
        Longest input, bytes.
    words
        What mutations put in.
    mutate
        Makes a new input of one.
    """
    script, folder, *options = arguments
    corpus = Path(folder)
    (corpus / "inputs").mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (corpus / "inputs" / f"seed-{number}").write_bytes(seed)
    # The peak that libFuzzer watches begins with that of the process that started this one.
    limit = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024 + MEMORY
    bounds = ["-timeout=20", f"-rss_limit_mb={limit}", f"-max_len={max_len}"]
    bounds.append(f"-artifact_prefix={corpus}/found-")
    if words:
        lines = "".join('"' + "".join(f"\\x{byte:02x}" for byte in word.encode()) + '"\n' for word in words)
        (corpus / "words.txt").write_text(lines)
        bounds.append(f"-dict={corpus}/words.txt")
    mutators = {"custom_mutator": mutate} if mutate else {}
    atheris.Setup([script, *bounds, *options, str(corpus / "inputs")], check, **mutators)
    atheris.Fuzz()
