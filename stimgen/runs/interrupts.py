"""Ctrl-C, and the signals with which Slurm, a shutdown or a closed terminal ends a process."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

ASKED_TO_END = (signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))
"""Signals beside Ctrl-C that ask a process to end; Windows has no SIGHUP."""


class Interrupts:
    """Raises KeyboardInterrupt when a signal arrives; inside `held`, only where that ends."""

    def __init__(self) -> None:
        self._depth = 0
        self._pending = False

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Postpone interrupts until the end of the block."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
        if self._pending and not self._depth:
            self._pending = False
            raise KeyboardInterrupt

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal, for `signal.signal`."""
        if self._depth == 0:
            raise KeyboardInterrupt
        self._pending = True


@contextlib.contextmanager
def interruptible() -> Iterator[Interrupts]:
    """Raise KeyboardInterrupt at SIGINT, SIGTERM and SIGHUP, except where `Interrupts.held` postpones it.

    A signal that is ignored stays ignored, as in a shell's background jobs or under nohup. Python handles
    signals in its main thread alone: in others this does nothing.
    """
    interrupts = Interrupts()
    before = {}
    try:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, *ASKED_TO_END):
                handler = signal.getsignal(number)
                if handler not in (signal.SIG_IGN, None):
                    before[number] = handler
                    signal.signal(number, interrupts.receive)
        yield interrupts
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
