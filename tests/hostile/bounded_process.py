"""Calls in a separate process with limited time and memory."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MEMORY_BYTES = 500_000_000
SECONDS = 10
"""Processor time for a single call; a refusal takes a fraction of it."""


@dataclass(frozen=True)
class Refusal:
    """Class and exit code of the error, its message, and the processor time of the call."""

    kind: str
    code: int
    message: str
    seconds: float


CALL = """
import json, sys, time
from pathlib import Path
{imports}
from stimgen.errors import StimgenError
for path in json.load(sys.stdin):
    started = time.process_time()
    try:
        found = ("accepted", 0, repr({call})[:200])
    except StimgenError as error:
        found = (type(error).__name__, error.exit_code, str(error))
    except BaseException as error:
        found = (type(error).__name__, -1, str(error))
    print(json.dumps([path, *found, time.process_time() - started]), flush=True)
"""


def refusals(call: str, imports: str, paths: Iterable[Path]) -> dict[str, Refusal]:
    """Evaluate the Python expression `call` for each `path`; return the outcomes by file name."""
    named = [str(path) for path in paths]

    def bound() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS * len(named), SECONDS * len(named)))

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", CALL.format(call=call, imports=imports)],
        input=json.dumps(named),
        capture_output=True,
        text=True,
        timeout=60 + 6 * SECONDS * len(named),
        preexec_fn=bound,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == named
    return {Path(path).name: Refusal(*rest) for path, *rest in lines}
