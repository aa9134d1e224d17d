from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from stimgen.decoding.intervals import wilson

from stimgen.decoding import classifier
from stimgen.decoding.classifier import STRENGTHS, Part, decode_layer, fit_preparation, passes, ranked
from stimgen.decoding.settings import TrainingSettings

SETTINGS = TrainingSettings(epochs=10)
CLASSES = 6


def clusters(count, rng, *, distance=6.0, size=30):
    """Features of `count` images of each class around a centre of its own, of very different scales."""
    labels = np.tile(np.arange(CLASSES), count)
    centres = np.random.default_rng(99).standard_normal((CLASSES, size)) * distance / np.sqrt(size)
    scales = np.logspace(-3, 3, size)
    features = (centres[labels] + rng.standard_normal((len(labels), size))) * scales + 10 * scales
    return features.astype(np.float32), labels


def parts(features, labels):
    thirds = np.array_split(np.arange(len(labels)), 3)
    return [Part(features, rows, labels[rows]) for rows in thirds]


@pytest.mark.parametrize("components", [None, 10])
def test_classes_that_differ_are_decoded(components):
    features, labels = clusters(90, np.random.default_rng(1))
    decoded = decode_layer(*parts(features, labels), CLASSES, TrainingSettings(components, epochs=10))
    assert np.mean(decoded.rank == 1) > 0.9
    assert decoded.components == components
    assert decoded.validation_top1[decoded.regularisation] == max(decoded.validation_top1.values())


def test_shuffled_labels_are_decoded_at_chance():
    rng = np.random.default_rng(2)
    features, labels = clusters(300, rng)
    decoded = decode_layer(*parts(features, rng.permutation(labels)), CLASSES, TrainingSettings(epochs=3))
    for places in (1, 5):
        share = wilson(int(np.sum(decoded.rank <= places)), len(decoded.rank))
        assert share.low < places / CLASSES < share.high


def test_answers_depend_on_no_other_test_image():
    features, labels = clusters(60, np.random.default_rng(3), distance=2.0)
    training, validation, test = parts(features, labels)
    before = decode_layer(training, validation, test, CLASSES, SETTINGS)
    changed = features.copy()
    changed[test.rows[1:]] *= -1000
    after = decode_layer(*parts(changed, labels), CLASSES, SETTINGS)
    assert (after.regularisation, after.validation_top1) == (before.regularisation, before.validation_top1)
    assert (after.predicted[0], after.rank[0]) == (before.predicted[0], before.rank[0])
    assert (after.predicted != before.predicted).any()


def test_the_regularisation_is_chosen_without_seeing_the_validation_in_training(monkeypatch):
    """Everything that is fitted before the choice is fitted on the training part, all after it on both."""
    fitted = []

    def seen(original):
        def wrapped(*arguments):
            fitted.append(len(arguments[0] if isinstance(arguments[0], Part) else arguments[1]))
            return original(*arguments)

        return wrapped

    monkeypatch.setattr(classifier, "fit_preparation", seen(classifier.fit_preparation))
    monkeypatch.setattr(classifier, "train", seen(classifier.train))
    features, labels = clusters(9, np.random.default_rng(4))
    decode_layer(*parts(features, labels), CLASSES, SETTINGS)
    assert fitted == [18, 18, 36, 36]


def test_the_same_seed_gives_the_same_answers():
    features, labels = clusters(60, np.random.default_rng(5), distance=2.0)
    one, again, other = (
        decode_layer(*parts(features, labels), CLASSES, TrainingSettings(epochs=3, seed=seed))
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one.rank, again.rank)
    assert (one.rank != other.rank).any()


def test_epochs_are_reported():
    told = []
    features, labels = clusters(6, np.random.default_rng(6))
    decode_layer(*parts(features, labels), CLASSES, SETTINGS, told.append)
    assert sum(told) == passes(SETTINGS) == 10 * (len(STRENGTHS) + 1)


def test_features_are_standardised_in_batches_as_in_one(monkeypatch):
    monkeypatch.setattr(classifier, "ROWS", 7)
    features, labels = clusters(20, np.random.default_rng(7))
    features[:, 3] = 5  # a filter that is never active
    part = Part(features, np.arange(len(labels)), labels)
    exact = features.astype(np.float64)
    spread = np.where(exact.std(0) > 0, exact.std(0), 1)
    expected = (exact - exact.mean(0)) / spread / np.sqrt(features.shape[1])
    found = fit_preparation(part, SETTINGS)(features)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert np.mean(np.sum(found**2, axis=1)) == pytest.approx(1, rel=0.05)


def test_components_span_those_of_a_decomposition_of_everything(monkeypatch):
    monkeypatch.setattr(classifier, "ROWS", 40)
    rng = np.random.default_rng(8)
    hidden = rng.standard_normal((200, 3)) * [5, 4, 3]
    mixing, _ = np.linalg.qr(rng.standard_normal((25, 3)))
    features = (hidden @ mixing.T + 0.01 * rng.standard_normal((200, 25))).astype(np.float32)
    part = Part(features, np.arange(200), np.zeros(200, np.intp))
    preparation = fit_preparation(part, TrainingSettings(components=3))
    expected = PCA(3).fit(preparation.scaler.transform(features)).components_
    overlap = np.linalg.svd(preparation.pca.components_ @ expected.T, compute_uv=False)
    np.testing.assert_allclose(overlap, 1, atol=1e-3)


def test_no_more_components_than_features():
    features, labels = clusters(20, np.random.default_rng(9), size=8)
    decoded = decode_layer(*parts(features, labels), CLASSES, TrainingSettings(components=20, epochs=2))
    assert decoded.components == 8


@given(count=st.integers(1, 60), size=st.integers(1, 25), shuffle=st.booleans())
def test_batches_hold_every_row_once_and_are_not_too_small(count, size, shuffle):
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
def test_ranks_are_places_in_the_sorted_scores(data, classes, count):
    numbers = st.lists(st.integers(-3, 3), min_size=classes, max_size=classes)  # with ties
    scores = np.array([data.draw(numbers) for _ in range(count)], float)
    labels = np.array([data.draw(st.integers(0, classes - 1)) for _ in range(count)])
    predicted, rank = ranked(scores, labels)
    for row, label, first, place in zip(scores, labels, predicted, rank, strict=True):
        order = sorted(range(classes), key=lambda c: (-row[c], c))
        assert (order[0], order.index(label) + 1) == (first, place)


def test_one_score_stands_for_two_classes():
    predicted, rank = ranked(np.array([-1.0, 2.0, 3.0]), np.array([0, 0, 1]))
    assert predicted.tolist() == [0, 1, 1]
    assert rank.tolist() == [1, 2, 1]
