"""The processor of this machine, without PyTorch."""

from __future__ import annotations

import os
import re
from pathlib import Path

from stimgen.counting import counted


def cpu_name() -> str:
    """Return the model of the processor, with the number of cores that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        found = re.search(r"^model name\s*:(.*)$", Path("/proc/cpuinfo").read_text("utf-8", "replace"), re.M)
    except OSError:  # not Linux
        found = None
    return f"{found[1].strip() if found else 'CPU'} ({counted(cores, 'core', 'cores')})"
