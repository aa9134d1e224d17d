"""Whether a stimulus is accepted: its record against the thresholds of the manifest's section `accept`."""

from __future__ import annotations

from stimgen.manifest.schema import AcceptSpec
from stimgen.runs.record import Record


def reasons_to_reject(record: Record, accept: AcceptSpec) -> tuple[str, ...]:
    """Return a sentence for every threshold that the stimulus exceeds; none if it is accepted.

    Parameters
    ----------
    record
        The stimulus. Gram distances are those of its file, on the layers that it was made to match.
    accept
        The thresholds. A value that equals its threshold is accepted.
    """
    reasons = []
    on_file = [d for d in record.distances if d.stage == "file" and d.constrained]
    worst = max(on_file, key=lambda distance: distance.gram_relative, default=None)
    limit = accept.gram_relative_max
    if worst is not None and limit is not None and worst.gram_relative > limit:
        what = f"The relative Gram distance on {worst.layer}"
        reasons.append(_sentence(what, worst.gram_relative, "gram_relative_max", limit))
    scaled = [(d.gram_normalised, d.layer) for d in on_file if d.gram_normalised is not None]
    limit = accept.gram_normalised_max
    if scaled and limit is not None and max(scaled)[0] > limit:
        value, layer = max(scaled)
        what = f"The normalised Gram distance on {layer}"
        reasons.append(_sentence(what, value, "gram_normalised_max", limit))
    limit = accept.clipped_share_max
    if limit is not None and record.clipped_share > limit:
        reasons.append(_sentence("The clipped share", record.clipped_share, "clipped_share_max", limit))
    return tuple(reasons)


def _sentence(what: str, value: float, threshold: str, limit: float) -> str:
    """Return what is above which threshold, with as many digits as it takes to see that."""
    short = f"{value:.3g}"
    return f"{what} is {short if float(short) > limit else value} and {threshold} is {limit}."
