from __future__ import annotations

from run_fixtures import as_finished, cache, control, finished, one_thread, weights_read_once

__all__ = ["as_finished", "cache", "control", "finished", "one_thread", "weights_read_once"]
