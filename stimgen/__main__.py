"""The program `stimgen`, also as `python -m stimgen`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; Ctrl-C counts from the first import on."""
    try:
        from stimgen.cli import main as command_line
    except KeyboardInterrupt:
        print("Interrupted before anything was done.", file=sys.stderr)  # noqa: T201
        raise SystemExit(130) from None
    command_line()


if __name__ == "__main__":
    main()
