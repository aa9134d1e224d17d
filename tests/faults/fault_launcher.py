"""A process that has imported stimgen and forks one process per command line: real ones, without the wait.

It reads one JSON object per line from its standard input and answers each with a number. {"argv": [...],
"cwd": ..., "env": {...}, "stdout": file, "stderr": file, "before": Python code} starts `stimgen` with these
arguments, after the code has run in the new process; the answer is the process. {"wait": process} answers
with its exit code.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn


def serve() -> None:
    """Answer until the standard input ends."""
    import torch

    import stimgen.cli
    import stimgen.controls
    import stimgen.runs.runner
    import stimgen.runs.trial_lists
    from stimgen.runs import preparation

    torch.set_num_threads(1)
    # Reading the package's weights takes most of the time of a tiny run: once for all.
    preparation.find_weights = functools.cache(preparation.find_weights)
    preparation.find_weights("vgg16", "imagenet")
    gc.collect()
    gc.freeze()  # what is shared with the forked processes stays shared
    answers = os.fdopen(os.dup(1), "w")
    answers.write("ready\n")
    answers.flush()
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            _, status = os.waitpid(request["wait"], 0)
            answer = os.waitstatus_to_exitcode(status)
        else:
            answer = os.fork()
            if answer == 0:
                _become(request)
                _leave(stimgen.cli.main)
        answers.write(f"{answer}\n")
        answers.flush()


def _become(request: dict[str, object]) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(str(request[name]), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.environ.update(request["env"])
    os.chdir(str(request["cwd"]))
    sys.argv = ["stimgen", *request["argv"]]
    exec(str(request["before"]), {"__name__": "before"})


def _leave(main: Callable[[], None]) -> NoReturn:
    """Run `main` and end the process as it says, without tidying up the memory that it shares."""
    code: object = 70
    try:
        main()
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
