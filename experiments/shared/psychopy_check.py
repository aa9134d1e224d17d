"""PsychoPy and a display are there, or a message says what is missing and ends the program.

Imported before everything else that imports PsychoPy, which needs a display to be imported at all.
"""

from __future__ import annotations

import sys

# PsychoPy 2026.2.5 reads the command line when it is imported, and answers --help itself.
arguments, sys.argv = sys.argv, sys.argv[:1]
try:
    import psychopy.visual  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "psychopy":
        raise
    print(
        f"PsychoPy is not installed for this Python, {sys.executable}.\n"
        "Install the extra: pip install '.[psychopy]', or run the script with the Python of PsychoPy.",
        file=sys.stderr,
    )
    raise SystemExit(2) from None
except Exception as error:
    if type(error).__name__ != "NoSuchDisplayException":  # pyglet's, which cannot be imported without one
        raise
    print(
        f"There is no display: {error}.\n"
        "Start the experiment where there is one, or try it on a virtual one: "
        "xvfb-run -a -s '-screen 0 1024x768x24' python …",
        file=sys.stderr,
    )
    raise SystemExit(2) from None
finally:
    sys.argv = arguments
