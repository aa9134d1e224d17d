"""A linear classifier on one layer's features, trained on batches of rows.

Everything is fitted by ``partial_fit`` of scikit-learn, on `ROWS` rows at a time, because the features of a
large data set do not fit into memory: mean and standard deviation (`StandardScaler`), principal components
(`IncrementalPCA`) and one logistic regression per class against the others (`SGDClassifier`, log loss).
Memory depends on the number of features, classes and strengths of regularisation, and not on the number of
images.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stimgen.decoding.features import Features
from stimgen.decoding.inspection import Advance
from stimgen.decoding.settings import TrainingSettings

if TYPE_CHECKING:
    from sklearn.linear_model import SGDClassifier

ROWS = 256
"""Rows of features in memory at once; more if there are more principal components."""

STRENGTHS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
"""Strengths of regularisation that the validation part chooses from (`SGDClassifier`'s alpha)."""

THREADS_FROM = 100_000
"""Weights of a classifier (features · classes) from which on threads gain more than they cost."""

Labels = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Part:
    """Images of one part of the data, as rows of a layer's features.

    Attributes
    ----------
    features
        All rows of the layer, shape (images, features); on disk.
    rows
        Which of them are in the part, shape (n,).
    labels
        Number of the class of each, shape (n,).
    """

    features: Features
    rows: Labels
    labels: Labels

    def __len__(self) -> int:
        return len(self.rows)

    def joined(self, other: Part) -> Part:
        """Return both parts together."""
        return Part(
            self.features,
            np.concatenate([self.rows, other.rows]),
            np.concatenate([self.labels, other.labels]),
        )

    def batches(self, size: int, rng: np.random.Generator | None = None) -> Iterator[tuple[Features, Labels]]:
        """Yield features and labels in batches, in random order if there is a generator.

        The last batch is joined to the one before if it is not whole, so that none is smaller than `size`
        unless the part is.
        """
        order = np.arange(len(self)) if rng is None else rng.permutation(len(self))
        for chosen in np.array_split(order, max(1, len(order) // size)):
            yield np.asarray(self.features[self.rows[chosen]]), self.labels[chosen]


@dataclass(frozen=True, eq=False)
class Preparation:
    """What features go through before the classifier: standardised, perhaps projected, and scaled.

    The last factor, 1 / sqrt(number of features), makes the mean squared length of the vectors 1 (before they
    are projected), so that one set of step sizes and strengths of regularisation suits all layers.

    Attributes
    ----------
    scaler
        A fitted `StandardScaler`.
    pca
        A fitted `IncrementalPCA`, or None.
    """

    scaler: Any
    pca: Any

    def __call__(self, features: Features) -> Features:
        """Return the rows as the classifier takes them, shape (rows, components or features)."""
        rows = self.scaler.transform(features)
        if self.pca is not None:
            rows = self.pca.transform(rows)
        return np.asarray(rows / np.sqrt(features.shape[1]), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Decoded:
    """A layer's classifier put to the test.

    Attributes
    ----------
    components
        Principal components that were used; None for all features.
    regularisation
        Strength that the validation chose.
    validation_top1
        Share of right answers in the validation part with each strength.
    predicted
        Class that the classifier prefers for each test image, shape (n,).
    rank
        Place of the right class in its order of preference, 1 for the first, shape (n,).
    preparation_seconds
        Time that means, standard deviations and components took, of the images of training and validation.
    epoch_seconds
        Time of one pass over these images with one strength.
    """

    components: int | None
    regularisation: float
    validation_top1: Mapping[float, float]
    predicted: Labels
    rank: Labels
    preparation_seconds: float
    epoch_seconds: float


def decode_layer(
    training: Part,
    validation: Part,
    test: Part,
    classes: int,
    settings: TrainingSettings,
    advance: Advance = lambda _: None,
) -> Decoded:
    """Choose the regularisation, train on training and validation together, and test once.

    Parameters
    ----------
    training, validation, test
        The three parts. Until the strength is chosen everything is fitted on `training` alone, and then
        everything, also mean and standard deviation, is fitted anew on both; `test` is used at the very end.
    classes
        Number of classes; labels are 0..classes - 1, and each part has all of them.
    settings
        Components, epochs and seed.
    advance
        Told of epochs, `passes` in all.
    """
    prepare = fit_preparation(training, settings)
    candidates = train(prepare, training, classes, STRENGTHS, settings, advance)
    top1 = {
        strength: float(np.mean(answers(prepare, classifier, validation)[1] == 1))
        for strength, classifier in zip(STRENGTHS, candidates, strict=True)
    }
    # Of equally good ones the strongest: the simplest classifier.
    best = max(STRENGTHS, key=lambda strength: (top1[strength], strength))
    both = training.joined(validation)
    started = time.perf_counter()
    prepare = fit_preparation(both, settings)
    prepared = time.perf_counter()
    (classifier,) = train(prepare, both, classes, [best], settings, advance)
    epoch_seconds = (time.perf_counter() - prepared) / settings.epochs
    predicted, rank = answers(prepare, classifier, test)
    components = None if prepare.pca is None else int(prepare.pca.n_components_)
    return Decoded(components, best, top1, predicted, rank, prepared - started, epoch_seconds)


def passes(settings: TrainingSettings) -> int:
    """Return how many epochs `decode_layer` reports, counting each strength."""
    return settings.epochs * (len(STRENGTHS) + 1)


def fit_preparation(part: Part, settings: TrainingSettings) -> Preparation:
    """Fit means, standard deviations and, if asked for, principal components.

    Parameters
    ----------
    part
        What they are fitted on.
    settings
        Components; no more than there are features are used. The part must have that many images.
    """
    from sklearn.decomposition import IncrementalPCA
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler()
    for features, _ in part.batches(ROWS):
        scaler.partial_fit(features)
    if settings.components is None:
        return Preparation(scaler, None)
    components = min(settings.components, part.features.shape[1])
    pca = IncrementalPCA(components)
    for features, _ in part.batches(max(ROWS, components), np.random.default_rng([settings.seed, 0])):
        pca.partial_fit(scaler.transform(features))
    return Preparation(scaler, pca)


def train(
    prepare: Preparation,
    part: Part,
    classes: int,
    strengths: Sequence[float],
    settings: TrainingSettings,
    advance: Advance,
) -> list[SGDClassifier]:
    """Return one classifier per strength of regularisation, all trained in the same passes over the features.

    Parameters
    ----------
    prepare
        Fitted on `part`.
    part
        Images to train on.
    classes
        Number of classes.
    strengths
        Strengths of the squared penalty.
    settings
        Epochs, and the seed of the order of images, new in each epoch.
    advance
        Told of epochs, counting each strength.
    """
    from sklearn.linear_model import SGDClassifier

    known = np.arange(classes)
    components = part.features.shape[1] if prepare.pca is None else prepare.pca.n_components_
    threads = -1 if components * classes >= THREADS_FROM else 1  # the result is the same
    classifiers = [
        SGDClassifier(loss="log_loss", alpha=strength, random_state=settings.seed, n_jobs=threads)
        for strength in strengths
    ]
    for epoch in range(1, settings.epochs + 1):
        for features, labels in part.batches(ROWS, np.random.default_rng([settings.seed, epoch])):
            prepared = prepare(features)
            for classifier in classifiers:
                classifier.partial_fit(prepared, labels, classes=known)
        advance(len(strengths))
    return classifiers


def answers(prepare: Preparation, classifier: SGDClassifier, part: Part) -> tuple[Labels, Labels]:
    """Return the preferred class of each image, and the rank of the right one, both of shape (n,)."""
    found = [
        ranked(classifier.decision_function(prepare(features)), labels)
        for features, labels in part.batches(ROWS)
    ]
    predicted, rank = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
    return predicted, rank


def ranked(scores: NDArray[np.floating], labels: Labels) -> tuple[Labels, Labels]:
    """Return the class with the highest score, and the rank of the right class, both of shape (n,).

    Parameters
    ----------
    scores
        Shape (n, classes), or (n,) for two classes, where above 0 stands for the second.
    labels
        Number of the right class, shape (n,).

    Notes
    -----
    Of equal scores the class with the lower number counts as the higher one.
    """
    if scores.ndim == 1:
        scores = np.stack([-scores, scores], axis=1)
    right = np.take_along_axis(scores, labels[:, np.newaxis], axis=1)
    earlier = np.arange(scores.shape[1]) < labels[:, np.newaxis]
    above = (scores > right) | ((scores == right) & earlier)
    return scores.argmax(axis=1), above.sum(axis=1) + 1
