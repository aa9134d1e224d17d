"""A process that has imported stimgen and forks a real process for each command line.

It reads one JSON object per line: {"argv": [...], "cwd": folder, "env": {...}, "stdout": file,
"stderr": file, "before": Python code that runs first}, and answers with the exit code.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import sys
import traceback
from typing import NoReturn

import torch

import stimgen.cli
import stimgen.controls
import stimgen.runs.runner
import stimgen.runs.trial_lists
from stimgen.runs import preparation


def serve() -> None:
    """Answer until the standard input ends."""
    torch.set_num_threads(1)
    # Reading the package's weights takes most of the time of a tiny run: once for all.
    preparation.find_weights = functools.cache(preparation.find_weights)
    preparation.find_weights("vgg16", "imagenet")
    gc.collect()
    gc.freeze()  # the forked processes share this memory
    for line in sys.stdin:
        process = os.fork()
        if process == 0:
            run(json.loads(line))
        _, status = os.waitpid(process, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def run(request: dict[str, object]) -> NoReturn:
    """Run one command line, and end the process without tidying up the shared memory."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(str(request[name]), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.environ.update(request["env"])
    os.chdir(str(request["cwd"]))
    sys.argv = ["stimgen", *request["argv"]]
    code: object = 70
    try:
        exec(str(request["before"]), {"__name__": "before"})
        stimgen.cli.main()
    except SystemExit as error:
        code = error.code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 70)


if __name__ == "__main__":
    serve()
