from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from run_records import records
from stimgen.runs.acceptance import reasons_to_reject

from stimgen.manifest.schema import AcceptSpec
from stimgen.runs.record import DistanceRecord, Record

GRAM = st.none() | st.floats(0, 10, exclude_min=True)
SHARE = st.none() | st.floats(0, 1)
quickly = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def distance(layer: str, value: float, *, stage: str = "file", constrained: bool = True) -> DistanceRecord:
    return DistanceRecord.model_validate(
        {
            "stage": stage,
            "layer": layer,
            "constrained": constrained,
            "gram_loss": value,
            "gram_relative": value,
            "gram_normalised": None if value > 1 else 2 * value - 1,
        }
    )


@pytest.fixture
def texture(finished) -> Record:
    """A texture matched on pool1 and pool2, whose largest distances are not those that count."""
    distances = (
        distance("pool1", 5, stage="optimised"),
        distance("pool1", 6, stage="matched"),
        distance("pool1", 0.1234),
        distance("pool2", 0.3),
        distance("pool4", 7, constrained=False),
    )
    return finished.read_record("brick-pool1-s1").model_copy(
        update={"distances": distances, "clipped_share": 0.02}
    )


def test_without_thresholds_everything_is_accepted(texture):
    assert reasons_to_reject(texture, AcceptSpec()) == ()


def test_the_worst_matched_layer_of_the_file_is_named(texture):
    assert reasons_to_reject(texture, AcceptSpec(gram_relative_max=0.1)) == (
        "The relative Gram distance on pool2 is 0.3 and gram_relative_max is 0.1.",
    )


def test_the_clipped_share_is_named(texture):
    assert reasons_to_reject(texture, AcceptSpec(clipped_share_max=0)) == (
        "The clipped share is 0.02 and clipped_share_max is 0.0.",
    )


def test_the_worst_normalised_distance_is_named(texture):
    assert reasons_to_reject(texture, AcceptSpec(gram_normalised_max=-0.5)) == (
        "The normalised Gram distance on pool2 is -0.4 and gram_normalised_max is -0.5.",
    )
    assert reasons_to_reject(texture, AcceptSpec(gram_normalised_max=-0.4)) == ()


def test_a_layer_without_a_normalised_distance_is_not_judged(texture):
    only = texture.model_copy(update={"distances": (distance("pool1", 5),)})
    assert reasons_to_reject(only, AcceptSpec(gram_normalised_max=-9)) == ()


def test_every_exceeded_threshold_is_named(texture):
    assert len(reasons_to_reject(texture, AcceptSpec(gram_relative_max=0.1, clipped_share_max=0.01))) == 2


def test_a_value_at_its_threshold_is_accepted(texture):
    assert reasons_to_reject(texture, AcceptSpec(gram_relative_max=0.3, clipped_share_max=0.02)) == ()


def test_a_value_barely_above_its_threshold_is_shown_as_above(texture):
    (reason,) = reasons_to_reject(texture, AcceptSpec(gram_relative_max=0.2999999))
    assert "is 0.3 and gram_relative_max is 0.2999999." in reason
    barely = texture.model_copy(update={"clipped_share": 0.0100001})
    (reason,) = reasons_to_reject(barely, AcceptSpec(clipped_share_max=0.01))
    assert reason == "The clipped share is 0.0100001 and clipped_share_max is 0.01."


def test_controls_match_no_layers_but_may_clip(finished):
    control = finished.read_record("brick-phase_scrambled-s1").model_copy(update={"clipped_share": 0.5})
    assert reasons_to_reject(control, AcceptSpec(gram_relative_max=1e-9)) == ()
    assert len(reasons_to_reject(control, AcceptSpec(clipped_share_max=0.4))) == 1


@quickly
@given(records(), st.tuples(GRAM, GRAM), st.tuples(SHARE, SHARE))
def test_looser_thresholds_never_reject_more(record, gram, share):
    def looseness(limit: float | None) -> float:
        return float("inf") if limit is None else limit

    (strict_gram, loose_gram), (strict_share, loose_share) = (
        sorted(pair, key=looseness) for pair in (gram, share)
    )
    strict = AcceptSpec(gram_relative_max=strict_gram, clipped_share_max=strict_share)
    loose = AcceptSpec(gram_relative_max=loose_gram, clipped_share_max=loose_share)
    assert len(reasons_to_reject(record, loose)) <= len(reasons_to_reject(record, strict))
