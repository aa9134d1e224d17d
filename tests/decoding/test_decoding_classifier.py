from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stimgen.decoding import classifier
from stimgen.decoding.classifier import STRENGTHS, Part, decode_layer, fit, ranked
from stimgen.decoding.results import wilson
from stimgen.decoding.settings import TrainingSettings

SETTINGS = TrainingSettings(epochs=3)
CLASSES = 6


def clusters(count, rng, *, distance=6.0, size=30):
    """Features of `count` images of each class around its centre, of very different scales."""
    labels = np.tile(np.arange(CLASSES), count)
    centres = np.random.default_rng(99).standard_normal((CLASSES, size)) * distance / np.sqrt(size)
    scales = np.logspace(-3, 3, size)
    features = (centres[labels] + rng.standard_normal((len(labels), size))) * scales + 10 * scales
    return features.astype(np.float32), labels


def parts(features, labels):
    thirds = np.array_split(np.arange(len(labels)), 3)
    return [Part(features, rows, labels[rows]) for rows in thirds]


@pytest.mark.parametrize("components", [None, 10, 50])
def test_separate_classes_are_decoded(components):
    features, labels = clusters(90, np.random.default_rng(1))
    settings, epochs = TrainingSettings(components, epochs=10), []
    decoded = decode_layer(*parts(features, labels), CLASSES, settings, epochs.append)
    assert np.mean(np.equal(decoded.rank, 1)) > 0.9
    assert decoded.components == (components and min(components, 30))
    assert dict(decoded.validation_top1)[decoded.regularisation] == max(
        dict(decoded.validation_top1).values()
    )
    assert sum(epochs) == 10 * (len(STRENGTHS) + 1)


def test_shuffled_labels_are_decoded_at_chance():
    rng = np.random.default_rng(2)
    features, labels = clusters(300, rng)
    decoded = decode_layer(*parts(features, rng.permutation(labels)), CLASSES, SETTINGS)
    for places in (1, 5):
        low, high = wilson(sum(rank <= places for rank in decoded.rank), len(decoded.rank))
        assert low < places / CLASSES < high


def test_answers_do_not_depend_on_other_test_images():
    features, labels = clusters(60, np.random.default_rng(3), distance=2.0)
    before = decode_layer(*parts(features, labels), CLASSES, SETTINGS)
    changed = features.copy()
    changed[parts(features, labels)[2].rows[1:]] *= -1000
    after = decode_layer(*parts(changed, labels), CLASSES, SETTINGS)
    assert after.validation_top1 == before.validation_top1
    assert (after.predicted[0], after.rank[0]) == (before.predicted[0], before.rank[0])
    assert after.predicted != before.predicted


def test_validation_images_are_not_fitted_before_the_choice(monkeypatch):
    fitted = []
    monkeypatch.setattr(
        classifier, "fit", lambda part, *rest: fitted.append(list(part.rows)) or fit(part, *rest)
    )
    features, labels = clusters(9, np.random.default_rng(4))
    training, validation, test = parts(features, labels)
    decode_layer(training, validation, test, CLASSES, SETTINGS)
    assert fitted == [list(training.rows), [*training.rows, *validation.rows]]


def test_same_seed_gives_same_answers():
    features, labels = clusters(60, np.random.default_rng(5), distance=2.0)
    first, again, other = (
        decode_layer(*parts(features, labels), CLASSES, TrainingSettings(epochs=3, seed=seed)).rank
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_features_are_standardised_over_all_batches(monkeypatch):
    monkeypatch.setattr(classifier, "ROWS", 7)
    features, labels = clusters(20, np.random.default_rng(7))
    features[:, 3] = 5  # a filter that is never active
    exact = features.astype(np.float64)
    spread = np.where(exact.std(0) > 0, exact.std(0), 1)
    expected = (exact - exact.mean(0)) / spread / np.sqrt(features.shape[1])
    part = Part(features, np.arange(len(labels)), labels)
    (model,), _, _ = fit(part, CLASSES, [1e-3], SETTINGS, lambda _: None)
    found = model[:-1].transform(features)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert np.mean(np.sum(found**2, axis=1)) == pytest.approx(1, rel=0.05)


@given(count=st.integers(1, 60), size=st.integers(1, 25), shuffle=st.booleans())
def test_batches_hold_every_row_once(count, size, shuffle):
    features = np.arange(100, dtype=np.float32)[:, np.newaxis]
    rows = np.random.default_rng(1).permutation(100)[:count]
    part = Part(features, rows, rows % 7)
    batches = list(part.batches(size, np.random.default_rng(2) if shuffle else None))
    seen = np.concatenate([batch[:, 0] for batch, _ in batches])
    assert sorted(seen) == sorted(rows)
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in batches]), seen % 7)
    assert min(len(batch) for batch, _ in batches) >= min(size, count)
    assert max(len(batch) for batch, _ in batches) < 2 * size


@given(data=st.data(), classes=st.integers(2, 8), count=st.integers(1, 10))
def test_ranks_are_places_in_sorted_scores(data, classes, count):
    numbers = st.lists(st.integers(-3, 3), min_size=classes, max_size=classes)  # with ties
    scores = np.array([data.draw(numbers) for _ in range(count)], float)
    labels = np.array([data.draw(st.integers(0, classes - 1)) for _ in range(count)])
    predicted, rank = ranked(scores, labels)
    for row, label, first, place in zip(scores, labels, predicted, rank, strict=True):
        order = sorted(range(classes), key=lambda c: (-row[c], c))
        assert (order[0], order.index(label) + 1) == (first, place)
