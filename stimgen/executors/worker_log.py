"""Sends what a worker on this machine prints and logs to its file. Dask loads it before the worker starts."""

from __future__ import annotations

import logging
import os
from typing import Any


def dask_setup(worker: Any) -> None:
    """Take over standard output and error, if STIMGEN_WORKER_LOG names a file."""
    path = os.environ.get("STIMGEN_WORKER_LOG")
    if path is None:
        return
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)  # not on Windows
    handle = os.open(path, flags, 0o644)
    for stream in (1, 2):
        os.dup2(handle, stream)
    os.close(handle)
    logging.getLogger("distributed").setLevel(logging.INFO)  # on the terminal it was for warnings alone
